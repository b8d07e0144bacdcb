"""What a reload applies, and what it leaves to a restart."""

from pathlib import Path
from typing import Any

from msgspec import Struct
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.model import Config
from centrifugo_tx.config.reloading import (
    FILES,
    RELOADED,
    need_restart,
    reload_table,
    with_reloaded,
)
from centrifugo_tx.config.schema import leaves, options_of
from centrifugo_tx.config.tls_sections import tls_sections
from centrifugo_tx.configured_policy import access_policy
from centrifugo_tx.options import TLSOptions

from .test_check import config_of, nested

PAGE = Path(__file__).parents[2] / "docs" / "reloading.rst"


class Recorder:
    """Stands for a section, and notes which options are read."""

    def __init__(self, section: Struct, path: str, read: set[str]) -> None:
        self._section, self._path, self._read = section, path, read

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._section, name)
        path = f"{self._path}.{name}".lstrip(".")
        if isinstance(value, Struct) and path not in RELOADED:
            return Recorder(value, path, self._read)
        self._read.add(path)
        return value


def value_of(kind: str) -> Any:
    """Return a value, of an option of this kind, that is no default."""
    return {"bool": True, "int": 99, "duration": "7s", "strings": ["x"]}.get(kind, "x")


class TableTests(SynchronousTestCase):
    """The table agrees with the code, and the page with the table."""

    def test_policy(self) -> None:
        """What a new policy reads is what a reload applies, and nothing else."""
        read: set[str] = set()
        recorder: Any = Recorder(Config(), "", read)
        access_policy(Clock(), recorder)
        # Read by what cannot change: the header is kept by transports from the start.
        self.assertEqual(read - set(RELOADED), {"client.user_id_http_header"})
        # The limits of connections, which are no part of the policy.
        limits = {"client.connection_limit", "client.connection_rate_limit"}
        self.assertEqual(set(RELOADED) - read, limits)

    def test_files(self) -> None:
        """The sections of TLS are those that the configuration has."""
        consumer = {"name": "aa", "enabled": True}
        proxy = {"enabled": True}
        tree: dict[str, Any] = {
            "consumers": [consumer],
            "proxies": [{"name": "aa"}],
            "client": {"proxy": {"connect": proxy, "refresh": proxy}},
            **{
                name: {"enabled": True}
                for name in (
                    *("broker", "presence_manager", "grpc_api", "uni_grpc"),
                    "controller",
                )
            },
        }
        found = {path.replace("[0]", "*") for path, _ in tls_sections(config_of(tree))}
        unused = {
            *(path for path in found if ".subscribe_stream.http." in path),
            *(path for path in found if ".postgres." in path or ".nats." in path),
            *(path for path in found if ".redisnats." in path),
        }
        self.assertEqual(found - unused, set(FILES))

    def test_page(self) -> None:
        """The page has the table."""
        self.assertIn(reload_table(), PAGE.read_text())


class RestartTests(SynchronousTestCase):
    """Changed options."""

    def test_each(self) -> None:
        """Each option is applied, or named."""
        for path, option in leaves(Config):
            if option.kind in ("sections", "map", "pem") or option.choices:
                continue
            value = value_of(option.kind)
            changed = config_of(nested(path, 99 if value == "x" else value))
            section = path.rpartition(".")[0]
            renewed = section in FILES and not path.endswith(".enabled")
            applied = any(f"{path}.".startswith(f"{each}.") for each in RELOADED)
            if path == "client.subscription_token.enabled":
                applied = False
            expected = [] if applied or renewed else [path]
            self.assertEqual(need_restart(Config(), changed), expected, path)
            effective = with_reloaded(Config(), changed)
            self.assertEqual(effective == changed, applied, path)

    def test_lists(self) -> None:
        """Items of lists are compared if their names are the same."""
        before = config_of({"consumers": [{"name": "aa"}, {"name": "bb"}]})
        after = config_of({"consumers": [{"name": "aa"}, {"name": "bb", "type": "x"}]})
        self.assertEqual(need_restart(before, after), ["consumers.[1].type"])
        self.assertEqual(need_restart(before, Config()), ["consumers"])
        namespaces = config_of({"channel": {"namespaces": [{"name": "aa"}]}})
        self.assertEqual(need_restart(Config(), namespaces), [])

    def test_certificates(self) -> None:
        """Certificates of consumers are renewed, switching TLS on is not."""

        def config(**tls: object) -> Config:
            consumer = {"name": "aa", "postgresql": {"tls": tls}}
            return config_of({"consumers": [consumer]})

        self.assertEqual(need_restart(config(), config(server_name="x")), [])
        self.assertEqual(
            need_restart(config(), config(enabled=True)),
            ["consumers.[0].postgresql.tls.enabled"],
        )

    def test_secrets(self) -> None:
        """Only paths are told, never values."""
        changed = config_of(nested("http_api.key", "secret"))
        self.assertEqual(need_restart(Config(), changed), ["http_api.key"])

    def test_tls_options(self) -> None:
        """All options of a TLS section but its switch are certificates or names."""
        names = {option.name for option in options_of(TLSOptions)}
        self.assertIn("enabled", names)
