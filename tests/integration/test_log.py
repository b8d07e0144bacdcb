"""The log of a real server at each level: refusals, connections, messages."""

import json
import os
import pty
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .server import API_KEY, Server, command, connection_token
from .websocket import Refused, WebSocket, frame

_OPTIONS: dict[str, Any] = {
    "client": {"allowed_origins": ["https://good.example"]},
    "channel": {"without_namespace": {"allow_subscribe_for_client": True}},
    "uni_sse": {"enabled": True},
}

#: Lines of a session at info.
_REFUSALS = {
    "request Origin is not authorized",
    "client command error",
    "disconnect after handling command",
    "error reading command",
    "wrong API key",
    "API command error",
    "error decoding API request body",
}
_STEPS = {
    "client connection established",
    "client authenticated",
    "client subscribed to channel",
    "client unsubscribed from channel",
    "client connection completed",
    "http request",
}
_FRAMES = {"<-in--", "-out->"}


class LogCase(SynchronousTestCase):
    """A server, and its log."""

    def serve(self, level: str, **options: Any) -> Server:
        """Start a server that logs at *level*."""
        server = Server({**_OPTIONS, "log": {"level": level}, **options})
        self.addCleanup(server.close)
        return server.start()

    def lines(self, server: Server) -> list[dict[str, Any]]:
        """Return the whole lines so far."""
        whole = server.log().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def wait(self, condition: Callable[[], Any]) -> None:
        """Wait until something is so."""
        end = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), end, "waited in vain")
            time.sleep(0.02)

    def session(self, port: int) -> list[str]:
        """Send permitted and refused commands; return the secrets used."""
        token = connection_token("ada")
        forged = token[:-8] + "AAAAAAAA"
        with self.assertRaises(Refused):
            WebSocket(port, {"Origin": "https://evil.example"})
        client = WebSocket(port)
        client.ask({"id": 1, "connect": {"token": token}})
        client.ask({"id": 2, "subscribe": {"channel": "news"}})
        client.ask({"id": 3, "publish": {"channel": "news", "data": 1}})
        client.ask({"id": 4, "unsubscribe": {"channel": "news"}})
        client.close()
        for first in (
            json.dumps({"id": 1, "connect": {"token": forged}}),
            f'{{"id":1,"connect":{{"token":"{forged}"',
        ):
            client = WebSocket(port)
            client.send_bytes(frame(first.encode()))
            client.closing()
            client.close()
        return [token, token.split(".")[1], forged, API_KEY, "a-wrong-key"]

    def calls(self, server: Server) -> None:
        """Call the API as one should not."""
        good, wrong = {"X-API-Key": API_KEY}, {"X-API-Key": "a-wrong-key"}
        for body, headers in ((b"{}", good), (b"{", good), (b"{}", wrong)):
            server.request("POST", "/api/publish", body, headers)
        server.request("POST", f"/api/info?api_key={API_KEY}", b"{}")
        server.request(
            "POST", "/api/info", b"{}", {"Authorization": "apikey a-wrong-key"}
        )


