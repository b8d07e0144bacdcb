"""Support for tests of streaming responses."""

import json
from typing import Any

from attrs import define
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.metrics import Counter
from centrifugo_tx.options import NodeOptions
from centrifugo_tx.transports.connection_limit import ConnectionLimiter
from centrifugo_tx.transports.origin import OriginRule
from centrifugo_tx.transports.response_stream import StreamFactory
from centrifugo_tx.transports.settings import TransportSettings
from centrifugo_tx.web.request import StreamHandler
from centrifugo_tx.web.site import Endpoints, HTTPSite

from ..support import World
from .websocket_stream import Stream

__all__ = ["CONNECT", "GOOD", "Answered", "StreamTestCase", "chunks", "request"]

CONNECT = b'{"id":1,"connect":{}}'
#: An origin that passes.
GOOD = "http://good.example"


def request(
    method: str, path: str, body: bytes = b"", version: str = "1.1", **headers: str
) -> bytes:
    """Return a request with these headers (``_`` for ``-``)."""
    lines = [f"{n.replace('_', '-')}: {value}\r\n" for n, value in headers.items()]
    head = f"{method} {path} HTTP/{version}\r\nHost: a\r\n{''.join(lines)}"
    if method == "POST" and "Transfer_Encoding" not in headers:
        head += f"Content-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


def chunks(data: bytes) -> list[bytes]:
    """Return the chunks of a body (RFC 9112, 7.1); the last may be empty."""
    found = []
    while data:
        size, _, rest = data.partition(b"\r\n")
        end = int(size, 16)
        assert rest[end : end + 2] == b"\r\n", data
        found.append(rest[:end])
        data = rest[end + 2 :]
    return found


@define
class Answered:
    """The head of a response, and the body so far."""

    status: int
    headers: dict[str, str]
    rest: bytes

    @classmethod
    def of(cls, data: bytes) -> "Answered":
        """Take an answer apart."""
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        assert len(headers) == len(lines), lines
        headers.pop("Date", None)
        return cls(int(first.split(" ")[1]), headers, rest)


class StreamTestCase(SynchronousTestCase):
    """Has a node, and a connection to a site with one endpoint, ``/``."""

    limit = rate = 0
    body_limit = 100

    def setUp(self) -> None:
        self.world = World(NodeOptions(ping_interval=25, pong_timeout=8))
        self.clock, self.node = self.world.clock, self.world.node
        count = lambda: self.node.connections.num_clients  # noqa: E731
        self.streams = StreamFactory(
            TransportSettings(
                self.node,
                ConnectionLimiter(self.clock, count, Counter(), self.limit, self.rate),
                OriginRule([GOOD]),
                queue_max_size=1000,
                kept_headers=frozenset({"x-user"}),
            )
        )
        self.site = HTTPSite(self.clock, Endpoints(streams={b"/": self.handler()}))
        self.connect()

    def handler(self) -> StreamHandler:
        """Return the endpoint."""
        raise AssertionError("a test case says")

    def connect(self) -> None:
        """Open a new connection."""
        self.stream = Stream()
        self.protocol = self.site.buildProtocol(None)
        self.protocol.makeConnection(self.stream)
        self.addCleanup(self.protocol.connectionLost, Failure(ConnectionDone()))

    def ask(self, method: str, *arguments: Any, **headers: str) -> Answered:
        """Send a request; return the messages of this turn and the next."""
        self.protocol.dataReceived(request(method, *arguments, **headers))
        self.clock.advance(0)
        return Answered.of(self.stream.take())

    def take(self) -> list[bytes]:
        """Return the chunks that came since the last look."""
        self.clock.advance(0)
        return chunks(self.stream.take())

    def replies(self, chunk: bytes) -> list[Any]:
        """Return the replies in a chunk, a line each."""
        assert chunk.endswith(b"\n"), chunk
        return [json.loads(line) for line in chunk[:-1].split(b"\n")]
