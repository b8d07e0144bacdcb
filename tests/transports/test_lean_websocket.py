"""Autobahn made small: the same behavior, and less of it that stays."""

import gc
import weakref
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.transports.lazy_attributes import TRANSIENT
from centrifugo_tx.transports.lean_websocket import (
    LINGER,
    LeanWebSocketFactory,
    LeanWebSocketProtocol,
)

from ..integration.websocket import frame
from .websocket_stream import HANDSHAKE, Stream, handshake

CLOSE_1000 = frame(b"\x03\xe8", 0x88)

#: All that this version of Autobahn keeps on a connection, beyond its options and
#: what `TRANSIENT` names.  A name that is new here has to be thought about: is it
#: needed between messages, or can it be forgotten?
KNOWN = """
    _greeted _perMessageCompress _results _valid_events autoPingPending
    autoPingPendingCall autoPingPendingSent autoPingPendingSeq autoPingTimeoutCall
    closeHandshakeTimeoutCall closedByMe current_frame data droppedByMe failedByMe
    inside_message is_closed localCloseCode localCloseReason logFrames logOctets
    remoteCloseCode remoteCloseReason send_queue send_state state trackTimings
    trackedTimings trafficStats transport triggered wasClean wasCloseHandshakeTimeout
    wasMaxFramePayloadSizeExceeded wasMaxMessagePayloadSizeExceeded wasNotCleanReason
    wasOpenHandshakeTimeout wasServerConnectionDropTimeout
    wasServingFlashSocketPolicyFile websocket_extensions_in_use
    websocket_protocol_in_use websocket_version _parent _listeners
"""


class Recorder:
    """Writes down what happens."""

    events: list[Any]

    def onOpen(self) -> None:
        self.factory.events.append("open")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.factory.events.append((payload, isBinary))

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.factory.events.append(("close", code))

    factory: Any


class Lean(Recorder, LeanWebSocketProtocol):
    """The protocol under test."""

    def check_request(self, request: Any) -> Any:
        """Do as the factory says."""
        answer = self.factory.greeting
        if isinstance(answer, Exception):
            raise answer
        return answer


class Stock(Recorder, WebSocketServerProtocol):  # type: ignore[misc]  # untyped
    """Autobahn's own protocol, for comparison."""


def _configured(factory: Any, protocol: type, limit: int = 65536) -> Any:
    factory.protocol = protocol
    factory.events = []
    factory.greeting = None
    factory.setProtocolOptions(
        failByDrop=False,
        openHandshakeTimeout=0,
        closeHandshakeTimeout=5,
        maxMessagePayloadSize=limit,
        maxFramePayloadSize=limit,
    )
    return factory


