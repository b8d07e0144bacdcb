"""The admin page of a real server, in a real browser and over HTTP."""

import json
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from .chromium import Chromium, Tab
from .server import Server, connection_token, shared_server
from .websocket import WebSocket

PASSWORD = "the-password-of-the-page"
#: Channels to page through, and how many are subscribed to by one frame.
MANY, AT_ONCE = 100_000, 500

_CHANNEL = {
    "history_size": 100,
    "history_ttl": "10m",
    "presence": True,
    "join_leave": True,
    "force_push_join_leave": True,
    "allow_subscribe_for_client": True,
}
OPTIONS: dict[str, Any] = {
    "admin": {"enabled": True, "password": PASSWORD, "secret": "the-secret"},
    "node": {"name": "rt-1"},
    "client": {"channel_limit": MANY},
    "channel": {
        "namespaces": [
            {"name": "chat", **_CHANNEL},
            {"name": "many", "allow_subscribe_for_client": True},
            {"name": "proved", **_CHANNEL, "receipts": True},
        ]
    },
}


def client(server: Server, user: str, *channels: str) -> WebSocket:
    """Return a client that is subscribed to *channels*."""
    socket = WebSocket(server.port)
    socket.ask({"id": 1, "connect": {"token": connection_token(user)}})
    for number, channel in enumerate(channels, 2):
        socket.send({"id": number, "subscribe": {"channel": channel}})
        while socket.receive().get("id") != number:
            pass  # its own join, and those of others
    return socket


class Visitor:
    """Asks the endpoints of the page without a browser."""

    def __init__(self, server: Server) -> None:
        self.server, self.headers = server, {"Authorization": ""}
        body = f"password={PASSWORD}".encode()
        status, answer = server.request("POST", "/admin/auth", body)
        assert status == 200, answer
        self.headers["Authorization"] = f"token {json.loads(answer)['token']}"

    def ask(self, question: str, **request: Any) -> Any:
        """Return the result of a question."""
        body = json.dumps(request).encode()
        path = f"/admin/{question}"
        status, answer = self.server.request("POST", path, body, self.headers)
        assert status == 200, (status, answer)
        return json.loads(answer)["result"]

    def follow(self, channel: str) -> Iterator[Any]:
        """Yield the lines of a feed."""
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        body = json.dumps({"channel": channel})
        connection.request("POST", "/admin/feed", body, self.headers)
        response = connection.getresponse()
        assert response.status == 200
        try:
            while line := response.readline():
                yield json.loads(line)
        finally:
            connection.close()


