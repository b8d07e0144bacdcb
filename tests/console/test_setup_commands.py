"""The commands that set up a server: ``dev``, ``init`` and ``files``."""

import builtins
import json
import os
import stat
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import jwt
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx import cli
from centrifugo_tx.config.check import warnings
from centrifugo_tx.config.load import load
from centrifugo_tx.console import development_command, files_command
from centrifugo_tx.console.development_command import SECRETS, TOKEN_SECRET

FLAGS = (
    *(
        "--domain",
        "WS.example.com",
        "--origins",
        "https://a.example, https://b.example/",
    ),
    *("--engine", "memory", "--channels", "closed", "--admin", "yes"),
)


class SetupCase(SynchronousTestCase):
    """Runs commands in a new folder, without variables of the server."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        plain = {k: v for k, v in os.environ.items() if not k.startswith("CENTRIFUGO_")}
        self.patch(os, "environ", plain)
        self.patch(sys, "stdin", StringIO())

    def run_command(self, *arguments: str, code: int = 0) -> str:
        """Run a command, and return its output; ``complaints`` has the errors."""
        printed, complained = StringIO(), StringIO()
        with redirect_stdout(printed), redirect_stderr(complained):
            self.assertEqual(cli.main(arguments), code, printed.getvalue())
        self.complaints = complained.getvalue()
        return printed.getvalue()


class DevelopmentTests(SetupCase):
    """A server without a configuration."""

    def setUp(self) -> None:
        super().setUp()
        self.started: list[list[str]] = []
        self.patch(
            development_command,
            "run_server",
            lambda arguments, then=None: self.started.append(list(arguments)),
        )

    def test_without_arguments(self) -> None:
        """Nothing but the name of the program starts it."""
        self.run_command()
        (arguments,) = self.started
        config = load(arguments[arguments.index("--config") + 1], {}).config
        self.assertEqual(config.http_server.address, "127.0.0.1")

    def test_configured(self) -> None:
        """With a configuration, in a file or the environment, that one is used."""
        for name in "config.json", ".env":
            Path(name).write_text("")
            self.run_command()
            Path(name).unlink()
        os.environ["CENTRIFUGO_LOG_LEVEL"] = "debug"
        self.run_command()
        self.assertEqual(self.started, [[], [], []])

    def test_variables(self) -> None:
        """The variables of commands are no configuration of a server."""
        os.environ["CENTRIFUGO_TX_ADDRESS"] = "example.com"
        self.run_command()
        self.assertNotEqual(self.started, [[]])

    def test_secrets(self) -> None:
        """Each run has new secrets, that are long enough; given ones are kept."""
        os.environ["CENTRIFUGO_HTTP_API_KEY"] = "of the user"
        self.run_command("dev")
        self.assertEqual(os.environ["CENTRIFUGO_HTTP_API_KEY"], "of the user")
        first = {name: os.environ.pop(name) for name in SECRETS}
        self.run_command("dev")
        second = {name: os.environ[name] for name in SECRETS}
        self.assertFalse(set(first.values()) & set(second.values()))
        config = load(str(files_command.FOLDER / "development.json"), os.environ).config
        self.assertEqual([line for line in warnings(config) if "guess" in line], [])

    def test_text(self) -> None:
        """The text names the ports, and a token that the server accepts."""
        self.run_command("dev")
        text = development_command._text(8001, 3001)
        self.assertIn("http://localhost:3001/?port=8001\n", text)
        self.assertIn("http://localhost:8001/api/publish\n", text)
        (token,) = (each for each in text.split() if each.startswith("eyJ"))
        claims = jwt.decode(token, os.environ[TOKEN_SECRET], ["HS256"])
        self.assertEqual(claims, {"sub": "42"})

    def test_port(self) -> None:
        """A port that does not exist is refused."""
        with redirect_stderr(StringIO()) as complained, self.assertRaises(SystemExit):
            cli.main(["dev", "--port", "70000"])
        self.assertIn("must be between 1 and 65535", complained.getvalue())


class InitTests(SetupCase):
    """The files of a first server."""

    def test_flags(self) -> None:
        """Flags answer all questions; secrets are for the owner's eyes only."""
        printed = self.run_command("init", *FLAGS)
        mode = stat.S_IMODE(os.stat("config.json").st_mode)
        self.assertEqual(mode, 0o600)
        self.assertEqual(
            self.run_command("checkconfig", "--strict", "-c", "config.json"), ""
        )
        self.assertEqual(self.complaints, "")
        config = load("config.json", {}).config
        self.assertEqual(
            config.client.allowed_origins, ("https://a.example", "https://b.example")
        )
        options = config.channel.without_namespace
        self.assertFalse(options.allow_subscribe_for_client)
        self.assertTrue(config.admin.enabled)
        self.assertIn("server_name ws.example.com;", self.read("centrifugo-tx.nginx"))
        self.assertIn(f"{sys.prefix}/bin/twistd", self.read("centrifugo-tx.service"))
        self.assertIn("certbot --nginx -d ws.example.com\n", printed)
        for secret in (config.http_api.key, config.admin.password):
            self.assertNotIn(secret, printed)

    def read(self, name: str) -> str:
        """Return the text of a file."""
        return Path(name).read_text()

    def test_other_answers(self) -> None:
        """Redis, open channels, no admin page, and a certificate."""
        self.run_command(
            *("init", "--domain", "a.example", "--origins", "https://a.example"),
            *("--engine", "redis://redis:6379", "--channels", "open", "--admin", "no"),
            *("--certificate", "a.pem", "--certificate-key", "a.key", "-o", "new"),
        )
        config = load("new/config.json", {}).config
        self.assertEqual(config.engine.redis.address, ("redis://redis:6379",))
        options = config.channel.without_namespace
        self.assertTrue(options.allow_subscribe_for_client)
        self.assertFalse(config.admin.enabled)
        site = self.read("new/centrifugo-tx.nginx")
        self.assertIn(f"ssl_certificate {self.folder}/a.pem;", site)
        self.assertIn("return 301 https://", site)

    def test_existing(self) -> None:
        """Existing files are kept, unless they are to be overwritten."""
        Path("config.json").write_text("{}")
        os.chmod("config.json", 0o644)
        said = self.run_command("init", *FLAGS, code=1)
        self.assertEqual(said, "error: config.json exists; overwrite it by --force\n")
        self.assertEqual(self.read("config.json"), "{}")
        self.assertFalse(Path("centrifugo-tx.nginx").exists())
        self.run_command("init", *FLAGS, "--force")
        self.assertIn("http_api", json.loads(self.read("config.json")))
        self.assertEqual(stat.S_IMODE(os.stat("config.json").st_mode), 0o600)

    def test_no_terminal(self) -> None:
        """Without a terminal the flags that are missing are named."""
        self.run_command("init", *FLAGS[:6], code=2)
        self.assertEqual(
            self.complaints,
            "centrifugo-tx: standard input is not a terminal to ask on; also give"
            " --channels, --admin\n",
        )

    def test_wrong(self) -> None:
        """A wrong answer ends the command before anything is written."""
        for flag, answer, reason in (
            ("--domain", "a b", "is not a host name"),
            ("--domain", "a.example;", "is not a host name"),
            ("--origins", "https://a.example/b", "is not an origin"),
            ("--origins", "", "at least one origin"),
            ("--origins", "*", "is not an origin"),
            ("--engine", "nats://a", "neither memory nor the URL of a Redis"),
            ("--engine", "redis://", "neither memory nor the URL of a Redis"),
            ("--engine", "redis://a:b", "Port could not be cast"),
            ("--origins", "https://{a", "client.allowed_origins"),
            ("--certificate", "a.pem", "give both --certificate and --certificate-key"),
        ):
            self.run_command("init", *FLAGS, flag, answer, code=2)
            self.assertIn(reason, self.complaints)
            self.assertEqual(self.complaints.count("\n"), 1)
        self.assertEqual(os.listdir(), [])

    def test_questions(self) -> None:
        """A terminal is asked, until each answer is right; defaults are offered."""
        terminal = StringIO()
        self.patch(terminal, "isatty", lambda: True)
        self.patch(sys, "stdin", terminal)
        answers = iter(["a b", "ws.example.com", "", "", "o", "maybe", "no"])
        asked: list[str] = []

        def answer(question: str) -> str:
            asked.append(question)
            return next(answers)

        self.patch(builtins, "input", answer)
        printed = self.run_command("init")
        self.assertIn("'a b' is not a host name", printed)
        self.assertIn("[https://example.com]", asked[2])
        self.assertIn("[memory]", asked[3])
        self.assertEqual(len(asked), 7)
        config = load("config.json", {}).config
        self.assertEqual(config.client.allowed_origins, ("https://example.com",))
        self.assertFalse(config.admin.enabled)

    def test_end(self) -> None:
        """The end of the input ends the command."""
        terminal = StringIO()
        self.patch(terminal, "isatty", lambda: True)
        self.patch(sys, "stdin", terminal)

        def end(question: str) -> str:
            raise EOFError

        self.patch(builtins, "input", end)
        self.run_command("init", code=2)
        self.assertEqual(self.complaints, "centrifugo-tx: the input has ended\n")

    def test_homes(self) -> None:
        """The unit of programs below /home may read that folder."""
        self.patch(sys, "prefix", "/home/me/.venv")
        self.run_command("init", *FLAGS)
        unit = self.read("centrifugo-tx.service")
        self.assertIn("ExecStart=/home/me/.venv/bin/twistd", unit)
        self.assertIn("ProtectHome=read-only\n", unit)