class LeanTestCase(SynchronousTestCase):
    """Has a connection."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = _configured(LeanWebSocketFactory(self.clock), Lean)
        self.events = self.factory.events
        self.protocol, self.stream = self.connect()

    def connect(self) -> tuple[Any, Stream]:
        """Return a new connection."""
        protocol, stream = self.factory.buildProtocol(None), Stream()
        protocol.makeConnection(stream)
        return protocol, stream

    def opened(self) -> None:
        """Shake hands."""
        self.protocol.dataReceived(HANDSHAKE)
        self.assertIn(b" 101 ", self.stream.take())
        self.events.clear()

    def receive(self, *pieces: bytes) -> list[Any]:
        """Let these come; return what happened."""
        for piece in pieces:
            self.protocol.dataReceived(piece)
        events = self.events[:]
        self.events.clear()
        return events


class HandshakeTests(LeanTestCase):
    """How a connection opens, or does not."""

    def test_in_pieces(self) -> None:
        """A head may come byte by byte, with a frame behind it."""
        data = HANDSHAKE + frame(b"a")
        got = self.receive(*(bytes((byte,)) for byte in data))
        self.assertEqual(got, ["open", (b"a", False)])

    def test_with_frames(self) -> None:
        """Frames in the same segment as the head are not lost."""
        got = self.receive(HANDSHAKE + frame(b"a") + frame(b"b"))
        self.assertEqual(got, ["open", (b"a", False), (b"b", False)])

    def test_refused(self) -> None:
        """A request that `check_request` refuses gets its status, and is closed."""
        self.factory.greeting = ConnectionDeny(403, "no")
        self.receive(HANDSHAKE)
        answer = self.stream.take()
        self.assertTrue(answer.startswith(b"HTTP/1.1 403 Forbidden\r\n"), answer)
        self.assertTrue(answer.endswith(b"\r\n\r\nno\n"), answer)
        self.assertTrue(self.stream.disconnecting)
        self.stream.lose(self.protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_error(self) -> None:
        """An unexpected error of `check_request` is logged once; the answer is 500."""
        self.factory.greeting = ZeroDivisionError()
        self.receive(HANDSHAKE)
        self.assertIn(b" 500 Internal Server Error\r\n", self.stream.take())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_not_a_websocket(self) -> None:
        """A request without an upgrade gets 426."""
        self.receive(HANDSHAKE.replace(b"Upgrade: websocket\r\n", b""))
        self.assertIn(b" 426 Upgrade Required\r\n", self.stream.take())

    def test_waiting(self) -> None:
        """Frames that arrive while `check_request` waits are read after it."""
        self.factory.greeting = waiting = Deferred[None]()
        self.assertEqual(self.receive(HANDSHAKE, HANDSHAKE[:0], frame(b"a")), [])
        waiting.callback(None)
        self.assertEqual(self.receive(), ["open", (b"a", False)])
        self.assertEqual(self.stream.take().count(b" 101 "), 1)

    def test_second_head(self) -> None:
        """A second head meanwhile is not answered with a second 101."""
        self.factory.greeting = waiting = Deferred[None]()
        self.receive(HANDSHAKE, HANDSHAKE)
        waiting.callback(None)
        self.assertEqual(self.stream.take().count(b" 101 "), 1)
        self.assertEqual(self.events[0], "open")

    def test_impatient(self) -> None:
        """Too much of it ends the connection."""
        self.factory.greeting = Deferred[None]()
        self.receive(HANDSHAKE, b"x" * 70000)
        self.assertTrue(self.stream.aborted)

    def test_ghost(self) -> None:
        """A peer that leaves while `check_request` waits never opens."""
        self.factory.greeting = waiting = Deferred[None]()
        self.receive(HANDSHAKE)
        self.stream.lose(self.protocol)
        waiting.callback(None)
        self.assertEqual(self.events, [("close", 1006)])

    def test_states(self) -> None:
        """The Deferreds of both states fire, whether accessed early or late."""
        early = self.protocol.is_open
        closed = self.protocol.is_closed
        self.opened()
        self.assertIsNone(self.successResultOf(early))
        self.assertIsNone(self.successResultOf(self.protocol.is_open))
        self.assertNoResult(closed)
        self.stream.lose(self.protocol)
        self.assertIs(self.successResultOf(closed), self.protocol)
        self.assertIs(self.successResultOf(self.protocol.is_closed), self.protocol)


class SettlingTests(LeanTestCase):
    """Between messages a connection keeps next to nothing."""

    def instance_names(self) -> set[str]:
        """Return the names that stand on the instance."""
        return set(vars(self.protocol))

    def test_open(self) -> None:
        """After the handshake, and after any kind of frame, two names remain."""
        self.opened()
        self.assertEqual(self.instance_names(), {"transport", "state"})
        self.receive(frame(b"a"), frame("ä".encode()), frame(b"x" * 5000))
        self.receive(frame(b"a", 1), frame(b"", 0x89), frame(b"b", 0x80))
        self.assertEqual(self.instance_names(), {"transport", "state"})

    def test_after_settling(self) -> None:
        """Fragments, pings and closes are read as before."""
        self.opened()
        text = "aä€b".encode()
        self.assertEqual(self.receive(frame(text[:2], 1), frame(b"p", 0x89)), [])
        self.assertEqual(self.stream.take(), b"\x8a\x01p")
        self.assertEqual(self.receive(frame(text[2:4], 0)), [])
        self.assertEqual(self.receive(frame(text[4:], 0x80)), [(text, False)])
        self.receive(CLOSE_1000)
        self.assertEqual(self.stream.take()[:1], b"\x88")
        self.assertTrue(self.stream.disconnecting)

    def test_interleaved(self) -> None:
        """Half a character on one connection does not matter to another."""
        self.opened()
        first = self.protocol
        euro = "€".encode()
        self.receive(frame(euro[:2], 1))
        self.protocol, self.stream = self.connect()
        self.opened()
        self.assertEqual(
            self.receive(frame(b"x", 1), frame(b"y", 0x80)), [(b"xy", False)]
        )
        self.protocol = first
        self.assertEqual(self.receive(frame(euro[2:], 0x80)), [("€".encode(), False)])

    def test_names(self) -> None:
        """This version of Autobahn has only the attributes that are handled."""
        factory = _configured(WebSocketServerFactory(reactor=Clock()), Stock)
        protocol, stream = factory.buildProtocol(None), Stream()
        protocol.makeConnection(stream)
        names = set(vars(protocol))
        head = handshake(Origin="http://a", Sec_WebSocket_Protocol="a")
        frames = [frame(b"ab", 1), frame(b"", 0x89), frame(b"c", 0x80), frame(b"d")]
        for data in (head, *frames, CLOSE_1000):
            for byte in data:
                protocol.dataReceived(bytes((byte,)))
                names |= set(vars(protocol))
        stream.lose(protocol)
        names |= set(vars(protocol))
        known = {*KNOWN.split(), *TRANSIENT, *protocol.CONFIG_ATTRS, "connected"}
        self.assertEqual(names - known, set())
        own = {"message_wire_size", "openHandshakeTimeoutCall", "maxMessagePayloadSize"}
        own |= {"message_inflated_size"}
        self.assertEqual(TRANSIENT - names - own, set())

    def test_no_cycles(self) -> None:
        """A closed connection is freed without the garbage collector."""
        self.opened()
        self.receive(frame(b"a", 1), frame(b"b", 0x80), CLOSE_1000)
        gc.collect()
        gc.disable()
        try:
            self.stream.lose(self.protocol)
            ghost = weakref.ref(self.protocol)
            self.protocol = None
            self.assertIsNone(ghost())
        finally:
            gc.enable()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FrameTests(LeanTestCase):
    """The quick way is the same as Autobahn's own."""

    def test_sizes(self) -> None:
        """Whole frames of any size, text or binary, are messages."""
        self.opened()
        for size in (0, 1, 2, 3, 4, 125, 126, 127, 4095, 4096, 4097, 65535, 65536):
            payload = bytes(i % 128 for i in range(size))
            for binary in (False, True):
                got = self.receive(frame(payload, 0x82 if binary else 0x81))
                self.assertEqual(got, [(payload, binary)], size)

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x8A, 0xC1, 0x83]),
                st.one_of(
                    st.binary(max_size=8),
                    st.sampled_from([b"x" * 126, b"x" * 5000, "ä€".encode()]),
                ),
                st.booleans(),
            ),
            max_size=6,
        ),
        st.lists(st.integers(1, 20), max_size=8),
    )
    def test_like_autobahn(
        self, frames: list[tuple[int, bytes, bool]], cuts: list[int]
    ) -> None:
        """Any frames, cut anywhere, have the same effect as with Autobahn's class."""
        data = b"".join(frame(p, first, masked or True) for first, p, masked in frames)
        pieces = [HANDSHAKE]
        for cut in cuts:
            pieces.append(data[:cut])
            data = data[cut:]
        pieces.append(data)
        seen = []
        for factory, protocol in (
            (LeanWebSocketFactory(Clock()), Lean),
            (WebSocketServerFactory(reactor=Clock()), Stock),
        ):
            made = _configured(factory, protocol)
            made.server = ""
            made.__dict__["_batched_timer"] = LeanWebSocketFactory(
                Clock()
            )._batched_timer
            connection, stream = made.buildProtocol(None), Stream()
            connection.makeConnection(stream)
            for piece in pieces:
                if piece:
                    connection.dataReceived(piece)
            seen.append((made.events, stream.value()))
        self.assertEqual(seen[0], seen[1])


