"""The meaning of configuration files, in each format."""

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.files import LARGEST_FILE, read_file
from centrifugo_tx.config.load import Loaded, load
from centrifugo_tx.config.yaml_file import MOST_NODES, parse_yaml
from centrifugo_tx.errors import ConfigError


class FileCase(SynchronousTestCase):
    """Something that reads files."""

    def path(self, text: str, extension: str = ".yaml") -> str:
        """Write a file and return its path."""
        path = Path(self.mktemp() + extension)
        path.write_text(text, encoding="utf-8")
        return str(path)

    def load(self, text: str, extension: str = ".yaml") -> Loaded:
        """Return the configuration that a file holds."""
        return load(self.path(text, extension), {})

    def refused(self, text: str, extension: str = ".yaml") -> str:
        """Return why a file is refused, in one line and without its path."""
        path = self.path(text, extension)
        with self.assertRaises(ConfigError) as caught:
            load(path, {})
        said = str(caught.exception)
        self.assertNotIn("\n", said)
        return said.removeprefix(f"{path}: ")


class YamlScalarTests(FileCase):
    """Plain scalars have the values that the reference gives them."""

    def key(self, scalar: str) -> tuple[str, list[str]]:
        """Return the text of a scalar, and the remarks on it."""
        loaded = self.load(f"http_api:\n  key: {scalar}\n")
        return loaded.config.http_api.key, loaded.converted

    def test_words(self) -> None:
        """Values that only YAML 1.1 converts are text."""
        for word in ("no", "No", "on", "yes", "y", "off", "12:30:45", "0o", "1-2", "="):
            self.assertEqual(self.key(word), (word, []))

    def test_numbers(self) -> None:
        """A number becomes its digits; it is said when they are others."""
        for scalar in ("0", "7", "-7", "1.5", "123456789012345678"):
            self.assertEqual(self.key(scalar), (scalar, []))
        said = ["http_api.key is not text; quote the value to keep it"]
        for scalar, text in (
            ("0o17", "15"),
            ("0O17", "15"),
            ("010", "8"),
            ("-010", "-8"),
            ("0x1F", "31"),
            ("0b11", "3"),
            ("+5", "5"),
            ("089", "89"),
            ("1_000", "1000"),
            (".1_0", "0.1"),
            ("1e3", "1000"),
            ("1.0", "1"),
            ("18446744073709551616", "18446744073709552000"),
            ("true", "1"),
            ("FALSE", "0"),
        ):
            self.assertEqual(self.key(scalar), (text, said), scalar)

    def test_shown(self) -> None:
        """Unless it is a secret, a converted value is shown before and after."""
        loaded = self.load("log: {file: 1e3}\nclient: {allowed_origins: [a, 0x1]}")
        self.assertEqual(
            loaded.converted,
            [
                "log.file: 1e3 is taken as 1000; quote the value to keep it",
                "client.allowed_origins: 0x1 is taken as 1; quote the value to keep it",
            ],
        )

    def test_quoted(self) -> None:
        """Quotes, blocks and the text tag preserve the text."""
        for scalar in ("'0o17'", '"0o17"', "!!str 0o17", "|-\n   0o17"):
            self.assertEqual(self.key(scalar), ("0o17", []))
        self.assertEqual(self.key("!!binary aGVsbG8="), ("hello", []))

    def test_dates(self) -> None:
        """A date is not text; text that resembles a date is."""
        for scalar in ("2001-01-01", "2001-1-1 10:00:00", "2001-01-01T10:00:00Z"):
            said = self.refused(f"http_api: {{key: {scalar}}}")
            self.assertEqual(said, "http_api.key: must be text")
        for scalar in ("2001-02-30", "2001-13-01", "2001-01-01T10:00:00"):
            self.assertEqual(self.key(scalar), (scalar, []))

    def test_null(self) -> None:
        """Nothing is the default."""
        for scalar in ("~", "null", "NULL", ""):
            loaded = self.load(f"log:\n  level: {scalar}\n")
            self.assertEqual(loaded.config.log.level, "info")

    def test_switches(self) -> None:
        """Only true and false are truth values."""
        self.assertTrue(self.load("health: {enabled: True}").config.health.enabled)
        for scalar in ("yes", "on", "y"):
            said = self.refused(f"health: {{enabled: {scalar}}}")
            self.assertEqual(said, f'health.enabled: "{scalar}" must be true or false')

    def test_whole_numbers(self) -> None:
        """Options for whole numbers accept every form, and report truncation."""
        for scalar, limit in (("0o17", 15), ("010", 8), ("1_0", 10), ("1e3", 1000)):
            loaded = self.load(f"client: {{channel_limit: {scalar}}}")
            self.assertEqual(loaded.config.client.channel_limit, limit)
            self.assertEqual(loaded.converted, [])
        loaded = self.load("client: {channel_limit: 1.5}")
        self.assertEqual(loaded.config.client.channel_limit, 1)
        self.assertEqual(loaded.converted, ["client.channel_limit: 1.5 is taken as 1"])
        self.assertIn("must be a whole", self.refused("client: {channel_limit: .inf}"))

    def test_wrong_tags(self) -> None:
        """A tag that does not fit its value is refused, and so is an unknown one."""
        self.assertEqual(
            self.refused("a:\n  b: !!bool yes"), "line 2: 'yes' is no bool"
        )
        self.assertEqual(self.refused("a: !!int 1.5"), "line 1: '1.5' is no int")
        self.assertIn("line 1: could not", self.refused("a: !!python/name:os.system"))
        self.assertIn("not base64", self.refused("a: !!binary '\u00e9'"))


