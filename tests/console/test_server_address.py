"""Where a command finds the server."""

import os

from msgspec.structs import fields
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.model import Config
from centrifugo_tx.console.outcome import CommandFailed
from centrifugo_tx.console.server_address import MODERN, APIOptions, parse_address

from .command_case import CommandCase, http


class AddressTests(SynchronousTestCase):
    """Addresses as people write them."""

    def test_forms(self) -> None:
        """A host, a host and port, a URL."""
        for text, wanted in (
            ("a", "http://a:8000"),
            ("a:9", "http://a:9"),
            ("[::1]:9", "http://[::1]:9"),
            ("http://a", "http://a:80"),
            ("https://a/api/", "https://a:443/api"),
            ("wss://a:9/x", "https://a:9/x"),
        ):
            self.assertEqual(str(parse_address(text)), wanted)

    def test_refused(self) -> None:
        """Anything else is a mistake on the command line."""
        for text in ("", "ftp://a", "a:b", "a:99999", "http://", "http://a?x", "[a"):
            error = self.assertRaises(CommandFailed, parse_address, text)
            self.assertEqual(error.code, 2, text)


class OptionTests(SynchronousTestCase):
    """The part of the configuration that is read for a call."""

    def test_same(self) -> None:
        """It has the names and defaults of the whole."""
        whole, part = Config(), APIOptions()
        for section in fields(APIOptions):
            ours = getattr(part, section.name)
            theirs = getattr(whole, section.name)
            for option in fields(type(ours)):
                value = getattr(ours, option.name)
                other = getattr(theirs, option.name)
                if option.name.endswith("tls"):
                    value, other = value.enabled, other.enabled
                self.assertEqual(value, other, option.name)

    def test_modern(self) -> None:
        """The names of sections are names of sections."""
        self.assertEqual(MODERN - set(Config.__struct_fields__), set())


class SourceTests(CommandCase):
    """Flags before variables, variables before the configuration file."""

    def called(self, *arguments: str) -> tuple[str, int, str, str]:
        """Return host, port, path and key of a call."""
        self.answers = [http(200, {"result": {}})]
        self.command("publish", "a", "1", *arguments)
        path, headers, _ = self.sent()
        return *self.connected[-1], path, headers.get("x-api-key", "")

    def test_file(self) -> None:
        """The file says where the port of the API is, and the key."""
        for server, api, wanted in (
            ({}, {}, ("127.0.0.1", 8000, "/api/publish")),
            ({"port": 9}, {"handler_prefix": "/x/"}, ("127.0.0.1", 9, "/x/publish")),
            ({"address": "0.0.0.0"}, {}, ("127.0.0.1", 8000, "/api/publish")),
            ({"address": "::"}, {}, ("::1", 8000, "/api/publish")),
            (
                {"internal_port": 9, "address": "10.0.0.1"},
                {},
                ("10.0.0.1", 9, "/api/publish"),
            ),
            (
                {"internal_port": "9", "internal_address": "h"},
                {},
                ("h", 9, "/api/publish"),
            ),
            (
                {"internal_port": 9},
                {"external": True},
                ("127.0.0.1", 8000, "/api/publish"),
            ),
        ):
            tree = {"http_server": server, "http_api": {"key": "f", **api}}
            self.assertEqual(self.called("-c", self.write(tree)), (*wanted, "f"))

    def test_old_file(self) -> None:
        """Flat names of Centrifugo v5 are understood."""
        path = self.write({"api_key": "old", "port": "9"})
        wanted = ("127.0.0.1", 9, "/api/publish", "old")
        self.assertEqual(self.called("-c", path), wanted)

    def test_precedence(self) -> None:
        """A flag wins over a variable, a variable over the file."""
        path = self.write({"http_api": {"key": "file", "handler_prefix": "/p"}})
        os.environ["CENTRIFUGO_HTTP_API_KEY"] = "option"
        self.assertEqual(self.called("-c", path)[3], "option")
        os.environ["CENTRIFUGO_TX_KEY"] = "variable"
        os.environ["CENTRIFUGO_TX_ADDRESS"] = "v:1"
        wanted = ("v", 1, "/p/publish", "variable")
        self.assertEqual(self.called("-c", path), wanted)
        wanted = ("f", 2, "/q/publish", "flag")
        flags = ("-a", "http://f:2/q", "-k", "flag")
        self.assertEqual(self.called("-c", path, *flags), wanted)

    def test_default_file(self) -> None:
        """A file of the usual name is read when it exists."""
        wanted = ("127.0.0.1", 8000, "/api/publish", "")
        self.assertEqual(self.called(), wanted)

    def test_mistakes(self) -> None:
        """A file that cannot be read, or has no API: 2, and nothing is sent."""
        for path, words in (
            ("/nowhere.json", "no such file"),
            (self.write({"http_server": 5}), "http_server: 5 must be an object"),
            (self.write({"http_server": {"port": "x"}}), "http_server.port"),
            (self.write({"http_server": {"internal_port": "x"}}), "is no port"),
            (self.write({"http_api": {"disabled": True}}), "has no HTTP API"),
            (self.write({"http_api": {"key": "a\nb"}}), "key: must be one line"),
            (self.write({"port": "x"}), "port"),
        ):
            self.command("publish", "a", "1", "-c", path, code=2)
            self.assertIn(words, self.complaints)
        self.assertEqual(self.connected, [])
