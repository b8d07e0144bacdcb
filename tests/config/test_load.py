"""Configuration from file, environment and flags."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.load import load, read_dotenv
from centrifugo_tx.config.model import Config
from centrifugo_tx.config.reader import Reader
from centrifugo_tx.errors import ConfigError


class Small(msgspec.Struct, frozen=True):
    """A section of a test."""

    mode: Literal["", "transport"] = ""
    """How."""
    rate: float = 1.5
    """How fast."""
    names: list[str] = []
    """Options of a user."""


class ConfigCase(SynchronousTestCase):
    """Something that loads files."""

    def write(self, content: object, extension: str = ".json") -> str:
        """Write a file and return its path."""
        path = Path(self.mktemp() + extension)
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text)
        return str(path)

    def config(
        self,
        content: object = "{}",
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, str] | None = None,
    ) -> Config:
        """Load a configuration from all sources."""
        return load(self.write(content), environ or {}, flags).config

    def problem(
        self, content: object = "{}", environ: Mapping[str, str] | None = None
    ) -> str:
        """Return the problems of a configuration."""
        with self.assertRaises(ConfigError) as caught:
            self.config(content, environ)
        return str(caught.exception)


class FormatTests(ConfigCase):
    """The extension of a file chooses its format."""

    def test_formats(self) -> None:
        """JSON, YAML and TOML say the same."""
        for extension, text in (
            (".json", '{"http_server": {"port": 9000}}'),
            (".yaml", "http_server:\n  port: 9000\n"),
            (".YML", "http_server: {port: 9000}"),
            (".toml", "[http_server]\nport = 9000\n"),
        ):
            loaded = load(self.write(text, extension), {})
            self.assertEqual(loaded.config.http_server.port, 9000)
            self.assertTrue(loaded.found)

    def test_extension(self) -> None:
        """Another extension is an error."""
        with self.assertRaisesRegex(ConfigError, "'.ini' is not one of"):
            load(self.write("", ".ini"), {})

    def test_syntax(self) -> None:
        """A file that is not well-formed is an error that names it."""
        for text, extension in (("{", ".json"), ("a: [", ".yaml"), ("a", ".toml")):
            path = self.write(text, extension)
            with self.assertRaisesRegex(ConfigError, path):
                load(path, {})

    def test_not_an_object(self) -> None:
        """A file holds an object; an empty YAML file is one without options."""
        with self.assertRaisesRegex(ConfigError, "must contain an object"):
            load(self.write("[]"), {})
        self.assertEqual(load(self.write("", ".yaml"), {}).config, Config())

    def test_missing(self) -> None:
        """A missing file is not an error, but is reported."""
        loaded = load("/nowhere/config.json", {"CENTRIFUGO_PID_FILE": "x"})
        self.assertFalse(loaded.found)
        self.assertEqual(loaded.config.pid_file, "x")

    def test_unreadable(self) -> None:
        """A file that cannot be read is an error."""
        path = Path(self.mktemp() + ".json")
        path.mkdir()
        with self.assertRaisesRegex(ConfigError, "cannot be read"):
            load(str(path), {})
        bad = Path(self.mktemp() + ".json")
        bad.write_bytes(b"\xff")
        with self.assertRaisesRegex(ConfigError, "UTF-8"):
            load(str(bad), {})

    def test_case(self) -> None:
        """Option names may be written in any case."""
        config = self.config({"HTTP_Server": {"Port": 9000}})
        self.assertEqual(config.http_server.port, 9000)


class PrecedenceTests(ConfigCase):
    """A flag beats a variable, which beats the file, which beats the default."""

    FILE: ClassVar = {
        "http_server": {"port": 1, "address": "file"},
        "log": {"level": "warn"},
    }
    VARIABLES: ClassVar = {
        "CENTRIFUGO_HTTP_SERVER_PORT": "2",
        "CENTRIFUGO_LOG_LEVEL": "debug",
    }

    def test_order(self) -> None:
        """Each source is used where no better one speaks."""
        config = self.config(self.FILE, self.VARIABLES, {"http_server.port": "3"})
        self.assertEqual(config.http_server.port, 3)
        self.assertEqual(config.log.level, "debug")
        self.assertEqual(config.http_server.address, "file")
        self.assertEqual(config.client.channel_limit, 128)

    def test_empty_variable(self) -> None:
        """An empty variable is not set."""
        config = self.config(self.FILE, {"CENTRIFUGO_LOG_LEVEL": ""})
        self.assertEqual(config.log.level, "warn")

    def test_zero(self) -> None:
        """A zero is as good as nothing, wherever it stands."""
        config = self.config(
            {
                "client": {"channel_limit": 0, "stale_close_delay": "0s"},
                "channel": {"private_prefix": ""},
                "http_server": None,
            },
            {"CENTRIFUGO_CLIENT_QUEUE_MAX_SIZE": "0"},
            {"http_server.port": "0"},
        )
        self.assertEqual(config, Config())

    def test_flag_with_switch(self) -> None:
        """A switch takes Go's words."""
        config = self.config(flags={"health.enabled": "true"})
        self.assertTrue(config.health.enabled)