class YamlDocumentTests(FileCase):
    """A document is read once, in bounded time, or refused in one line."""

    def test_twins(self) -> None:
        """A key that is there twice is refused, with both lines."""
        said = self.refused("log:\n  level: info\n\nlog: {file: x}\n")
        self.assertEqual(said, "line 4: key 'log' is already defined in line 1")
        said = self.refused("a: 1\nlog:\n  level: info\n  level: warn\n")
        self.assertEqual(said, "line 4: key 'level' is already defined in line 3")

    def test_merge(self) -> None:
        """Anchors and merge keys work; the object's own keys take precedence."""
        loaded = self.load(
            "a: &a {level: warn, file: x}\nlog: {<<: *a, file: y}\nhealth: &a {}\n"
        )
        self.assertEqual(loaded.config.log.level, "warn")
        self.assertEqual(loaded.config.log.file, "y")

    def test_alias_bomb(self) -> None:
        """Aliases cannot make more of a document than a bound."""
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [
            f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)
        ]
        self.assertIn(f"more than {MOST_NODES} values", self.refused("\n".join(lines)))
        lines = ["a0: &a0 {x: 1}"]
        lines += [
            f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}"
            for n in range(1, 12)
        ]
        self.assertIn(f"more than {MOST_NODES} values", self.refused("\n".join(lines)))

    def test_endless(self) -> None:
        """An anchor does not contain itself."""
        said = self.refused("a: &a\n  - b\n  - *a\n")
        self.assertIn("the value of an anchor contains itself", said)

    def test_malformed(self) -> None:
        """Malformed YAML is refused with its line."""
        for text in ("a: 1\n\tb: 2", 'a: 1\nb: "\\q"', "a: 1\n- b", "a: 1\nb: *nobody"):
            self.assertRegex(self.refused(text), "^line 2: ")
        for text in ("a: 1\n--- \nb: 2", "a: \0", "? [a]\n: 1", "[" * 5000):
            self.refused(text)

    def test_every_type(self) -> None:
        """Plain scalars have their values wherever they stand."""
        self.assertEqual(
            parse_yaml("a: [1, 1.5, true, ~, no]\n2: .inf"),
            {"a": [1, 1.5, True, None, "no"], 2: float("inf")},
        )


