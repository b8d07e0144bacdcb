"""Small documents over HTTP, from a real server."""

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.error import SchemeNotSupported

from centrifugo_tx.access import fetching
from centrifugo_tx.access.fetching import fetcher

LIMIT = fetching.MAX_SIZE


def answer(status: str, body: bytes, length: int | None = None) -> bytes:
    """Return an answer whose length may be a lie."""
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n\r\n".encode() + body


#: The server's response to each path; it closes the connection after paths that end in
#: "-".
ANSWERS = {
    b"/keys": answer("200 OK", b'{"keys":[]}'),
    b"/until-": b"HTTP/1.1 200 OK\r\n\r\nto the end",
    b"/empty": answer("200 OK", b""),
    b"/largest": answer("200 OK", b"x" * LIMIT),
    b"/missing": answer("404 Not Found", b"no"),
    b"/created": answer("201 Created", b"{}"),
    b"/moved": answer("302 Found\r\nLocation: /keys", b""),
    b"/large": answer("200 OK", b"x" * (LIMIT + 1)),
    b"/endless": answer("200 OK", b"x" * (LIMIT + 1), 10 * LIMIT),
    b"/wrong-endless": answer("500 Oops", b"x", 10 * LIMIT),
    b"/cut-": answer("200 OK", b"half", 8),
    b"/closed-": b"",
    b"/garbage-": b"\x00\x01\x02\r\n\r\n",
    b"/silent": b"",
    b"/slow": answer("200 OK", b"half", 8),
}


class Peer(Protocol):
    """Sends the response in ANSWERS."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.request = b""

    def connectionMade(self) -> None:
        self.server.open.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.request += data
        if b"\r\n\r\n" not in self.request:
            return
        path = self.request.split()[1]
        self.transport.write(ANSWERS[path])  # type: ignore[union-attr]
        if path.endswith(b"-"):
            self.transport.loseConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.server.left(self)


class Server(Factory):
    """Counts its connections."""

    def __init__(self) -> None:
        self.open: list[Peer] = []
        self._empty: list[Deferred[None]] = []

    def buildProtocol(self, addr: Any) -> Peer:
        return Peer(self)

    def left(self, peer: Peer) -> None:
        """Note that a connection has ended."""
        self.open.remove(peer)
        if not self.open:
            waiting, self._empty = self._empty, []
            for each in waiting:
                each.callback(None)

    def empty(self) -> "Deferred[None]":
        """Fire when no connection is open any more."""
        done: Deferred[None] = Deferred()
        if self.open:
            self._empty.append(done)
        else:
            done.callback(None)
        return done


class FetchTests(TestCase):
    """The results of a fetch, after which no connection stays open."""

    timeout = 20

    def setUp(self) -> None:
        self.server = Server()
        listening: Any = reactor
        port = listening.listenTCP(0, self.server, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.base = f"http://127.0.0.1:{port.getHost().port}"
        self.fetch = fetcher(reactor)

    async def test_fetched(self) -> None:
        """The body of a 200 answer arrives, if it is not too large."""
        for path, body in (
            ("keys", b'{"keys":[]}'),
            ("until-", b"to the end"),
            ("empty", b""),
            ("largest", b"x" * LIMIT),
        ):
            self.assertEqual(await self.fetch(f"{self.base}/{path}"), body)
            await self.server.empty()

    async def test_refused(self) -> None:
        """Another status, too much, or too little is a failure."""
        for path in (
            *("missing", "created", "moved", "large", "endless", "wrong-endless"),
            *("cut-", "closed-", "garbage-"),
        ):
            with self.subTest(path=path):
                try:
                    await self.fetch(f"{self.base}/{path}")
                except Exception as error:
                    self.assertNotIsInstance(error, TimeoutError)
                else:
                    self.fail("no failure")
                await self.server.empty()

    async def test_slow(self) -> None:
        """A server that says too little for too long is a failure."""
        self.patch(fetching, "TIMEOUT", 0.2)
        for path in ("silent", "slow"):
            with self.assertRaises(TimeoutError):
                await self.fetch(f"{self.base}/{path}")
            await self.server.empty()

    async def test_nobody(self) -> None:
        """An unreachable server and a malformed URL are failures."""
        with self.assertRaises(ConnectError):
            await self.fetch("http://127.0.0.1:1/keys")
        for url, problem in (
            ("http://id/caf\u00e9", UnicodeError),
            ("gopher://id/", SchemeNotSupported),
        ):
            with self.assertRaises(problem):
                await self.fetch(url)