class FilesTests(SetupCase):
    """The files that come with the server."""

    def test_complete(self) -> None:
        """Every file is described."""
        names = {path.name for path in files_command.FOLDER.iterdir()}
        self.assertEqual(names, set(files_command.DESCRIPTIONS))

    def test_list(self) -> None:
        """One line a file; the path of one."""
        lines = self.run_command("files").splitlines()
        self.assertEqual(len(lines), len(files_command.DESCRIPTIONS))
        path = self.run_command("files", "nginx.conf").strip()
        self.assertIn("proxy_pass", Path(path).read_text())
        said = self.run_command("files", "apache.conf", code=1)
        self.assertIn("error: no file apache.conf; there are ", said)

    def test_copy(self) -> None:
        """One file or all are copied, and none is overwritten."""
        self.assertEqual(
            self.run_command("files", "haproxy.cfg", "--copy", "new"),
            "new/haproxy.cfg\n",
        )
        said = self.run_command("files", "--copy", "new", code=1)
        self.assertEqual(
            said, "error: new/haproxy.cfg exists; overwrite it by --force\n"
        )
        self.run_command("files", "--copy", "new", "--force")
        self.assertEqual(len(os.listdir("new")), len(files_command.DESCRIPTIONS))

    def test_cannot_write(self) -> None:
        """A folder that cannot be made is named."""
        Path("new").write_text("")
        said: Any = self.run_command("files", "--copy", "new/folder", code=1)
        self.assertRegex(said, "^error: new.*: (Not a directory|File exists)\n$")
