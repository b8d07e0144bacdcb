"""The installed package, in a clean environment."""

import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from shutil import copytree, ignore_patterns, which

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).parents[2]


def run(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


class WheelTests(SynchronousTestCase):
    """A machine needs only the wheel and its dependencies."""

    def test_plugin(self) -> None:
        """Installed into a clean environment, ``twistd`` knows the server."""
        scratch = Path(self.mktemp()).absolute()
        source = scratch / "source"
        skipped = ignore_patterns(".*", "tests", "build", "*.egg-info", "node_modules")
        copytree(ROOT, source, ignore=skipped)
        pip = sys.executable, "-m", "pip", "--disable-pip-version-check"
        wheels = scratch / "wheels"
        built = run(
            *(*pip, "wheel", "--no-deps", "--no-build-isolation"),
            *("--wheel-dir", wheels, source),
        )
        self.assertEqual(built.returncode, 0, built.stderr)
        (wheel,) = wheels.glob("*.whl")
        clean = scratch / "clean"
        venv.create(clean, symlinks=True)
        python = clean / "bin" / "python"
        installed = run(
            *pip, "--python", python, "install", "--no-deps", "--no-index", wheel
        )
        self.assertEqual(installed.returncode, 0, installed.stderr)
        # The dependencies come from this environment, by path only; entries of its .pth
        # files, such as this checkout, do not count.
        (packages,) = clean.glob("lib/python*/site-packages")
        (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        code = "from twisted.scripts.twistd import run; run()"
        helped = subprocess.run(
            [python, "-c", code, "centrifugo", "--help"],
            capture_output=True,
            text=True,
            cwd=scratch,
        )
        self.assertEqual(helped.returncode, 0, helped.stderr)
        self.assertIn("--http_server.port=", helped.stdout)
        where = run(python, "-c", "import centrifugo_tx; print(centrifugo_tx.__file__)")
        self.assertTrue(where.stdout.startswith(str(packages)), where.stdout)
        said = run(clean / "bin" / "centrifugo-tx", "version")
        self.assertTrue(said.stdout.startswith("centrifugo-tx v"), said.stderr)


class UnitTests(SynchronousTestCase):
    """The unit for systemd."""

    def setUp(self) -> None:
        if which("systemd-analyze") is None:
            raise SkipTest("systemd-analyze is not installed")

    def test_unit(self) -> None:
        """systemd accepts the unit."""
        bin = Path(sys.executable).parent
        if not (bin / "centrifugo-tx").exists():
            raise SkipTest("the package is not installed")
        unit = Path(self.mktemp()).absolute() / "centrifugo-tx.service"
        unit.parent.mkdir()
        text = (ROOT / "config" / unit.name).read_text()
        self.assertIn("/opt/centrifugo-tx/bin/", text)
        unit.write_text(text.replace("/opt/centrifugo-tx/bin", str(bin)))
        verified = run("systemd-analyze", "verify", unit)
        self.assertEqual((verified.returncode, verified.stderr), (0, ""))

    def test_socket(self) -> None:
        """systemd accepts the unit of the port, which belongs to the server's."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for suffix in "service", "socket":
            name = f"centrifugo-tx.{suffix}"
            text = (ROOT / "config" / name).read_text()
            (folder / name).write_text(re.sub("/opt/[^ ]*", "/bin/true", text))
        unit = folder / "centrifugo-tx.socket"
        verified = run("systemd-analyze", "verify", unit)
        self.assertEqual((verified.returncode, verified.stderr), (0, ""))

    def test_exposure(self) -> None:
        """Of the machine the server can reach little: below 2.5 of 10 points."""
        unit = ROOT / "config" / "centrifugo-tx.service"
        rated = run(
            *("systemd-analyze", "security", "--offline=true", "--threshold=24"), unit
        )
        self.assertEqual(rated.returncode, 0, rated.stdout + rated.stderr)
