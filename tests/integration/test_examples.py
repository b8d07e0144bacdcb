"""The examples, each started as its Procfile says and used in a browser."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase
from valkey import Valkey

from centrifugo_tx.backend import TokenSigner

from .chromium import Chromium, Tab, Window
from .ports import free_port
from .redis_servers import valkey
from .test_javascript_sdk import node_command

EXAMPLES = Path(__file__).parents[2] / "examples"
SDK = Path(__file__).parent / "js/node_modules/centrifuge/dist/centrifuge.js"
#: Where the pages expect the official client.
CDN = "https://cdn.jsdelivr.net/npm/centrifuge@5.8.0/dist/centrifuge.js"
#: Where the pages are, and the server.
PAGE, SERVER = "localhost:3000", "localhost:8000"
#: Seconds that an example has to start, and to stop.
PATIENCE = 60.0


@define(eq=False)
class Examples:
    """One browser, and two ports that it takes for those of the examples."""

    ports: dict[str, int] = field(init=False)
    window: Window = field(init=False)
    _open: contextlib.ExitStack = field(factory=contextlib.ExitStack, init=False)

    def __attrs_post_init__(self) -> None:
        node_command("javascript_sdk.mjs")  # so that the SDK is installed
        self.ports = {PAGE: free_port(), SERVER: free_port()}
        hosts = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.window = self._open.enter_context(Chromium(hosts).window())

    def close(self) -> None:
        """Close the browser."""
        self._open.close()

    @contextlib.contextmanager
    def running(self, name: str, **environment: str) -> Iterator[None]:
        """Run an example with ports and files of its own."""
        programs = Path(sys.executable).parent
        environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PORT": str(self.ports[PAGE]),
            "CENTRIFUGO_HTTP_SERVER_PORT": str(self.ports[SERVER]),
            "CENTRIFUGO_API_URL": f"http://127.0.0.1:{self.ports[SERVER]}/api",
            **environment,
        }
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                [sys.executable, str(EXAMPLES / "start.py")],
                cwd=EXAMPLES / name,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                deadline = time.monotonic() + PATIENCE
                while not all(map(_listens, self.ports.values())):
                    if process.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        raise AssertionError(f"{name}:\n{log.read().decode()}")
                    time.sleep(0.05)
                yield
            finally:
                process.terminate()
                process.wait(PATIENCE)

    def photograph(self, tab: Tab, name: str, after: str = "true") -> None:
        """Write a screenshot into the folder that SCREENSHOTS names, if it does."""
        if folder := os.environ.get("SCREENSHOTS"):
            tab.resize(1000, 640)
            tab.prefer("light")
            tab.wait(after)
            tab.send("Page.bringToFront")
            (Path(folder) / f"example-{name}.png").write_bytes(tab.screenshot())

    def visit(self, person: str = "") -> Tab:
        """Open the example's page, as somebody new unless it is said who."""
        tab = self.window.new_tab(person or self.window.new_person())
        tab.serve({CDN: SDK.read_bytes()})
        tab.go(f"http://{PAGE}/")
        return tab


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return not probe.connect_ex(("127.0.0.1", port))


class ExampleCase(SynchronousTestCase):
    """All examples share the browser."""

    examples: ClassVar[Examples]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.examples = Examples()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.examples.close()
        super().tearDownClass()

    def finish(self, *tabs: Tab) -> None:
        """No page has logged an error."""
        for tab in tabs:
            tab.run("1")  # so that all previous events have been read
            unexpected = [each for each in tab.errors if not _EXPECTED.search(each)]
            self.assertEqual(unexpected, [])


#: Chromium reports each answer of status 401, such as that on the first visit.
_EXPECTED = re.compile(r"status of 401 .*/token$")


class ChatTests(ExampleCase):
    """Both chats."""

    def test_fastapi(self) -> None:
        """Two users see each other, who is typing, each message, and the history."""
        with self.examples.running("chat-fastapi"):
            ada, bob = self.log_in()
            for tab in (ada, bob):
                tab.wait("document.getElementById('people').innerText === 'ada\\nbob'")
            self.talk(ada, bob)
            bob.run(OBSERVE)  # because the line is there for four seconds only
            ada.fill("[name=text]", "Now")
            bob.wait("typed.includes('ada is typing …')")
            self.examples.photograph(bob, "chat")
            ada.click("Send")
            bob.wait("document.getElementById('typing').textContent === ''")
            bob.go(f"http://{PAGE}/")
            bob.sees("<b>everybody</b>")
            ada.run("client.disconnect()")
            bob.wait("document.getElementById('people').innerText === 'bob'")
            self.finish(ada, bob)

    def test_django(self) -> None:
        """Two users see each message, also later, and those who leave are gone."""
        page = f"http://127.0.0.1:{self.examples.ports[PAGE]}"
        environment = {
            "CHAT_DATABASE": str(Path(self.mktemp()).absolute()),
            "CENTRIFUGO_CLIENT_PROXY_CONNECT_ENDPOINT": f"{page}/centrifugo/connect",
        }
        with self.examples.running("chat-django", **environment):
            ada, bob = self.log_in()
            self.talk(ada, bob)
            bob.go(f"http://{PAGE}/")
            bob.sees("<b>everybody</b>")
            self.examples.photograph(bob, "chat-django")
            also_bob = self.examples.visit(self.people[1])
            also_bob.sees("connected")
            bob.click("Leave")
            for tab in (bob, also_bob):
                tab.wait("document.querySelector('[name=name]') !== null")
            self.finish(ada, bob, also_bob)

    def log_in(self) -> tuple[Tab, Tab]:
        """Return the pages of two users."""
        self.people = [self.examples.window.new_person() for _ in range(2)]
        ada, bob = map(self.examples.visit, self.people)
        for tab, name in ((ada, "ada"), (bob, "bob")):
            tab.fill("[name=name]", name)
            tab.click("Join")
            tab.sees(f"you are {name}")
        return ada, bob

    def talk(self, ada: Tab, bob: Tab) -> None:
        """Let the users say things; both see all of them."""
        for tab, text in (
            (ada, "Hello <b>everybody</b>"),
            (bob, "Hello Ada! Shall we meet at noon?"),
            (ada, "Yes, at the fountain."),
        ):
            tab.fill("[name=text]", text)
            tab.click("Send")
            for each in (ada, bob):
                each.sees(text)