class HaltTests(LeanTestCase):
    """Messages that were received already wait while the protocol is halted."""

    def setUp(self) -> None:
        super().setUp()
        self.opened()
        self.take = self.protocol.onMessage
        self.limit = 2
        self.protocol.onMessage = self.halting

    def halting(self, payload: bytes, isBinary: bool) -> None:
        """Take a message, and at each second one want no more."""
        self.take(payload, isBinary)
        if len(self.messages()) % self.limit == 0:
            self.protocol.pause_reading()

    def messages(self) -> list[bytes]:
        """Return the received messages."""
        return [each[0] for each in self.factory.events if isinstance(each, tuple)]

    def check(self, frames: list[bytes], expected: list[bytes]) -> None:
        stream = self.protocol.transport
        self.protocol.dataReceived(b"".join(frames))
        for drained in range(2, len(expected) + 1, 2):
            self.assertEqual(self.messages(), expected[:drained])
            self.assertEqual(stream.producerState, "paused")
            self.protocol.resume_reading()
            self.assertEqual(stream.producerState, "producing")
            self.clock.advance(0)
        self.assertEqual(self.messages(), expected)

    def test_short(self) -> None:
        """Short frames wait."""
        texts = [b"%d" % number for number in range(7)]
        self.check([frame(text) for text in texts], texts)

    def test_long(self) -> None:
        """So do those that Autobahn reads."""
        texts = [b"%d" % number * 5000 for number in range(7)]
        self.check([frame(text) for text in texts], texts)

    def test_more(self) -> None:
        """Data that arrives while reading is paused waits in order."""
        self.protocol.dataReceived(frame(b"1") + frame(b"2") + frame(b"3"))
        self.protocol.dataReceived(frame(b"4"))
        self.assertEqual(self.messages(), [b"1", b"2"])
        self.protocol.resume_reading()
        self.clock.advance(0)
        self.assertEqual(self.messages(), [b"1", b"2", b"3", b"4"])

    def test_gone(self) -> None:
        """Nothing happens any more if the connection has gone meanwhile."""
        self.protocol.dataReceived(frame(b"1") + frame(b"2") + frame(b"3"))
        self.protocol.resume_reading()
        self.protocol.transport.lose(self.protocol)
        self.clock.advance(0)
        self.assertEqual(self.messages()[:2], [b"1", b"2"])
        self.assertNotIn(b"3", self.messages())


