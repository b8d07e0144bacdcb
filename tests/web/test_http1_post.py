"""Plain POST requests, answered without ceremony; all others by Twisted Web."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import Answer
from centrifugo_tx.web.http1_post import read_post
from centrifugo_tx.web.site import Endpoints, HTTPSite

PLAIN = b"POST /a?x=1 HTTP/1.1\r\nHost: h\r\nX-Key: k\r\nContent-Length: 2\r\n\r\nhi"


class ReadTests(SynchronousTestCase):
    """Requests that are read here, and those left to Twisted Web."""

    def test_plain(self) -> None:
        """Target, headers, body and size of a whole request."""
        found = read_post(PLAIN + b"POST")
        assert found is not None
        post, path, size = found
        self.assertEqual((post.uri, path, size), (b"/a?x=1", b"/a", len(PLAIN)))
        self.assertEqual((post.getHeader("X-KEY"), post.getHeader(b"no")), (b"k", None))
        self.assertEqual(post.content.read(), b"hi")

    def test_left(self) -> None:
        """Anything that could be read in two ways, or is not whole."""
        for old, new in (
            (b"POST", b"PUT"),
            (b"HTTP/1.1", b"HTTP/1.0"),
            (b"/a?x=1", b"http://h/a"),
            (b"/a?x=1", b"/a b"),
            (b"Host: h\r\n", b""),
            (b"Host: h", b"Host: h\r\nHost: i"),
            (b"X-Key: k", b"Content-Length: 2"),
            (b"Content-Length: 2", b"Content-Length: +2"),
            (b"Content-Length: 2", b"Content-Length: 2, 2"),
            (b"Content-Length: 2", b"Content-Length: 0x2"),
            (b"Content-Length: 2", b"Content-Length: 3"),
            (b"Content-Length: 2", b"Transfer-Encoding: chunked"),
            (b"X-Key: k", b"Transfer-Encoding: chunked"),
            (b"X-Key: k", b"Expect: 100-continue"),
            (b"X-Key: k", b"Connection: close"),
            (b"X-Key: k", b"Upgrade: websocket"),
            (b"X-Key: k", b"X-Key : k"),
            (b"X-Key: k", b" folded"),
            (b"X-Key: k", b"X-Key: a\rb"),
            (b"X-Key: k", b"X-Key: a\nb: c"),
            (b"X-Key: k", b"X-Key: a\0b"),
            (b"\r\n\r\n", b"\n\n"),
            (b"X-Key: k", b"X-Key: " + b"k" * 4000),
        ):
            with self.subTest(new=new):
                self.assertIsNone(read_post(PLAIN.replace(old, new, 1)))


class Wire(StringTransport):
    """A transport that knows the options of sockets."""

    def setTcpNoDelay(self, wanted: bool) -> None:
        """Do nothing."""


class ChannelTests(SynchronousTestCase):
    """The same, through a channel."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.slow: list[Deferred[Answer]] = []
        handlers = {
            b"/echo": self.echo,
            b"/slow": self.wait,
            b"/broken": self.fail_,
            b"/hello": lambda request: Answer(200, b"hello"),
        }
        endpoints = Endpoints(handlers=handlers, body_limits={b"/echo": 100})
        site = HTTPSite(self.clock, endpoints)
        self.channel: Any = site.buildProtocol(None)
        self.wire = Wire()
        self.wire.protocol = self.channel
        self.channel.callLater = self.clock.callLater
        self.channel.makeConnection(self.wire)

    def echo(self, request: Any) -> Answer:
        return Answer(200, request.content.read(), "text/plain")

    def wait(self, request: Any) -> "Deferred[Answer]":
        self.slow.append(Deferred())
        return self.slow[-1]

    def fail_(self, request: Any) -> Answer:
        raise RuntimeError("bug")

    def post(self, path: bytes, body: bytes, more: bytes = b"") -> bytes:
        return b"POST %b HTTP/1.1\r\nHost: h\r\n%bContent-Length: %d\r\n\r\n%b" % (
            *(path, more, len(body), body),
        )

    def bodies(self) -> list[bytes]:
        """Return status and body of each answer so far."""
        data, found = self.wire.value(), []
        while data:
            head, _, data = data.partition(b"\r\n\r\n")
            size = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            found.append(head.split(b" ")[1] + b" " + data[:size])
            data = data[size:]
        self.wire.clear()
        return found

    def test_answered(self) -> None:
        """One request, one answer; several in one segment, in order."""
        self.channel.dataReceived(self.post(b"/echo", b"1"))
        self.assertEqual(self.bodies(), [b"200 1"])
        self.channel.dataReceived(
            b"".join(self.post(b"/echo", b) for b in (b"2", b"3"))
        )
        self.assertEqual(self.bodies(), [b"200 2", b"200 3"])

    def test_in_pieces(self) -> None:
        """A request that arrives byte by byte is answered."""
        for byte in self.post(b"/echo", b"slowly"):
            self.channel.dataReceived(bytes([byte]))
        self.assertEqual(self.bodies(), [b"200 slowly"])
        self.channel.dataReceived(self.post(b"/echo", b"again"))
        self.assertEqual(self.bodies(), [b"200 again"])

    def test_mixed(self) -> None:
        """Plain requests and others share a connection and keep their order."""
        other = b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"
        chunked = (
            b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nhi\r\n0\r\n\r\n"
        )
        plain = self.post(b"/echo", b"1")
        self.channel.dataReceived(plain + other + plain + chunked + plain)
        self.assertEqual(
            self.bodies(), [b"200 1", b"200 hello", b"200 1", b"200 hi", b"200 1"]
        )

    def test_slow_handler(self) -> None:
        """Requests behind a slow one wait for its response."""
        echo, slow = self.post(b"/echo", b"1"), self.post(b"/slow", b"")
        self.channel.dataReceived(echo + slow + echo)
        self.channel.dataReceived(self.post(b"/echo", b"2"))
        self.assertEqual(self.bodies(), [b"200 1"])
        self.slow[0].callback(Answer(200, b"done"))
        self.assertEqual(self.bodies(), [b"200 done", b"200 1", b"200 2"])

    def test_very_slow_handler(self) -> None:
        """The timeout of an idle connection begins when it is answered."""
        self.channel.dataReceived(self.post(b"/slow", b""))
        for _ in range(10):
            self.clock.advance(25)
        self.assertFalse(self.wire.disconnecting)
        self.slow[0].callback(Answer(200, b"done"))
        self.clock.advance(29)
        self.assertFalse(self.wire.disconnecting)
        self.clock.advance(2)
        self.assertTrue(self.wire.disconnecting)
        self.assertEqual(self.bodies(), [b"200 done"])

    def test_gone_meanwhile(self) -> None:
        """An answer for a peer that has gone goes nowhere."""
        self.channel.dataReceived(self.post(b"/slow", b""))
        self.channel.connectionLost(None)
        self.slow[0].callback(Answer(200, b"done"))
        self.assertEqual(self.wire.value(), b"")

    def test_flood_behind_slow(self) -> None:
        """A client that sends too much behind a slow request is not read."""
        self.channel.dataReceived(self.post(b"/slow", b""))
        self.channel.dataReceived(b"x" * 70000)
        self.assertEqual(self.wire.producerState, "paused")

    def test_failures(self) -> None:
        """A handler that fails, at once or later, is answered 500 and logged."""
        self.channel.dataReceived(self.post(b"/broken", b""))
        self.channel.dataReceived(self.post(b"/slow", b""))
        self.slow[0].errback(RuntimeError("bug"))
        self.assertEqual([b[:3] for b in self.bodies()], [b"500", b"500"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_unknown_path(self) -> None:
        """An unknown path is a 404."""
        self.channel.dataReceived(self.post(b"/none", b""))
        self.assertEqual(self.bodies(), [b"404 404 page not found\n"])

    def test_large_body(self) -> None:
        """A body over its path's limit gets 413, however much has arrived."""
        self.channel.dataReceived(self.post(b"/echo", b"x" * 101))
        self.assertIn(b"HTTP/1.1 413", self.wire.value())

    def test_idle(self) -> None:
        """A connection that sends nothing more is closed in the end."""
        self.channel.dataReceived(self.post(b"/echo", b"1"))
        self.clock.advance(31)
        self.assertTrue(self.wire.disconnecting or self.wire.disconnected)
