"""The endpoint of server-sent events: methods, statuses, events."""

import json
from typing import Any
from urllib.parse import quote

from centrifugo_tx.transports.sse import SSE
from centrifugo_tx.web.request import StreamHandler

from .streams import CONNECT, GOOD, StreamTestCase, chunks

URL = f"/?cf_connect={quote(CONNECT)}"


def events(data: bytes) -> list[Any]:
    """Return the messages in some whole events."""
    assert data.endswith(b"\n\n"), data
    found = []
    for event in data[:-2].split(b"\n\n"):
        assert event.startswith(b"data: ") and b"\n" not in event, event
        found.append(json.loads(event[6:]))
    return found


class SSETestCase(StreamTestCase):
    """Has the endpoint."""

    def handler(self) -> StreamHandler:
        return SSE(self.streams, self.body_limit)


class StatusTests(SSETestCase):
    """Which requests open a stream."""

    def test_head(self) -> None:
        """The head has the content type, and forbids caching."""
        found = self.ask("GET", URL, Origin=GOOD)
        self.assertEqual(found.status, 200)
        self.assertEqual(
            found.headers,
            {
                "Access-Control-Allow-Origin": GOOD,
                "Access-Control-Allow-Credentials": "true",
                "Transfer-Encoding": "chunked",
                "Connection": "keep-alive",
                "X-Accel-Buffering": "no",
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": (
                    "private, no-cache, no-store, must-revalidate, max-age=0"
                ),
                "Pragma": "no-cache",
                "Expire": "0",
            },
        )

    def test_no_commands(self) -> None:
        """A GET request without a connect command gets 400."""
        for url in ("/", "/?cf_connect=", "/?connect=x"):
            found = self.ask("GET", url, Origin=GOOD)
            self.assertEqual((found.status, found.rest), (400, b""), url)
            self.assertEqual(found.headers["Access-Control-Allow-Origin"], GOOD)

    def test_methods(self) -> None:
        """Methods but GET and POST get 405, OPTIONS among them."""
        for method in ("OPTIONS", "PUT", "HEAD", "DELETE"):
            found = self.ask(method, URL, Origin=GOOD)
            self.assertEqual(found.status, 405, method)
            self.assertNotIn("Access-Control-Allow-Methods", found.headers)

    def test_body_limit(self) -> None:
        """A body of more bytes than the limit gets 413."""
        body = CONNECT + b" " * (100 - len(CONNECT))
        self.assertEqual(self.ask("POST", "/", body).status, 200)
        self.connect()
        self.assertEqual(self.ask("POST", "/", body + b" ").status, 413)

    def test_full_node(self) -> None:
        """A full node answers 503."""
        self.limit = 1
        self.setUp()
        self.ask("GET", URL)
        self.connect()
        self.assertEqual(self.ask("GET", URL).status, 503)

    def test_rate(self) -> None:
        """So does one to which too many come at once."""
        self.rate = 1
        self.setUp()
        self.ask("GET", URL)
        self.connect()
        self.assertEqual(self.ask("GET", URL).status, 503)
        self.clock.advance(1)
        self.assertEqual(self.ask("GET", URL).status, 200)


class EventTests(SSETestCase):
    """Events of the stream."""

    def test_first_bytes(self) -> None:
        """An empty line comes first, by itself."""
        found = self.ask("GET", URL)
        self.assertEqual(chunks(found.rest)[0], b"\r\n")

    def test_connect(self) -> None:
        """Each reply is one event; the commands are in the URL or in the body."""
        commands = CONNECT + b'\n{"id":2,"rpc":{}}'
        for asked in (
            ("GET", f"/?cf_connect={quote(commands)}"),
            ("POST", "/", commands),
        ):
            found = self.ask(*asked)
            _, body = chunks(found.rest)
            connect, rpc = events(body)
            client = list(self.node.connections.open)[-1]
            self.assertEqual(connect["id"], 1)
            self.assertEqual(connect["connect"]["session"], client.session)
            self.assertEqual(connect["connect"]["node"], self.node.id)
            self.assertEqual(rpc["id"], 2)
            self.assertEqual(client.transport.info.name, "sse")
            self.assertTrue(client.transport.info.emulated)
            self.connect()

    def test_ping(self) -> None:
        """A ping is an event with an empty message."""
        self.ask("GET", URL)
        self.clock.advance(25)
        self.assertEqual(self.take(), [b"data: {}\n\n"])

    def test_malformed(self) -> None:
        """A malformed command gets a disconnect push, which ends the stream."""
        found = self.ask("GET", "/?cf_connect=nonsense")
        self.assertEqual(found.status, 200)
        first, push, end = chunks(found.rest)
        self.assertEqual(
            events(push),
            [{"push": {"disconnect": {"code": 3501, "reason": "bad request"}}}],
        )
        self.assertEqual((first, end), (b"\r\n", b""))

    def test_carriage_return(self) -> None:
        """A payload with a line's end of its own does not end the event."""
        self.ask("POST", "/", CONNECT + b'\n{"id":2,"subscribe":{"channel":"c"}}')
        self.node.publish("c", b'{\r\n"a":\r1}')
        (chunk,) = self.take()
        self.assertNotIn(b"\r", chunk)
        (push,) = events(chunk)
        self.assertEqual(push["push"]["pub"]["data"], {"a": 1})
