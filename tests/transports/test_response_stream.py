"""A client's frames in the body of a response."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

from zope.interface.verify import verifyObject

from centrifugo_tx.interfaces import ITransport
from centrifugo_tx.options import TransportInfo
from centrifugo_tx.protocol.codes import (
    CONNECTION_CLOSED,
    FORCE_DISCONNECT,
    SHUTDOWN,
    SLOW,
)
from centrifugo_tx.protocol.wire import http_stream_json
from centrifugo_tx.transports.response_stream import StreamTransport
from centrifugo_tx.web.request import StreamHandler

from .streams import CONNECT, Answered, StreamTestCase, chunks, request

INFO = TransportInfo(name="http_stream", emulated=True)


class StreamingTestCase(StreamTestCase):
    """Opens a stream for every request."""

    def handler(self) -> StreamHandler:
        def opened(asked: Any) -> None:
            wire = http_stream_json()
            headers = ((b"X-More", b"yes"),)
            self.client = self.streams.open(asked, wire, INFO, headers, b"hi\n")

        return opened

    @property
    def transport(self) -> StreamTransport:
        """Return the client's transport."""
        transport = self.client.transport
        assert isinstance(transport, StreamTransport)
        return transport

    def begin(self, **headers: str) -> Answered:
        """Open a stream; return how it begins."""
        return self.ask("POST", "/", b"", **headers)

    def lose(self) -> None:
        """Let the connection go away, as it does after an abort."""
        self.protocol.stopProducing()  # a real one says so first
        self.stream.lose(self.protocol)


class HeadTests(StreamingTestCase):
    """How a response begins."""

    def test_head(self) -> None:
        """The head comes at once, with the first bytes as one chunk."""
        self.protocol.dataReceived(request("POST", "/"))
        found = Answered.of(self.stream.take())
        self.assertEqual(found.status, 200)
        self.assertEqual(
            found.headers,
            {
                "Transfer-Encoding": "chunked",
                "Connection": "keep-alive",
                "X-Accel-Buffering": "no",
                "Cache-Control": (
                    "private, no-cache, no-store, must-revalidate, max-age=0"
                ),
                "Pragma": "no-cache",
                "Expire": "0",
                "X-More": "yes",
            },
        )
        self.assertEqual(chunks(found.rest), [b"hi\n"])
        verifyObject(ITransport, self.transport)
        self.assertEqual(self.transport.peer_address, "192.168.1.1")
        self.client.close(FORCE_DISCONNECT)
        self.assertEqual(self.transport.peer_address, "")

    def test_old_client(self) -> None:
        """To HTTP/1.0 the body goes as it is, and ends with the connection."""
        found = self.begin(version="1.0")
        self.assertNotIn("Transfer-Encoding", found.headers)
        self.assertNotIn("Connection", found.headers)
        self.assertEqual(found.rest, b"hi\n")
        self.transport.write(b"{}\n")
        self.clock.advance(0)
        self.assertEqual(self.stream.take(), b"{}\n")
        self.client.close(FORCE_DISCONNECT)
        self.assertIn(b'"code":3503', self.stream.take())
        self.assertTrue(self.stream.disconnecting)

    def test_close_wanted(self) -> None:
        """A client that asks for ``Connection: close`` gets the same header back."""
        found = self.begin(Connection="close")
        self.assertEqual(found.headers["Connection"], "close")
        self.client.close(FORCE_DISCONNECT)
        self.assertTrue(self.stream.disconnecting)

    def test_origin(self) -> None:
        """A page whose origin passes may read the stream, others may not."""
        found = self.begin(Origin="http://good.example")
        self.assertEqual(
            found.headers["Access-Control-Allow-Origin"], "http://good.example"
        )
        self.connect()
        found = self.begin(Origin="http://bad.example")
        self.assertEqual(found.status, 200)
        self.assertNotIn("Access-Control-Allow-Origin", found.headers)

    def test_slim(self) -> None:
        """Objects that only the start of a response needs are freed."""
        self.begin(Cookie="a=b")
        (asked,) = self.protocol.requests
        self.assertIsNone(asked.content)
        self.assertIsNone(asked.args)
        for headers in (asked.requestHeaders, asked.responseHeaders):
            self.assertEqual(list(headers.getAllRawHeaders()), [])
        self.assertEqual(asked.received_cookies, {})

    def test_no_timeout(self) -> None:
        """The time for a request does not run while it is answered."""
        self.begin()
        self.client.receive(CONNECT)
        pings = 0
        for _ in range(100):
            self.clock.advance(1)
            if self.take()[-1:] == [b"{}\n"]:
                pings += 1
                self.client.receive(b"{}")
        self.assertIn(pings, (3, 4))
        self.assertFalse(self.stream.disconnecting or self.stream.aborted)