class JsonTests(FileCase):
    """JSON is strict where a mistake could hide."""

    def test_twins(self) -> None:
        """A key that is there twice in one object is refused, with both lines."""
        text = '{"a": ["log", {"log": 1}],\n "log": {"level": "info"},\n\n "log": {}}'
        said = self.refused(text, ".json")
        self.assertEqual(said, "line 4: key 'log' is already defined in line 2")
        said = self.refused('{"log": {"level": "a,\\"b",\n"l\\u0065vel": 1}}', ".json")
        self.assertEqual(said, "line 2: key 'level' is already defined in line 1")

    def test_letter_case(self) -> None:
        """Names that differ in case only are one name."""
        said = self.refused('{"log": {"level": "info", "Level": "warn"}}', ".json")
        self.assertEqual(said, "log.level: \"Level\" is already defined as 'level'")

    def test_dots(self) -> None:
        """A dot in a name leads into an object."""
        text = '{"log.level": "warn", "client": {"token.audience": "a"}}'
        config = self.load(text, ".json").config
        self.assertEqual(config.log.level, "warn")
        self.assertEqual(config.client.token.audience, "a")
        both = '{"log": {"file": "x"}, "Log.Level": "warn"}'
        self.assertEqual(self.load(both, ".json").config.log.file, "x")
        self.assertEqual(self.load(both, ".json").config.log.level, "warn")
        said = self.refused('{"log": {"level": "x"}, "log.level": "warn"}', ".json")
        self.assertTrue(said.startswith("log.level: "), said)

    def test_numbers(self) -> None:
        """A number given to text becomes its digits; it is said if they are others."""
        loaded = self.load('{"log": {"file": 1e3, "level": 12}}', ".json")
        self.assertEqual(loaded.config.log.file, "1000")
        self.assertEqual(loaded.config.log.level, "12")
        self.assertEqual(
            loaded.converted,
            ["log.file: 1e3 is taken as 1000; quote the value to keep it"],
        )

    def test_malformed(self) -> None:
        """Malformed or too deeply nested JSON is refused in one line."""
        for text in ("{", '{"a": NaN}', '{"a": 1e999}', "{}{}", '{"a": 1' + "0" * 5000):
            self.refused(text, ".json")
        self.assertIn("is nested too deeply", self.refused("[" * 100_000, ".json"))

    def test_empty_lists(self) -> None:
        """An empty object is an empty list, and an object a list of one."""
        text = json.dumps(
            {
                "client": {"allowed_origins": {}},
                "channel": {"namespaces": {}},
                "proxies": {"name": "one", "endpoint": "http://localhost"},
            }
        )
        config = self.load(text, ".json").config
        self.assertEqual(config.client.allowed_origins, ())
        self.assertEqual(config.channel.namespaces, ())
        self.assertEqual([proxy.name for proxy in config.proxies], ["one"])


class TomlTests(FileCase):
    """TOML allows no key twice by itself."""

    def test_twins(self) -> None:
        """The key is named, and its line."""
        said = self.refused('[log]\nlevel = "info"\nlevel = "warn"\n', ".toml")
        self.assertEqual(said, "line 3: key 'level' is already defined")
        self.assertIn("line 3", self.refused("[log]\n\n[log]\n", ".toml"))

    def test_numbers(self) -> None:
        """A number given to text is said if its digits are others."""
        loaded = self.load("[log]\nfile = 1e3\n", ".toml")
        self.assertEqual(loaded.config.log.file, "1000")
        self.assertEqual(len(loaded.converted), 1)


class SizeTests(FileCase):
    """No file is read without a bound."""

    def test_bound(self) -> None:
        """A larger file is refused."""
        path = self.path("#" * (LARGEST_FILE + 1))
        with self.assertRaisesRegex(ConfigError, "is larger than"):
            read_file(path)
        self.assertEqual(read_file(self.path("#" * 1000)), {})

    def test_endless(self) -> None:
        """A device that never ends does not hang the start."""
        link = Path(self.mktemp() + ".json")
        link.symlink_to("/dev/zero")
        with self.assertRaisesRegex(ConfigError, "is larger than"):
            read_file(str(link))
