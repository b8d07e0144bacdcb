"""The files for containers, each by the linter of its format."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from centrifugo_tx.config.check import check
from centrifugo_tx.config.load import load

DEPLOY = Path(__file__).parents[2] / "deploy"


def lint(program: str, *arguments: str | Path) -> None:
    """Run a linter, which must have nothing to say against a file."""
    path = Path(sys.executable).with_name(program)
    if not path.exists():
        raise SkipTest(f"{program} is not installed: pip install centrifugo-tx[lint]")
    done = subprocess.run(
        [path, *arguments], capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)


class LintTests(SynchronousTestCase):
    """Linters accept the deployment files."""

    def test_dockerfile(self) -> None:
        """hadolint has nothing to say about the Dockerfile."""
        lint("hadolint", DEPLOY / "Dockerfile")

    def test_compose(self) -> None:
        """The compose file is one by its specification."""
        lint(
            *("check-jsonschema", "--builtin-schema", "vendor.compose-spec"),
            DEPLOY / "compose.yaml",
        )

    def test_kubernetes(self) -> None:
        """Each manifest is one by the schema of its kind, without unknown fields."""
        lint("kubernetes-validate", "--strict", *DEPLOY.glob("kubernetes/*.yaml"))


class ConfigurationTests(SynchronousTestCase):
    """The server understands the containers' configuration."""

    def manifests(self) -> dict[str, Any]:
        """Return the manifests by kind; of services, the last one."""
        return {
            manifest["kind"]: manifest
            for path in DEPLOY.glob("kubernetes/*.yaml")
            for manifest in yaml.safe_load_all(path.read_text())
        }

    def understood(self, path: str, environment: dict[str, str]) -> None:
        """Check that nothing is unknown or wrong."""
        loaded = load(path, environment)
        check(loaded.config)
        self.assertEqual((loaded.unknown_keys, loaded.unknown_variables), ([], []))

    def test_kubernetes(self) -> None:
        """Config map, secret and probes fit each other."""
        manifests = self.manifests()
        file = Path(self.mktemp() + ".json")
        file.write_text(manifests["ConfigMap"]["data"]["config.json"])
        secret: dict[str, str] = manifests["Secret"]["stringData"]
        self.understood(str(file), secret)
        pod = manifests["Deployment"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        config = json.loads(file.read_text())
        self.assertEqual(ports["internal"], config["http_server"]["internal_port"])
        for kind in "startup", "readiness", "liveness":
            asked = container[f"{kind}Probe"]["httpGet"]
            self.assertEqual(asked, {"path": "/health", "port": "internal"})
        pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        stop = int(config["shutdown"]["timeout"].removesuffix("s"))
        self.assertGreater(pod["terminationGracePeriodSeconds"], pause + stop)

    def test_compose(self) -> None:
        """The variables of the compose file are options."""
        compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
        environment = compose["services"]["centrifugo"]["environment"]
        given = {name: value for name, value in environment.items() if "$" not in value}
        secrets = {name: "x" * 32 for name in environment if name not in given}
        self.understood("", {**secrets, **given})
