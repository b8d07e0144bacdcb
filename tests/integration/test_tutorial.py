"""The chat of the tutorial, with each of its backends, in a browser."""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .chromium import Chromium, Tab
from .page import DOCS
from .ports import free_port
from .server import PATIENCE, Server
from .test_javascript_sdk import node_command

EXAMPLES = DOCS / "examples" / "chat"
SDK = Path(__file__).parent / "js" / "node_modules" / "centrifuge"


class Guest:
    """Somebody else who uses the backend, without a page."""

    def __init__(self, port: int, name: str) -> None:
        self._port, self._cookie = port, ""
        _, self._cookie = self._post("/login", {"name": name})

    def send(self, text: str) -> int:
        """Send a message; return the status of the response."""
        return self._post("/messages", {"text": text})[0]

    def _post(self, path: str, body: dict[str, str]) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        headers = {
            "Content-Type": "application/json",
            "Cookie": self._cookie,
            "Host": "localhost",
        }
        try:
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            response.read()
            cookie = response.headers.get("Set-Cookie", "").partition(";")[0]
            return response.status, cookie
        finally:
            connection.close()


class ChatTests(SynchronousTestCase):
    """The files of the page, with other ports."""

    tab: Tab
    _closing: ExitStack

    @classmethod
    def setUpClass(cls) -> None:
        browser = Chromium()
        node_command("javascript_sdk.mjs")  # so that the SDK is installed
        cls._closing = ExitStack()
        cls.tab = cls._closing.enter_context(browser.tab())
        cls.tab.send("Network.enable")
        cls.tab.send("Network.setBlockedURLs", urls=["https://*"])
        sdk = (SDK / "dist" / "centrifuge.js").read_text()
        cls.tab.send("Page.addScriptToEvaluateOnNewDocument", source=sdk)

    @classmethod
    def tearDownClass(cls) -> None:
        cls._closing.close()

    def setUp(self) -> None:
        self.port = free_port()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def serve(self, change: tuple[str, str] = ("", "")) -> None:
        """Start the server of the tutorial, with one change to its configuration."""
        config = (EXAMPLES / "config.json").read_text().replace(*change)
        options = json.loads(config.replace("3000", str(self.port)))
        self.server = Server(options).start()
        self.addCleanup(self.server.close)

    def copy_files(self) -> None:
        """Write the page and the backends, with the ports of this test."""
        for path in EXAMPLES.iterdir():
            if path.suffix in (".py", ".html"):
                text = path.read_text().replace("8000", str(self.server.port))
                text = text.replace("3000", str(self.port))
                (self.folder / path.name).write_text(text)

    def start(self, *command: str) -> None:
        """Start a backend, and wait until it answers."""
        self.copy_files()
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            log_text = (self.folder / "log").read_text()
            assert process.poll() is None, log_text
            assert time.monotonic() < deadline, log_text
            time.sleep(0.05)

    def answers(self) -> bool:
        """Tell whether the backend serves its page."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/", headers={"Host": "localhost"})
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def open(self) -> None:
        """Open the page; its SDK is the installed one instead of the downloaded one."""
        version = json.loads((SDK / "package.json").read_text())["version"]
        url = f"https://unpkg.com/centrifuge@{version}/dist/centrifuge.js"
        self.assertIn(f'<script src="{url}">', (EXAMPLES / "index.html").read_text())
        self.tab.send("Network.clearBrowserCookies")
        self.tab.go(f"http://localhost:{self.port}/")

    def log_in(self) -> None:
        """Fill in the first form."""
        self.tab.fill("[name=name]", "ada")
        self.tab.click("Log in")

    def chat(self) -> None:
        """Log in, write, read, and miss nothing while the server is away."""
        tab = self.tab
        self.open()
        self.log_in()
        tab.sees("connected")
        tab.fill("[name=text]", "Is anybody there?")
        tab.click("Send")
        tab.sees("ada: Is anybody there?")
        guest = Guest(self.port, "bob")
        self.assertEqual(guest.send("Yes, I am."), 200)
        tab.sees("bob: Yes, I am.")
        self.server.stop()
        # It tries to connect at once, and then shows an error instead.
        tab.wait("document.getElementById('state').innerText !== 'connected'")
        self.assertEqual(guest.send("Gone again?"), 200)
        self.server.start()
        tab.sees("bob: Gone again?")
        tab.go(f"http://localhost:{self.port}/")
        tab.sees("bob: Gone again?")
        found = tab.run("document.getElementById('list').innerText")
        self.assertEqual(
            found.split("\n"),
            ["ada: Is anybody there?", "bob: Yes, I am.", "bob: Gone again?"],
        )
        self.assertIn("stored, but not published", (self.folder / "log").read_text())

    def test_django(self) -> None:
        """The backend in Django."""
        self.serve()
        self.start("django_chat.py")
        self.chat()

    def test_fastapi(self) -> None:
        """The backend in FastAPI."""
        self.serve()
        self.start("-m", "uvicorn", "fastapi_chat:app", "--port", str(self.port))
        self.chat()

    def test_flask(self) -> None:
        """The backend in Flask."""
        self.serve()
        self.start("flask_chat.py")
        self.chat()

    def test_mistakes(self) -> None:
        """The tutorial's table has what the page shows after a common mistake."""
        page = (DOCS / "tutorial.rst").read_text()
        permission = '"allow_subscribe_for_client": '
        for right, wrong, text in (
            (f"{permission}true", f"{permission}false", "103 permission denied"),
            ('"name": "chat"', '"name": "other"', "102 unknown channel"),
            ("-of-32-bytes-or-more", "-that-is-not-the-same", "3500 invalid token"),
            ("http://localhost:3000", "http://example.com", "2 transport closed"),
        ):
            self.serve((right, wrong))
            self.copy_files()
            if not self.answers():
                self.start("flask_chat.py")
                self.open()
                self.log_in()
            self.tab.go(f"http://localhost:{self.port}/")
            self.tab.sees(text)
            state = self.tab.run("document.getElementById('state').innerText")
            self.assertIn(f"``{state}``", page)
