"""The console script (operations, "Console commands")."""

import json
import os
import stat
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jwt
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.cli import main
from centrifugo_tx.config.load import load
from centrifugo_tx.transports.origin import OriginRule
from centrifugo_tx.workers import supervisor

SECRET = "a secret of a test that is long enough"


class CommandCase(SynchronousTestCase):
    """Something that runs commands."""

    def setUp(self) -> None:
        for name in [name for name in os.environ if name.startswith("CENTRIFUGO_")]:
            self.patch(os, "environ", {**os.environ, name: ""})

    def write(self, tree: Mapping[str, object]) -> str:
        """Write a configuration file and return its path."""
        path = Path(self.mktemp() + ".json")
        path.write_text(json.dumps(tree))
        return str(path)

    def command(self, *arguments: str, code: int = 0) -> str:
        """Run a command, and return its output."""
        printed, complained = StringIO(), StringIO()
        with redirect_stdout(printed), redirect_stderr(complained):
            self.assertEqual(main(arguments), code, printed.getvalue())
        self.complaints = complained.getvalue()
        return printed.getvalue()


class TokenTests(CommandCase):
    """Tokens for development."""

    def setUp(self) -> None:
        super().setUp()
        self.config = self.write({"client": {"token": {"hmac_secret_key": SECRET}}})

    def claims(self, token: str) -> dict[str, object]:
        """Return the claims of a token that is signed by our key."""
        found: dict[str, object] = jwt.decode(token, SECRET, ["HS256"])
        return found

    def test_connection(self) -> None:
        """A descriptive line, and the token."""
        said = self.command("gentoken", "-c", self.config, "-u", "42")
        title, token = said.splitlines()
        self.assertEqual(
            title, 'HMAC SHA-256 JWT for user "42" with expiration TTL 168h0m0s:'
        )
        claims = self.claims(token)
        self.assertEqual(sorted(claims), ["exp", "iat", "sub"])
        self.assertEqual(claims["sub"], "42")

    def test_anonymous(self) -> None:
        """Nobody in particular, for ever."""
        said = self.command("gentoken", "-c", self.config, "--ttl=-1")
        title, token = said.splitlines()
        self.assertEqual(
            title, "HMAC SHA-256 JWT for anonymous user without expiration:"
        )
        self.assertEqual(sorted(self.claims(token)), ["iat"])

    def test_short_key(self) -> None:
        """One line warns of a key that is easily guessed; the token is made."""
        config = self.write({"client": {"token": {"hmac_secret_key": "short"}}})
        self.assertTrue(self.command("gentoken", "-q", "-c", config))
        self.assertEqual(
            self.complaints,
            "warning: client.token.hmac_secret_key has 5 bytes; use at least 32"
            " (RFC 7518, 3.2)\n",
        )

    def test_quiet(self) -> None:
        """Only the token, without a newline."""
        token = self.command("gentoken", "-q", "-c", self.config, "-u", "42")
        self.assertEqual(self.claims(token)["sub"], "42")

    def test_user_claim(self) -> None:
        """A claim of another name carries the user, too."""
        token = {"hmac_secret_key": SECRET, "user_id_claim": "me"}
        config = self.write({"client": {"token": token}})
        said = self.command("gentoken", "-q", "-c", config, "-u", "42")
        self.assertEqual(self.claims(said)["me"], "42")

    def test_no_key(self) -> None:
        """Without the key no token is made."""
        said = self.command("gentoken", "-c", self.write({}), code=1)
        self.assertTrue(said.startswith("error: client.token.hmac_secret_key"), said)

    def test_subscription(self) -> None:
        """A subscription token names its channel, which must be given."""
        said = self.command("gensubtoken", "-c", self.config, "-u", "42", "-s", "ch")
        title, token = said.splitlines()
        self.assertIn('for user "42" and channel "ch" with expiration TTL', title)
        self.assertEqual(self.claims(token)["channel"], "ch")
        said = self.command("gensubtoken", "-c", self.config, code=1)
        self.assertEqual(said, "channel is required\n")

    def test_check(self) -> None:
        """Valid and invalid tokens are distinguished."""
        token = self.command("gentoken", "-q", "-c", self.config, "-u", "42")
        said = self.command("checktoken", "-c", self.config, token)
        first, second = said.splitlines()
        self.assertEqual(first, "valid token for user 42")
        self.assertTrue(second.startswith('payload: {"'), second)
        said = self.command("checktoken", "-c", self.config, token + "x", code=1)
        self.assertRegex(said, "^error: token with algorithm HS256 and claims .* has")
        said = self.command("checktoken", "-c", self.config, "x", code=1)
        self.assertTrue(said.startswith("error: "), said)
        said = self.command("checksubtoken", "-c", self.config, token, code=1)
        self.assertIn("has error: ", said)

    def test_check_subscription(self) -> None:
        """A subscription token, by the keys of its own section."""
        own = {"enabled": True, "hmac_secret_key": SECRET}
        config = self.write({"client": {"subscription_token": own}})
        arguments = "-c", config, "-u", "42"
        token = self.command("gensubtoken", "-q", "-s", "ch", *arguments)
        said = self.command("checksubtoken", "-c", config, token)
        self.assertTrue(
            said.startswith('valid subscription token for user "42" and channel "ch"')
        )
        self.command("checktoken", "-c", config, token, code=1)

    def test_check_signature(self) -> None:
        """The signature is checked regardless of the configuration."""
        client = {"insecure_skip_token_signature_verify": True}
        config = self.write({"client": client})
        token = self.command("gentoken", "-q", "-c", self.config)
        self.command("checktoken", "-c", config, token, code=1)

    def test_one_token(self) -> None:
        """There is one token to check."""
        for tokens in ((), ("a", "b")):
            said = self.command("checktoken", "-c", self.config, *tokens, code=1)
            self.assertTrue(said.startswith("error: provide token to check"), said)