class BrowserTests(SynchronousTestCase):
    """The page in Chromium."""

    def setUp(self) -> None:
        self.chromium = Chromium()
        self.server = shared_server("admin", OPTIONS)
        self.url = f"http://127.0.0.1:{self.server.port}/"
        self.channel = f"chat:{time.monotonic_ns()}"

    def enter(self, tab: Tab) -> None:
        """Log in."""
        tab.go(self.url)
        tab.fill("#password", PASSWORD)
        tab.click("Log in")
        tab.sees("Reactor lag")

    def open(self, tab: Tab, page: str) -> None:
        """Go to another page of the application."""
        tab.run(f"location.hash = {json.dumps('#/' + page)}")

    def test_login(self) -> None:
        """A wrong password is reported; the right one shows live nodes."""
        with self.chromium.tab() as tab:
            tab.go(self.url)
            tab.fill("#password", "wrong")
            tab.press("Enter")
            tab.sees("That is not the password.")
            self.assertEqual(len(tab.errors), 1)  # the browser's line about the 400
            tab.fill("#password", PASSWORD)
            tab.press("Enter")
            tab.sees("rt-1")
            before = tab.wait("document.querySelectorAll('.tile strong').length === 5")
            self.assertTrue(before)
            socket = client(self.server, "ada", self.channel)
            self.addCleanup(socket.close)
            tab.wait("document.querySelectorAll('.tile strong')[1].innerText !== '0'")
            # Rates need two answers, and then all charts have lines.
            tab.wait("document.querySelectorAll('.chart path.line').length === 6")
            # The charts have begun with what the node had measured before.
            tab.wait(
                "performance.getEntriesByType('resource').some((each) =>"
                " each.name.endsWith('/admin/samples') && each.responseStatus === 200)"
            )
            tab.go(self.url)
            tab.sees("rt-1")
            tab.click("Log out")
            tab.sees("Password")
            self.assertIsNone(tab.run("localStorage.getItem('centrifugo.admin.token')"))
            self.assertEqual(len(tab.errors), 1)

    def test_channel(self) -> None:
        """A channel is followed live; history, presence and connections are shown."""
        with self.chromium.tab() as tab:
            self.enter(tab)
            self.open(tab, f"channel/{quote(self.channel, safe='')}")
            tab.wait("document.querySelector('.state.on') !== null")
            self.server.api("publish", channel=self.channel, data={"from": "backend"})
            tab.sees('{"from":"backend"}')
            tab.fill("#data", '{"html":"<img src=x onerror=alert(1)>"}')
            tab.click("Publish")
            tab.sees("Published at offset 2")
            tab.sees('{"html":"<img src=x onerror=alert(1)>"}')
            self.assertEqual(tab.run("document.querySelectorAll('main img').length"), 0)
            socket = client(self.server, "ada", self.channel)
            self.addCleanup(socket.close)
            tab.wait("document.querySelector('.feed li.join') !== null")
            tab.click("History")
            tab.sees("top offset 2")
            tab.sees("server API")
            tab.click("Presence")
            tab.sees("1 of 1 connection")
            tab.run("document.querySelector('td a').click()")
            tab.sees("1 subscription")
            details = tab.run("document.querySelector('dl').innerText")
            self.assertIn("ada", details)
            self.assertIn("websocket", details)
            tab.click("Disconnect…")
            self.assertEqual(socket.closing()[0], 3503)
            tab.sees("Not connected")
            self.assertEqual(tab.errors, [])

    def test_history_pages(self) -> None:
        """History is paged from the newest to the oldest, and back."""
        for number in range(45):
            self.server.api("publish", channel=self.channel, data=number)
        offsets = (
            "[...document.querySelectorAll('tbody td:first-child')]"
            ".map((cell) => Number(cell.innerText))"
        )
        with self.chromium.tab() as tab:
            self.enter(tab)
            self.open(tab, f"channel/{quote(self.channel, safe='')}?tab=history")
            tab.sees("Page 1")
            self.assertEqual(tab.run(offsets), list(range(45, 25, -1)))
            tab.click("Next →")
            tab.sees("Page 2")
            tab.click("Next →")
            tab.sees("Page 3")
            self.assertEqual(tab.run(offsets), [5, 4, 3, 2, 1])
            tab.click("← Previous")
            tab.sees("Page 2")
            self.assertEqual(tab.run(offsets), list(range(25, 5, -1)))

    def test_receipts(self) -> None:
        """The users who have received a publication, and those who are behind."""
        channel = f"proved:{self.id()}"
        for user in ("ada", "bob"):
            socket = client(self.server, user, channel)
            self.addCleanup(socket.close)
        with self.chromium.tab() as tab:
            self.enter(tab)
            self.open(tab, f"channel/{quote(channel, safe='')}?tab=receipts")
            tab.sees("Nothing was published yet")
            for number in range(3):
                self.server.api(
                    "publish", channel=channel, data=number, confirm=number == 2
                )
            while socket.receive():
                pass  # publications; the last frame is the ping
            socket.send({})
            tab.click("Refresh")
            tab.sees("Offset 3 · 1 received · 1 pending")
            rows = (
                "[...document.querySelectorAll('tbody tr')].map((row) =>"
                " [...row.cells].slice(0, 4).map((cell) => cell.innerText).join(' '))"
            )
            self.assertEqual(tab.run(rows), ["ada pending 0 3", "bob received 3 0"])
            self.open(tab, f"channel/{quote(self.channel, safe='')}?tab=receipts")
            tab.sees("No receipts")
            self.assertEqual(tab.errors, [])

    def test_actions(self) -> None:
        """Every method has a form, which checks JSON and says itself as curl."""
        with self.chromium.tab() as tab:
            self.enter(tab)
            tab.click("Actions")
            tab.fill("#field-channel", self.channel)
            tab.fill("#field-data", "{oops")
            tab.sees("JSON")
            disabled = "document.querySelector('form button').disabled"
            self.assertTrue(tab.run(disabled))
            tab.fill("#field-data", '{"it\'s":1}')
            self.assertFalse(tab.run(disabled))
            line = tab.run("document.querySelector('#curl').innerText")
            self.assertIn(f"curl -X POST {self.url}api/publish", line)
            self.assertIn("'\\''", line)
            tab.click("Send")
            tab.sees('"offset": 1')
            for method in ("history", "info", "channels"):
                self.open(tab, f"actions/{method}")
                tab.wait(f"document.querySelector('form h2').innerText === '{method}'")
                if method == "history":
                    tab.fill("#field-channel", self.channel)
                tab.click("Send")
                tab.sees("done")
            listed = tab.run(
                "[...document.querySelectorAll('.menu a')].map((a) => a.innerText)"
            )
            served = {
                *("publish", "broadcast", "subscribe", "unsubscribe", "disconnect"),
                *("history", "history_remove", "presence", "presence_stats", "info"),
                *("rpc", "refresh", "channels", "map_publish", "map_remove"),
                *("map_read_state", "map_read_stream", "map_stats", "map_clear"),
                *("shared_poll_publish", "receipts"),
            }
            self.assertEqual(set(listed), served)

    def test_looks(self) -> None:
        """Dark and light, phone, keyboard, and a label for each field."""
        socket = client(self.server, "ada", self.channel)
        self.addCleanup(socket.close)
        color = "getComputedStyle(document.body).backgroundColor"
        with self.chromium.tab() as tab:
            tab.prefer("dark")
            tab.go(self.url)
            tab.wait("document.documentElement.dataset.theme === 'dark'")
            dark = tab.run(color)
            tab.prefer("light")
            tab.wait(f"{color} !== {json.dumps(dark)}")
            self.enter(tab)
            tab.run("document.querySelector('#theme').click()")
            self.assertEqual(tab.run(color), dark)
            tab.go(self.url)  # and it stays so
            tab.wait(f"{color} === {json.dumps(dark)}")
            tab.press("Tab")
            self.assertEqual(tab.run("document.activeElement.className"), "skip")
            tab.press("Enter")
            self.assertEqual(tab.run("document.activeElement.id"), "main")
            tab.resize(390, 844, mobile=True)
            for page in (
                *("", "channels", "connections", "actions", "actions/subscribe"),
                f"channel/{quote(self.channel, safe='')}",
                f"channel/{quote(self.channel, safe='')}?tab=presence",
                f"channel/{quote(self.channel, safe='')}?tab=history",
                f"channel/{quote(self.channel, safe='')}?tab=receipts",
            ):
                self.open(tab, page)
                tab.wait("document.querySelector('main h1') !== null")
                tab.wait("document.querySelector('main [aria-busy]') === null")
                width = tab.run("document.documentElement.scrollWidth")
                self.assertLessEqual(width, 390, page)
                bare = tab.run(
                    "[...document.querySelectorAll('main input, main textarea, main"
                    " select')].filter((f) => !f.labels.length).map((f) => f.id)"
                )
                self.assertEqual(bare, [], page)
            self.assertEqual(tab.errors, [])

    def test_many_channels(self) -> None:
        """100,000 channels are paged through, and filtered by pattern."""
        socket = client(self.server, "collector")
        self.addCleanup(socket.close)
        for start in range(0, MANY, AT_ONCE):
            socket.send(
                *(
                    {"id": number + 2, "subscribe": {"channel": f"many:{number:06}"}}
                    for number in range(start, start + AT_ONCE)
                )
            )
            while socket.receive().get("id") != start + AT_ONCE + 1:
                pass
        first = "document.querySelector('tbody td')?.innerText"
        with self.chromium.tab() as tab:
            self.enter(tab)
            tab.click("Channels")
            tab.fill("#filter", "many:")
            tab.wait("!document.querySelector('[aria-busy]')")
            tab.sees("100,000 channels")
            self.assertEqual(tab.run(first), "many:000000")
            for number in range(1, 4):
                tab.click("Next →")
                tab.wait(f"{first} === 'many:{50 * number:06}'")
            tab.click("← Previous")
            tab.wait(f"{first} === 'many:000100'")
            tab.fill("#filter", "many:*99")
            tab.sees("1,000 channels")
            self.assertEqual(tab.run(first), "many:000099")
            tab.fill("#filter", "nowhere")
            tab.sees("No channel matches")
            tab.fill("#filter", "[")
            tab.sees("The server answered with an error")