#: Keeps all texts of the line that says who is typing.
OBSERVE = """
globalThis.typed = [];
const line = document.getElementById("typing");
new MutationObserver(() => typed.push(line.textContent))
  .observe(line, { childList: true });
"""


class PricesTests(ExampleCase):
    """The dashboard of prices."""

    def test_page(self) -> None:
        """Prices come as deltas, and only trades of the chosen sectors."""
        with self.examples.running("prices-dashboard"):
            tab = self.examples.visit()
            tab.wait("document.querySelectorAll('#board .card').length === 9")
            # Less than half, although the first board has come in full.
            tab.wait("published > 10000 && arrived < published / 2")
            for sector in ("transport", "energy"):
                tab.run(f"document.querySelector('[name={sector}]').click()")
            tab.wait("document.querySelectorAll('#trades li').length > 1")
            found = tab.run("document.getElementById('trades').innerText")
            symbols = set(re.findall("[A-Z]{4}", found))
            self.assertLessEqual(symbols, {"GLEN", "HAZE", "IBEX"})
            self.examples.photograph(tab, "prices", after="arrived > 9000")
            self.finish(tab)


class CursorsTests(ExampleCase):
    """Collaborative cursors."""

    def test_page(self) -> None:
        """Each sees the other's cursor and notes, and sees them move and go."""
        with self.examples.running("cursors"):
            first, second = self.examples.visit(), self.examples.visit()
            for tab in (first, second):
                tab.resize(1000, 640)
                tab.sees("you are ")
            notes = "Invite the choir", "Book the hall", "Print tickets"
            for text, tab in zip(notes, (first, second, first), strict=True):
                tab.fill("[name=text]", text)
                tab.click("Pin")
                first.sees(text)
                second.sees(text)
            self.move(first, 500, 300)
            second.wait("document.querySelector('.cursor')?.style.left === '50%'")
            # Drag the latest note, which lies on top, by 80 pixels.
            x, y = second.run(f"(({{x, y}}) => [x + 9, y + 9])({RECTANGLE})")
            self.mouse(second, "mousePressed", x, y)
            self.move(second, x + 80, y)
            self.mouse(second, "mouseReleased", x + 80, y)
            first.wait(f"Math.abs({RECTANGLE}.x + 9 - {x + 80}) < 1")
            self.examples.photograph(second, "cursors")
            second.run("document.querySelector('.note button').click()")
            first.wait("document.querySelectorAll('.note').length === 2")
            first.run("client.disconnect()")
            second.wait("document.querySelector('.cursor') === null")
            self.finish(first, second)

    def move(self, tab: Tab, x: float, y: float) -> None:
        """Move the pointer."""
        self.mouse(tab, "mouseMoved", x, y)

    def mouse(self, tab: Tab, kind: str, x: float, y: float) -> None:
        """Let the mouse do something with its left button."""
        tab.send("Page.bringToFront")  # others may handle no input
        button = "none" if kind == "mouseMoved" else "left"
        tab.send(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1
        )


#: Where the latest note is.
RECTANGLE = (
    "[...document.querySelectorAll('.note')]"
    ".find((note) => note.innerText.includes('Print')).getBoundingClientRect()"
)