class FileTests(CommandCase):
    """Configuration files made and checked."""

    def test_genconfig(self) -> None:
        """Each format, with secrets, for the owner's eyes only, and right."""
        for extension in ("json", "yaml", "yml", "toml"):
            path = self.mktemp() + f".{extension}"
            said = self.command("genconfig", "-c", path)
            self.assertIn("to client.allowed_origins", said)
            self.assertEqual(said.count("\n"), 1)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            config = load(path, {}).config
            self.assertEqual(len(config.client.token.hmac_secret_key), 86)
            self.assertEqual(len(config.admin.password), 22)
            rule = OriginRule(config.client.allowed_origins)
            for origin in ("http://localhost:3000", "http://127.0.0.1:8000"):
                self.assertTrue(rule.passes(origin))
            self.assertFalse(rule.passes("https://example.com"))
            self.assertEqual(len(config.http_api.key), 86)
            self.assertEqual(self.command("checkconfig", "--strict", "-c", path), "")
            self.assertEqual(self.complaints, "")

    def test_genconfig_refused(self) -> None:
        """No file is overwritten, and the format must be known."""
        path = self.write({})
        said = self.command("genconfig", "-c", path, code=1)
        self.assertEqual(said, f"error: output config file already exists: {path}\n")
        said = self.command("genconfig", "-c", "x.ini", code=1)
        self.assertIn("must have one of supported extensions", said)

    def test_missing_libraries(self) -> None:
        """Without the libraries of an extra, one line says how to install them."""
        for library, arguments in (
            ("tomli_w", ("genconfig", "-c", f"{self.mktemp()}.toml")),
            ("shtab", ("completion", "bash")),
        ):
            with patch.dict(sys.modules, {library: None}):
                said = self.command(*arguments, code=1)
            self.assertRegex(
                said, r"^error: .*: pip install 'centrifugo-tx\[console\]'$"
            )

    def test_checkconfig(self) -> None:
        """Silent when all is well; every problem otherwise."""
        self.assertEqual(self.command("checkconfig", "-c", self.write({})), "")
        bad = {"engine": {"type": "x"}, "client": {"ping_interval": "1s"}}
        said = self.command("checkconfig", "-c", self.write(bad), code=1)
        self.assertTrue(said.startswith("error validating config: engine.type"), said)
        self.assertIn("\nclient.ping_interval: ", said)
        worse = self.write({"http_server": 5})
        said = self.command("checkconfig", "-c", worse, code=1)
        self.assertTrue(said.startswith("error getting config: http_server: 5"), said)
        said = self.command("checkconfig", "-c", "/nowhere/c.json", code=1)
        self.assertEqual(said, "config file not found\n")

    def test_checkconfig_workers(self) -> None:
        """Workers that cannot share a memory engine are a problem."""
        path = self.write({"workers": 2})
        for installed in "/valkey", None:
            self.patch(supervisor, "find_program", lambda found=installed: found)
            said = self.command("checkconfig", "-c", path, code=int(not installed))
        self.assertIn("workers: '2' cannot share engine.type", said)
        wrong = self.write({"workers": "x"})
        self.assertIn("workers: 'x'", self.command("checkconfig", "-c", wrong, code=1))

    def test_checkconfig_pending(self) -> None:
        """An option that prevents the start is an error, one without effect a
        warning.
        """
        tls = self.write({"controller": {"enabled": True, "type": "postgres"}})
        said = self.command("checkconfig", "-c", tls, code=1)
        self.assertIn("controller.enabled: not supported, because nodes", said)
        ignored = self.write({"enable_unreleased_features": True})
        self.command("checkconfig", "-c", ignored)
        self.assertIn(
            "warning: option enable_unreleased_features has no effect: it unlocks",
            self.complaints,
        )

    def test_checkconfig_maps(self) -> None:
        """Maps that nodes on one Redis do not share are a warning."""
        maps = {"subscription_type": "map", "map": {"mode": "persistent"}}
        tree: dict[str, Any] = {
            "engine": {"type": "redis"},
            "channel": {"without_namespace": maps},
            "client": {"token": {"hmac_secret_key": SECRET}},
        }
        self.command("checkconfig", "-c", self.write(tree))
        (line,) = self.complaints.splitlines()
        self.assertIn("warning: map_broker.type: maps are kept in memory", line)
        self.assertIn('set "redis" to share them', line)

    def test_checkconfig_strict(self) -> None:
        """With --strict warnings are errors."""
        path = self.write({"foo": 1, "client": {"bar": 1}})
        self.assertEqual(self.command("checkconfig", "-c", path), "")
        self.assertEqual(
            self.complaints,
            "warning: unknown key foo\nwarning: unknown key client.bar\n",
        )
        said = self.command("checkconfig", "-s", "-c", path, code=1)
        self.assertEqual(said, "unknown keys in config: foo, client.bar\n")
        path = self.write({"http_api": {"insecure": True}})
        self.assertEqual(self.command("checkconfig", "-c", path), "")
        self.assertEqual(len(self.complaints.splitlines()), 2, self.complaints)
        said = self.command("checkconfig", "-s", "-c", path, code=1)
        self.assertIn("error: http_api.insecure: true serves everybody", said)
        path = self.write({"client": {"token": {"hmac_secret_key": SECRET}}})
        self.assertEqual(self.command("checkconfig", "-s", "-c", path), "")

    def test_defaultconfig(self) -> None:
        """All options, over those of a base, printed or written."""
        base = self.write({"http_server": {"port": 9000}})
        printed = self.command("defaultconfig", "-d", "-b", base)
        tree = json.loads(printed)
        self.assertEqual(tree["http_server"]["port"], 9000)
        self.assertEqual(tree["client"]["ping_interval"], "25s")
        path = self.mktemp() + ".json"
        self.command("defaultconfig", "-c", path, "-b", base)
        self.assertEqual(Path(path).read_text(), printed)
        said = self.command("defaultconfig", "-c", path, code=1)
        self.assertEqual(said, "error: target file already exists\n")

    def test_defaultenv(self) -> None:
        """All variables, sorted; or those that the base sets."""
        base = self.write({"http_server": {"port": 9000}})
        lines = self.command("defaultenv", "-b", base).splitlines()
        self.assertEqual(lines, sorted(lines))
        self.assertIn('CENTRIFUGO_LOG_LEVEL="info"', lines)
        lines = self.command("defaultenv", "-b", base, "--base-non-zero-only")
        self.assertEqual(lines, "CENTRIFUGO_HTTP_SERVER_PORT=9000\n")