class RefusalTests(LeanTestCase):
    """Messages that are not wanted."""

    def refused(self, *pieces: bytes) -> int:
        """Return the code with which these are refused; nothing else happens."""
        self.assertEqual(self.receive(*pieces), [])
        answer = self.stream.take()
        self.assertEqual(answer[0], 0x88)
        self.answer = answer[4:]
        return int.from_bytes(answer[2:4], "big")

    def test_too_big(self) -> None:
        """Over the limit, in one frame or in several: 1009 without a reason."""
        half = b"x" * 32768
        for pieces in (
            [frame(b"x" * 65537)],
            [frame(half, 1), frame(half, 0), frame(b"x", 0x80)],
            [frame(b"", 1)] + [frame(half, 0)] * 2 + [frame(b"", 0x80)],
            [frame(b"x", 1) + frame(b"", 0) * 65537],
            [b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"mask"],
        ):
            self.protocol, self.stream = self.connect()
            self.opened()
            self.assertEqual((self.refused(*pieces), self.answer), (1009, b""))

    def test_answered(self) -> None:
        """The rest is skipped until the peer's close frame, which ends our side."""
        self.opened()
        self.assertEqual(self.refused(frame(b"x" * 70000), frame(b"late")), 1009)
        self.receive(CLOSE_1000)
        self.assertTrue(self.stream.disconnecting)
        self.assertFalse(self.stream.aborted)
        self.stream.lose(self.protocol)
        self.assertEqual(self.events, [("close", 1000)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_open_end(self) -> None:
        """A peer that never closes its side is dropped, whatever it sends.

        Reading continues even if it was paused, and data is discarded.
        """
        self.opened()
        self.refused(frame(b"\xff"))
        self.stream.pauseProducing()
        self.receive(CLOSE_1000)
        self.assertEqual(self.stream.producerState, "producing")
        for _ in range(49):
            self.assertEqual(self.receive(b"x" * 10000), [])
            self.clock.advance(LINGER / 50)
        self.assertLess(len(self.protocol.data), 10000)
        self.assertFalse(self.stream.aborted)
        self.clock.advance(LINGER / 49)
        self.assertTrue(self.stream.aborted)

    def test_violation_after_close(self) -> None:
        """A peer that breaks the rules instead of answering is dropped, too."""
        self.opened()
        self.refused(frame(b"\xff"))
        self.receive(frame(b"\xff", 0x8F))
        self.assertTrue(self.stream.disconnecting)
        self.clock.advance(LINGER)
        self.assertTrue(self.stream.aborted)

    def test_unanswered(self) -> None:
        """A peer that does not answer is dropped after the timeout."""
        self.opened()
        self.refused(frame(b"\xff"))
        self.clock.advance(4.9)
        self.assertFalse(self.stream.aborted)
        self.clock.advance(0.1)
        self.assertTrue(self.stream.aborted)

    def test_unread(self) -> None:
        """A peer that closes, but does not read the answer, is dropped too."""
        self.opened()
        self.receive(CLOSE_1000)
        self.assertTrue(self.stream.disconnecting)
        self.clock.advance(LINGER)
        self.assertTrue(self.stream.aborted)

    def test_gone(self) -> None:
        """When the peer just goes, no timer stays."""
        self.opened()
        self.refused(frame(b"\xff"))
        self.stream.lose(self.protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])