class BodyTests(StreamingTestCase):
    """Behavior of an open stream."""

    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def test_one_chunk(self) -> None:
        """Frames of one turn make one chunk."""
        self.transport.write(b"one\n")
        self.transport.write(b"two\n")
        self.assertEqual(self.stream.take(), b"")
        self.assertEqual(self.take(), [b"one\ntwo\n"])

    def test_slow(self) -> None:
        """Frames wait while the connection is full, and leave together."""
        self.protocol.pauseProducing()
        self.transport.write(b"one\n")
        self.transport.write(b"two\n")
        self.assertEqual(self.take(), [])
        self.protocol.resumeProducing()
        self.assertEqual(self.take(), [b"one\ntwo\n"])

    def test_too_slow(self) -> None:
        """More than the limit drops the client with 3008, without a word."""
        self.protocol.pauseProducing()
        self.transport.write(b"x" * 1000)
        self.assertFalse(self.client.closed)
        self.transport.write(b"x")
        self.assertTrue(self.client.closed)
        self.assertTrue(self.stream.aborted)
        self.assertEqual(self.stream.take(), b"")
        self.lose()
        self.assertNotIn(self.client, self.node.connections.open)

    def test_stuck(self) -> None:
        """A peer that takes nothing for a second is dropped."""
        self.protocol.pauseProducing()
        self.clock.advance(0.9)
        self.assertFalse(self.client.closed)
        self.clock.advance(0.2)
        self.assertTrue(self.client.closed)
        self.assertTrue(self.stream.aborted)

    def test_gone(self) -> None:
        """A peer that goes takes its client with it."""
        self.lose()
        self.assertTrue(self.client.closed)
        self.assertNotIn(self.client, self.node.connections.open)
        self.transport.write(b"late\n")
        self.assertEqual(self.stream.take(), b"")

    def test_more_requests(self) -> None:
        """Requests sent during a stream wait for its end."""
        self.protocol.dataReceived(request("POST", "/"))
        first = self.client
        first.close(FORCE_DISCONNECT)
        self.assertIsNot(self.client, first)
        self.assertIn(b"HTTP/1.1 200 OK", self.stream.take())


class CloseTests(StreamingTestCase):
    """How it ends."""

    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def test_push(self) -> None:
        """Waiting frames are sent, then the reason, and then the body ends."""
        self.transport.write(b"one\n")
        self.client.close(FORCE_DISCONNECT)
        push = b'{"push":{"disconnect":{"code":3503,"reason":"force disconnect"}}}\n'
        self.assertEqual(self.take(), [b"one\n" + push, b""])
        self.assertFalse(self.stream.disconnecting)
        self.assertNotIn(self.client, self.node.connections.open)
        self.assertEqual(self.begin().status, 200)

    def test_unheard(self) -> None:
        """3000 and 3008 drop the connection and its queue."""
        for disconnect in (CONNECTION_CLOSED, SLOW):
            self.transport.write(b"one\n")
            self.client.close(disconnect)
            self.clock.advance(0)
            self.assertEqual(self.stream.take(), b"")
            self.assertTrue(self.stream.aborted)
            self.lose()
            self.assertNotIn(self.client, self.node.connections.open)
            self.connect()
            self.begin()

    def test_while_slow(self) -> None:
        """A client with a full connection receives the disconnect push, too."""
        self.protocol.pauseProducing()
        self.transport.write(b"one\n")
        self.client.close(FORCE_DISCONNECT)
        (chunk, end) = self.take()
        self.assertTrue(chunk.startswith(b'one\n{"push":{"disconnect":'))
        self.assertEqual(end, b"")

    def test_never_reads(self) -> None:
        """A connection that ends waits 15 s for a peer that takes nothing."""
        self.connect()
        self.begin(version="1.0")
        self.client.close(FORCE_DISCONNECT)
        self.assertTrue(self.stream.disconnecting)
        self.clock.advance(14)
        self.stream.drained = 5
        self.clock.advance(1)
        self.assertFalse(self.stream.aborted)
        self.clock.advance(15)
        self.assertTrue(self.stream.aborted)

    def test_shutdown(self) -> None:
        """A stopping node disconnects its clients, and those that connect too late."""
        stopped = self.node.stop()
        self.assertIn(b'"code":3001', self.stream.take())
        self.successResultOf(stopped)
        self.connect()
        found = self.begin()
        self.assertEqual(found.status, 200)
        self.assertIn(b'"code":3001', found.rest)
        self.assertTrue(found.rest.endswith(b"0\r\n\r\n"))
        self.assertEqual(list(self.node.connections.open), [])

    def test_shutdown_code(self) -> None:
        """The reason of a stopping node is "shutdown"."""
        self.client.close(SHUTDOWN)
        self.assertIn(b'"code":3001,"reason":"shutdown"', self.stream.take())

    def test_nothing_left(self) -> None:
        """Nothing keeps a client whose response is over, nor the response."""
        ends: tuple[Callable[[], None], ...] = (
            self.lose,
            lambda: self.client.close(FORCE_DISCONNECT),
        )
        for end in ends:
            self.connect()
            self.begin()
            left: list[Any] = [weakref.ref(self.client), weakref.ref(self.transport)]
            left.append(weakref.ref(self.protocol.requests[0]))
            gc.collect()
            gc.disable()
            try:
                end()
                self.clock.advance(0)
                del self.client
                self.assertEqual([each() for each in left], [None] * 3)
            finally:
                gc.enable()


class BusyTests(StreamingTestCase):
    """The Deferred for which other requests wait."""

    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def test_resume(self) -> None:
        """They wait from `pause` to `resume`."""
        self.assertIsNone(self.transport.busy)
        self.transport.pause()
        busy = self.transport.busy
        assert busy is not None
        self.transport.pause()
        self.assertIs(self.transport.busy, busy)
        self.assertNoResult(busy)
        self.transport.resume()
        self.successResultOf(busy)
        self.assertIsNone(self.transport.busy)

    def test_end(self) -> None:
        """The end of the response lets them go, too."""
        self.transport.pause()
        busy = self.transport.busy
        assert busy is not None
        self.client.close(FORCE_DISCONNECT)
        self.successResultOf(busy)
        self.transport.pause()
        self.assertIsNone(self.transport.busy)