class OtherTests(CommandCase):
    """The rest."""

    def test_version(self) -> None:
        """Name, version, Python version."""
        self.assertRegex(
            self.command("version"), r"^centrifugo-tx v\d+\.\d+\.\d+ \(Python 3\.\d+"
        )

    def test_configdoc(self) -> None:
        """The reference in two markups, whole or one section of it."""
        self.assertIn("``client.ping_interval``", self.command("configdoc"))
        said = self.command("configdoc", "-m", "-s", "shutdown", "-l", "2")
        self.assertTrue(said.startswith("### shutdown\n"), said)
        self.assertIn("* `shutdown.timeout`: ", said)
        self.command("configdoc", "-m", "-s", "none", code=1)
        self.command("configdoc", "-s", "shutdown", code=1)
        self.command("configdoc", "--update", self.mktemp(), code=1)

    def test_help(self) -> None:
        """Every command is in the help."""
        said = self.command("help")
        for name in ("serve", "genconfig", "checktoken", "defaultenv", "version"):
            self.assertIn(name, said)

    def test_unknown(self) -> None:
        """An unknown command or flag ends with another code than 0."""
        for arguments in (["nothing"], ["gentoken", "--nothing"]):
            with redirect_stderr(StringIO()), self.assertRaises(SystemExit) as caught:
                main(arguments)
            self.assertNotEqual(caught.exception.code, 0)