class ConversionTests(ConfigCase):
    """Values are converted leniently, and refused with their place."""

    def test_lenient(self) -> None:
        """Numbers for texts and the other way round."""
        config = self.config(
            {
                "http_server": {"port": "8001", "internal_port": 9000},
                "health": {"enabled": "true"},
                "client": {"allowed_origins": "https://a,b", "ping_interval": "1m30s"},
            }
        )
        self.assertEqual(config.http_server.port, 8001)
        self.assertEqual(config.http_server.internal_port, "9000")
        self.assertTrue(config.health.enabled)
        self.assertEqual(config.client.allowed_origins, ("https://a,b",))
        self.assertEqual(config.client.ping_interval, 90.0)

    def test_variables(self) -> None:
        """Lists, durations and switches in variables."""
        config = self.config(
            environ={
                "CENTRIFUGO_CLIENT_ALLOWED_ORIGINS": "a b",
                "CENTRIFUGO_CLIENT_PING_INTERVAL": "30s",
                "CENTRIFUGO_HEALTH_ENABLED": "1",
                "CENTRIFUGO_HTTP_SERVER_PORT": "0x1F90",
            }
        )
        self.assertEqual(config.client.allowed_origins, ("a", "b"))
        self.assertEqual(config.client.ping_interval, 30.0)
        self.assertTrue(config.health.enabled)
        self.assertEqual(config.http_server.port, 8080)

    def test_all_problems(self) -> None:
        """Every invalid value is reported on one line, with its place."""
        lines = self.problem(
            {
                "http_server": {"port": [1]},
                "client": {"ping_interval": "1d", "token": 5},
                "channel": {"namespaces": 1},
            },
            {"CENTRIFUGO_HEALTH_ENABLED": "maybe"},
        ).split("\n")
        self.assertEqual(
            lines,
            [
                "http_server.port: [1] must be a whole number",
                "client.token: 5 must be an object",
                'client.ping_interval: "1d" must be a duration such as 300ms, 1m30s'
                " or 720h",
                "channel.namespaces: 1 must be a list of objects",
                'CENTRIFUGO_HEALTH_ENABLED: "maybe" must be true or false',
            ],
        )

    def test_empty_object(self) -> None:
        """Outside lists an empty object means no value for any option."""
        tree = {"log": {"level": {}}, "client": {"ping_interval": {}, "insecure": {}}}
        self.assertEqual(self.config(tree), Config())
        proxies = {"proxies": [{"name": "one", "timeout": {}}]}
        self.assertIn("proxies.[0].timeout", self.problem(proxies))

    def test_old_lists(self) -> None:
        """Old names of lists that hold something else are refused, not a crash."""
        for name in ("namespaces", "rpc_namespaces"):
            for wrong in (5, True, "x", [5]):
                self.assertIn("must be", self.problem({name: wrong, "secret": "x"}))
        for tree in (
            {"proxy_extra_http_headers": 5, "proxy_connect_endpoint": "x"},
            {"connect_proxy_name": ["a"], "proxies": [{"disabled": 1}]},
        ):
            self.config(tree)

    def test_secret(self) -> None:
        """The value of a secret is not repeated."""
        problem = self.problem({"http_api": {"key": ["hidden"]}})
        self.assertEqual(problem, "http_api.key: must be text")

    def test_long_value(self) -> None:
        """A long value is cut."""
        problem = self.problem({"http_server": {"port": "9" * 50 + "x" * 500}})
        self.assertLess(len(problem), 120)

    def test_choice(self) -> None:
        """An enumeration takes its words only, and none."""
        reader = Reader({}, {})
        found = reader.section(Small, {"mode": "other", "rate": 2}, "small", "")
        self.assertEqual(found, Small(rate=2.0))
        self.assertEqual(
            reader.problems, ['small.mode: "other" must be one of: transport']
        )

    def test_list_type(self) -> None:
        """A section that asks for a list gets one."""
        found = Reader({}, {}).section(Small, {"names": ["a"]}, "", "")
        self.assertEqual(found, Small(names=["a"]))