class LevelTests(LogCase):
    """The same session at different levels."""

    def logged(self, level: str) -> tuple[list[dict[str, Any]], Server]:
        """Return the lines of a session at *level*; there are no secrets in them."""
        server = self.serve(level)
        secrets = self.session(server.port)
        self.calls(server)
        server.stop()
        for secret in secrets:
            self.assertNotIn(secret, server.log())
        return self.lines(server), server

    def test_info(self) -> None:
        """Only refusals are logged, with their fields."""
        lines, _ = self.logged("info")
        found = {line["message"]: line for line in lines}
        self.assertEqual(_REFUSALS - found.keys(), set())
        self.assertEqual((_STEPS | _FRAMES) & found.keys(), set())
        self.assertEqual({line["level"] for line in lines} - {"info", "warn"}, set())
        origin = found["request Origin is not authorized"]
        self.assertEqual(origin["origin"], "https://evil.example")
        self.assertEqual(origin["allowed_origins"], ["https://good.example"])
        error = found["client command error"]
        self.assertEqual(
            {name: error[name] for name in ("user", "method", "channel", "code")},
            {"user": "ada", "method": "publish", "channel": "news", "code": 103},
        )
        refused = found["disconnect after handling command"]
        self.assertEqual((refused["code"], refused["cause"]), (3500, _INVALID))
        self.assertEqual(found["wrong API key"]["addr"], "127.0.0.1")
        chatter = ("Starting factory", "Stopping factory", "Autobahn")
        self.assertFalse([name for name in found if name.startswith(chatter)])

    def test_debug(self) -> None:
        """The steps of the connection are logged as well."""
        lines, _ = self.logged("debug")
        known = {line["message"] for line in lines}
        self.assertEqual((_REFUSALS | _STEPS) - known, set())
        self.assertEqual(_FRAMES & known, set())
        client = next(line["client"] for line in lines if line.get("channel"))
        life = [line["message"] for line in lines if line.get("client") == client]
        self.assertEqual(
            life,
            [
                "client connection established",
                "client authenticated",
                "client subscribed to channel",
                "client command error",
                "client unsubscribed from channel",
                "client connection completed",
            ],
        )
        requests = [line for line in lines if line["message"] == "http request"]
        statuses = Counter(
            line["status"] for line in requests if line["path"] == "/api/publish"
        )
        self.assertEqual(statuses, {200: 1, 400: 1, 401: 1})
        self.assertTrue(all(line["duration"] < 10 for line in requests))

    def test_trace(self) -> None:
        """The messages are logged as well, without tokens."""
        lines, _ = self.logged("trace")
        self.assertEqual(
            (_REFUSALS | _STEPS | _FRAMES) - {line["message"] for line in lines}, set()
        )
        traced = [line for line in lines if line["level"] == "trace"]
        self.assertEqual({line["message"] for line in traced}, _FRAMES)
        first = json.loads(traced[0]["command"])
        self.assertEqual(first, {"id": 1, "connect": {"token": "[REDACTED]"}})
        longest = max(len(str(value)) for line in traced for value in line.values())
        self.assertLessEqual(longest, 513)

    def test_quiet_levels(self) -> None:
        """Above info fewer lines are logged, and at none no lines."""
        for level, expected in (("warn", {"warn"}), ("error", set()), ("none", set())):
            lines, _ = self.logged(level)
            self.assertEqual({line["level"] for line in lines}, expected)

    def test_reload(self) -> None:
        """A reload changes nothing about the log."""
        server = self.serve("debug")
        os.kill(server.pid, signal.SIGHUP)
        self.wait(lambda: "configuration reloaded" in server.log())
        WebSocket(server.port).close()
        self.wait(lambda: "client connection completed" in server.log())

    def test_workers(self) -> None:
        """The lines of all workers come in one log, with their number."""
        server = self.serve("trace", workers=2)
        self.wait(lambda: "2 workers are ready" in server.log())
        secrets = self.session(server.port)
        self.calls(server)
        server.stop()
        lines = self.lines(server)
        told = {line["message"] for line in lines if line.get("worker") in (1, 2)}
        self.assertEqual((_REFUSALS | _STEPS | _FRAMES) - told, set())
        for secret in secrets:
            self.assertNotIn(secret, server.log())


_INVALID = "invalid connection token"


class ConsoleTests(LogCase):
    """On a terminal."""

    def test_trace(self) -> None:
        """Each event is a line with a mark, a message and fields."""
        server = Server({**_OPTIONS, "log": {"level": "trace"}})
        self.addCleanup(server.close)
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            command(server._path("config.json")),
            cwd=server._directory.name,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        self.addCleanup(process.wait, 30)
        self.addCleanup(process.terminate)
        os.close(theirs)
        self.addCleanup(os.close, ours)
        os.set_blocking(ours, False)
        text = ""

        def shown(mark: str) -> bool:
            nonlocal text
            try:
                text += os.read(ours, 65536).decode()
            except OSError:
                self.assertIsNone(process.poll(), text)
            return mark in text

        self.wait(lambda: shown("serving"))
        secrets = self.session(server.port)
        self.wait(lambda: text.count("client connection completed") == 3 or shown("\0"))
        for mark in ("[TRC]", "[DBG]", "[INF]"):
            self.assertIn(mark, text)
        for message in ("<-in--", "client authenticated", "client command error"):
            self.assertIn(f"\x1b[0m {message} ", text)
        for secret in secrets:
            self.assertNotIn(secret, text)


class FloodTests(LogCase):
    """Ten thousand bad requests."""

    MANY = 10_000

    def test_flood(self) -> None:
        """A few lines a second are written, with the number of those left out."""
        server = self.serve("info")
        began = time.monotonic()
        head = "POST /api/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: wrong\r\n"
        asked = f"{head}Content-Length: 2\r\n\r\n{{}}".encode()
        answers = _pipelined(server.port, asked, self.MANY)
        seconds = time.monotonic() - began + 2
        self.assertEqual(answers, self.MANY)

        def counted() -> int:
            lines = [each for each in self.lines(server) if _about_keys(each)]
            return sum(each.get("count", 1) for each in lines)

        self.wait(lambda: counted() == self.MANY)
        lines = [each for each in self.lines(server) if _about_keys(each)]
        self.assertLessEqual(len(lines), 6 * seconds + 6)
        self.assertTrue([each for each in lines if "count" in each])


def _about_keys(line: dict[str, Any]) -> bool:
    return bool(line["message"].endswith("wrong API key"))


def _pipelined(port: int, asked: bytes, many: int) -> int:
    """Send *many* requests on one connection; return how many were refused."""
    refused = 0
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        for _ in range(many // 100):
            connection.sendall(asked * 100)
            data = b""
            while data.count(b"HTTP/1.1 401") < 100 or not data.endswith(b"\r\n\r\n"):
                more = connection.recv(65536)
                if not more:
                    return refused + data.count(b"HTTP/1.1 401")
                data += more
            refused += 100
    return refused