class NotificationsTests(ExampleCase):
    """Notifications with unread counts."""

    def test_page(self) -> None:
        """They wait for a user, are counted, and are read in all windows at once."""
        with self.examples.running("notifications"):
            ada, bob = (self.examples.window.new_person() for _ in range(2))
            page = self.examples.visit(ada)
            self.join(page, "ada")
            for number in (1, 2, 3):
                page.fill("[name=to]", "bob")
                page.fill("[name=text]", f"Parcel {number} has arrived.")
                page.click("Notify")
                page.wait("document.querySelector('[name=text]').value === ''")
            self.assertEqual(page.run("notifications.length"), 0)
            first = self.examples.visit(bob)
            self.join(first, "bob")
            self.counts(first, 3)
            second = self.examples.visit(bob)
            self.counts(second, 3)
            first.click("Mark all as read")
            for tab in (first, second):
                tab.wait("document.title === 'Notifications'")
            page.fill("[name=text]", "Your order has been shipped.")
            page.click("Notify")
            for tab in (first, second):
                self.counts(tab, 1)
            self.assertEqual(first.run("notifications.length"), 4)
            self.examples.photograph(first, "notifications")
            self.finish(page, first, second)

    def join(self, tab: Tab, name: str) -> None:
        """Log in."""
        tab.fill("[name=name]", name)
        tab.click("Join")
        tab.sees(f"you are {name}")

    def counts(self, tab: Tab, number: int) -> None:
        """Wait until the page shows this number of new notifications."""
        tab.wait(f"document.title === '({number}) Notifications'")
        tab.wait(f"document.getElementById('unread').innerText === '{number}'")
        tab.wait(f"document.querySelectorAll('li.new').length === {number}")


class DevicesTests(ExampleCase):
    """Devices whose readings come through Redis Streams."""

    def test_page(self) -> None:
        """Each device's last value is there at once, and its next one follows."""
        valkey()  # skips where it is not installed
        port = str(free_port())
        environment = {
            "REDIS_PORT": port,
            "CENTRIFUGO_CONSUMERS_DEVICES_REDIS_STREAM_ADDRESS": (
                f"redis://127.0.0.1:{port}"
            ),
        }
        with self.examples.running("iot-redis-streams", **environment):
            tab = self.examples.visit()
            cards = "document.querySelectorAll('#devices .fresh')"
            tab.wait(f"{cards}.length === 6")
            before = tab.run("document.getElementById('devices').innerText")
            tab.wait(
                "document.getElementById('devices').innerText !==" + json.dumps(before)
            )
            alarm = {"device": "air", "value": 40.5, "unit": "°C", "at": 1.8e9}
            with Valkey(port=int(port)) as redis:
                fields = {"centrifugo-channels": "alarms:all"}
                redis.xadd("devices", {"payload": json.dumps(alarm), **fields})
            tab.sees("air: 40.5 °C")
            tab.go(f"http://{PAGE}/")
            tab.sees("air: 40.5 °C")
            tab.wait(f"{cards}.length > 0")
            self.examples.photograph(tab, "devices", after=f"{cards}.length === 6")
            self.finish(tab)


class TenantsTests(ExampleCase):
    """Several tenants with key sets."""

    def test_page(self) -> None:
        """Each tenant sees its own board, and cannot sign for another."""
        keys = Path(self.mktemp()).absolute()
        page = f"http://127.0.0.1:{self.examples.ports[PAGE]}"
        environment = {
            "TENANT_KEYS": str(keys),
            "CENTRIFUGO_CLIENT_TOKEN_JWKS_PUBLIC_ENDPOINT": (
                page + "/tenants/{{tenant}}/jwks.json"
            ),
        }
        with self.examples.running("multi-tenant", **environment):
            ada, bob, eve = (self.examples.visit() for _ in range(3))
            self.join(ada, "acme", "ada")
            self.join(bob, "acme", "bob")
            self.join(eve, "globex", "eve")
            for tab, text in (
                (ada, "The rocket skates are ready for a test."),
                (eve, "Who has seen the doomsday device?"),
                (bob, "Not again!"),
            ):
                tab.fill("[name=text]", text)
                tab.click("Post")
                tab.sees(text)
            ada.sees("Not again!")
            bob.go(f"http://{PAGE}/")
            bob.sees("rocket skates")
            for tab in (ada, bob):
                self.assertNotIn("doomsday", tab.run("document.body.innerText"))
            self.assertEqual(eve.run("document.querySelectorAll('li').length"), 1)
            self.examples.photograph(ada, "multi-tenant")
            # The key of acme signs for acme, but not for globex.
            for tenant, outcome in (
                ("acme", "connected"),
                ("globex", [3500, "invalid token"]),
            ):
                signer = TokenSigner(
                    key=(keys / "acme" / "1.pem").read_text(),
                    algorithm="ES256",
                    key_id="1",
                    issuer=f"https://id.example/{tenant}",
                )
                token = signer.connection_token(
                    f"{tenant}/ada", channels=[f"tenant:{tenant}"]
                )
                self.assertEqual(ada.run(CONNECT % json.dumps(token)), outcome)
            self.finish(ada, bob, eve)

    def join(self, tab: Tab, tenant: str, name: str) -> None:
        """Log in."""
        tab.run(f"document.querySelector('[name=tenant]').value = '{tenant}'")
        tab.fill("[name=name]", name)
        tab.click("Join")
        tab.sees(f"you are {name}")


#: Connects with a token; resolves to what has come of it.
CONNECT = """
new Promise((done) => {
  const url = "ws://localhost:8000/connection/websocket";
  const client = new Centrifuge(url, { token: %s });
  client.on("disconnected", (ctx) => done([ctx.code, ctx.reason]));
  client.on("connected", () => done("connected"));
  client.connect();
})
"""