class ServerTests(SynchronousTestCase):
    """The page of a server as its operator has it, without a browser."""

    def start(self, **options: Any) -> Server:
        """Start a server of its own."""
        server = Server({**OPTIONS, **options})
        self.addCleanup(server.close)
        return server.start()

    def test_workers(self) -> None:
        """Any worker tells of all, and follows what another one publishes."""
        server = self.start(workers=2)
        visitor = Visitor(server)
        nodes = visitor.ask("nodes")["nodes"]
        deadline = time.monotonic() + 60
        while len(nodes) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
            nodes = visitor.ask("nodes")["nodes"]
        self.assertEqual(len(nodes), 2)
        self.assertTrue(all(node["measures"]["memory_bytes"] for node in nodes), nodes)
        sockets = [client(server, f"user-{n}", f"chat:{n}") for n in range(8)]
        for socket in sockets:
            self.addCleanup(socket.close)
        found = visitor.ask("channels", prefix="chat:")
        names = [each["name"] for each in found["channels"]]
        self.assertEqual(names, [f"chat:{n}" for n in range(8)])
        self.assertEqual(visitor.ask("connections")["matched"], 8)
        row = visitor.ask("connections", user="user-3")["connections"][0]
        details = visitor.ask("connection", client=row["client"])
        self.assertEqual(details["subscriptions"][0]["channel"], "chat:3")
        self.assertEqual(details["address"], "127.0.0.1")
        past = visitor.ask("samples")["nodes"]
        self.assertEqual(past.keys(), {node["uid"] for node in nodes})
        self.assertTrue(all(node["samples"] for node in past.values()), past)
        lines = visitor.follow("chat:feed")
        next(lines)
        deadline = time.monotonic() + 60
        for number in range(8):
            server.api("publish", channel="chat:feed", data=number)
        got: list[int] = []
        while len(got) < 8 and time.monotonic() < deadline:
            line = next(lines)
            if "pub" in line:
                got.append(line["pub"]["data"])
        self.assertEqual(got, list(range(8)))
        # An open feed does not keep the server from ending.
        self.assertEqual(server.stop(), 0)
        self.assertEqual([line for line in lines if line], [])
        self.assertEqual(server.complaints(), [])

    def test_folder(self) -> None:
        """``web_path`` serves other files, beside the same endpoints."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        Path(folder.name, "index.html").write_text("<h1>Ours</h1>")
        admin = {**OPTIONS["admin"], "web_path": folder.name}
        server = self.start(admin={**admin, "handler_prefix": "/inside"})
        self.assertEqual(server.request("GET", "/inside/"), (200, b"<h1>Ours</h1>"))
        self.assertEqual(server.request("GET", "/inside/nothing")[0], 404)
        _, body = server.request("GET", "/inside/../../etc/passwd")
        self.assertNotIn(b"root:", body)
        self.assertEqual(server.request("GET", "/inside/admin/init")[0], 200)
        # Another server passes everything else on to this one.
        address = f"http://127.0.0.1:{server.port}"
        other = self.start(
            admin={
                **OPTIONS["admin"],
                "handler_prefix": "/inside",
                "web_proxy_address": address,
            }
        )
        self.assertEqual(other.request("GET", "/inside/"), (200, b"<h1>Ours</h1>"))
        server.stop()
        self.assertEqual(other.request("GET", "/inside/")[0], 502)
        self.assertEqual(other.complaints(), [])