class NamedListTests(ConfigCase):
    """Lists of named items have variables of their own."""

    FILE: ClassVar = {"channel": {"namespaces": [{"name": "a-b.c", "history_size": 1}]}}
    LIST = "CENTRIFUGO_CHANNEL_NAMESPACES"

    def names(self, config: Config) -> list[str]:
        """Return the names of the namespaces."""
        return [namespace.name for namespace in config.channel.namespaces]

    def test_item(self) -> None:
        """An option of an item, by the item's name."""
        variable = f"{self.LIST}_A_B_C_HISTORY_TTL"
        config = self.config(self.FILE, {variable: "1m"})
        (namespace,) = config.channel.namespaces
        self.assertEqual(namespace.history_ttl, 60.0)
        self.assertEqual(namespace.history_size, 1)

    def test_json(self) -> None:
        """JSON replaces the file's list."""
        config = self.config(self.FILE, {self.LIST: '[{"name": "new"}]'})
        self.assertEqual(self.names(config), ["new"])

    def test_names(self) -> None:
        """Names are appended, and their options can be set."""
        config = self.config(
            self.FILE, {self.LIST: "xx a-b.c", f"{self.LIST}_XX_PRESENCE": "true"}
        )
        self.assertEqual(self.names(config), ["a-b.c", "xx"])
        self.assertTrue(config.channel.namespaces[1].presence)

    def test_broken_json(self) -> None:
        """Broken JSON is an error."""
        self.assertIn(f"{self.LIST}: ", self.problem({}, {self.LIST: "[{]"}))

    def test_unknown_item(self) -> None:
        """A variable of an item that is not there is unknown."""
        variable = f"{self.LIST}_NONE_PRESENCE"
        loaded = load(self.write(self.FILE), {variable: "true"})
        self.assertEqual(loaded.unknown_variables, [variable])

    def test_other_list(self) -> None:
        """A list of unnamed objects takes JSON only."""
        variable = (
            "CENTRIFUGO_CLIENT_CONNECT_CODE_TO_UNIDIRECTIONAL_DISCONNECT_TRANSFORMS"
        )
        text = '[{"code": 1, "to": {"code": 4000, "reason": "r"}}]'
        config = self.config({}, {variable: text})
        transforms = config.client.connect_code_to_unidirectional_disconnect.transforms
        self.assertEqual(transforms[0].to.code, 4000)
        self.assertIn("must be a JSON array", self.problem({}, {variable: "x"}))

    def test_map_in_item(self) -> None:
        """A map takes variables for its values, and JSON from a variable."""
        item = {"name": "px", "http": {"static_headers": {"X": "${CENTRIFUGO_VAR_A}"}}}
        config = self.config(
            {"proxies": [item]},
            {
                "CENTRIFUGO_VAR_A": "v",
                "CENTRIFUGO_PROXIES_PX_GRPC_STATIC_METADATA": '{"b": "c"}',
            },
        )
        self.assertEqual(config.proxies[0].http.static_headers, {"x": "v"})
        self.assertEqual(config.proxies[0].grpc.static_metadata, {"b": "c"})
        self.assertIn("CENTRIFUGO_VAR_A", self.problem({"proxies": [item]}))


class UnknownTests(ConfigCase):
    """An unknown name is reported, not refused."""

    def test_keys(self) -> None:
        """Unknown keys, with their places."""
        path = self.write(
            {
                "foo": 1,
                "client": {"bar": {"baz": 1}},
                "channel": {"namespaces": [{"name": "ab", "Odd": 1}]},
            }
        )
        self.assertEqual(
            sorted(load(path, {}).unknown_keys),
            ["channel.namespaces.[0].odd", "client.bar", "foo"],
        )

    def test_variables(self) -> None:
        """Unknown variables, except those of others."""
        environ = {
            "CENTRIFUGO_FOO": "1",
            "CENTRIFUGO_VAR_FOO": "1",
            "CENTRIFUGO_OPTS": "--log.level debug",
            "CENTRIFUGO_PORT": "tcp://10.0.0.1:8000",
            "CENTRIFUGO_PORT_8000_TCP": "tcp://10.0.0.1:8000",
            "CENTRIFUGO_MAIN_SERVICE_HOST": "10.0.0.1",
            "CENTRIFUGO_PID_FILE": "x",
            "CENTRIFUGOX": "1",
            "HOME": "/",
        }
        loaded = load(self.write({}), environ)
        self.assertEqual(loaded.unknown_variables, ["CENTRIFUGO_FOO"])


class DotenvTests(SynchronousTestCase):
    """The ``.env`` file."""

    def test_variables(self) -> None:
        """It holds names and values."""
        path = Path(self.mktemp())
        path.write_text("# note\nCENTRIFUGO_A=1\nexport B='two words'\nEMPTY=\n")
        self.assertEqual(
            read_dotenv(str(path)),
            {"CENTRIFUGO_A": "1", "B": "two words", "EMPTY": ""},
        )

    def test_missing(self) -> None:
        """Without a file there are no variables."""
        self.assertEqual(read_dotenv("/nowhere/.env"), {})

    def test_broken(self) -> None:
        """A broken line is an error."""
        path = Path(self.mktemp())
        path.write_text("A=1\n'B=2\n")
        with self.assertRaisesRegex(ConfigError, "line 2"):
            read_dotenv(str(path))
