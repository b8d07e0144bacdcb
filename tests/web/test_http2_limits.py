"""The cost of one HTTP/2 connection is bounded."""

from random import Random
from typing import Any
from unittest import SkipTest

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import Answer
from centrifugo_tx.web.site import Endpoints, HTTPSite

from ..transports.websocket_stream import Stream

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "a")]
#: Frames as in RFC 9113, 6.
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, UPDATE = 0, 1, 2, 3, 4, 6, 8
CALM, NO_ERROR = 11, 0


def frame(kind: int, id: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    """Return a frame, correct or not."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + id.to_bytes(4, "big") + payload


def post(path: str, *headers: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the head of a request with a body."""
    return [(":method", "POST"), (":path", path), *GET[2:], *headers]


class HTTP2TestCase(SynchronousTestCase):
    """A server, and a client that counts the frames."""

    def setUp(self) -> None:
        try:
            from h2.connection import H2Connection as Peer

            from centrifugo_tx.web.http2 import HTTP2Factory
        except ImportError:
            raise SkipTest("h2 is not installed") from None
        self.clock = Clock()
        self.calls: list[bytes] = []
        handlers: Any = {
            b"/": self.answer,
            b"/large": self.answer_large,
            b"/upload": self.answer,
            b"/small": self.answer,
        }
        limits = {b"/upload": 20_000_000, b"/small": 10}
        self.site = HTTPSite(
            self.clock, Endpoints(handlers=handlers, body_limits=limits)
        )
        self.factory = HTTP2Factory(self.site)
        self.new_peer = Peer
        self.connect()

    def connect(self) -> None:
        self.network = Stream()
        self.server: Any = self.factory.buildProtocol(None)
        self.server.makeConnection(self.network)
        self.peer = self.new_peer()
        self.peer.initiate_connection()
        #: Status, and how it ended, by stream.
        self.statuses: dict[int, str] = {}
        self.resets: dict[int, int] = {}
        self.goodbyes: list[int] = []
        self.received: dict[int, int] = {}
        self.settle()

    def tearDown(self) -> None:
        self.network.lose(self.server)

    def answer(self, request: Any) -> Answer:
        self.calls.append(request.content.read())
        return Answer(200, b"ok")

    def answer_large(self, request: Any) -> Answer:
        self.calls.append(b"large")
        return Answer(200, b"x" * 1_000_000)

    def settle(self) -> None:
        """Let both ends talk."""
        for _ in range(1000):
            data = self.peer.data_to_send()
            if data:
                self.server.dataReceived(data)
            self.clock.advance(0)
            came = self.network.take()
            if not came and not data:
                break
            for event in self.peer.receive_data(came):
                self.note(event)

    def note(self, event: Any) -> None:
        name = type(event).__name__
        if name == "ResponseReceived":
            self.statuses[event.stream_id] = event.headers[0][1].decode()
        elif name == "StreamReset":
            self.resets[event.stream_id] = event.error_code
        elif name == "ConnectionTerminated":
            self.goodbyes.append(event.error_code)
        elif name == "DataReceived":
            size = self.received.get(event.stream_id, 0)
            self.received[event.stream_id] = size + len(event.data)

    def send_bytes(self, data: bytes) -> None:
        """Send bytes that the client's library would not."""
        self.server.dataReceived(data)
        self.settle()


class BodyTests(HTTP2TestCase):
    """Bodies of requests."""

    def send(self, id: int, size: int) -> None:
        """Send a part of a body, in frames, as the windows allow."""
        while size and id not in self.resets:
            part = min(16384, size, self.peer.local_flow_control_window(id))
            self.peer.send_data(id, b"x" * part)
            size -= part
            self.settle()

    def test_slow(self) -> None:
        """A body has 30 s, however it drips; the connection stays."""
        self.peer.send_headers(1, post("/"))
        self.settle()
        for _ in range(5):
            self.clock.advance(5)
            self.peer.send_data(1, b"x")
            self.settle()
        self.assertEqual(self.statuses, {})
        self.clock.advance(5)
        self.settle()
        self.assertEqual((self.statuses, self.resets), ({1: "408"}, {1: NO_ERROR}))
        self.assertEqual((self.server.streams, self.server.body_bytes), ({}, 0))
        self.peer.send_headers(3, GET, end_stream=True)
        self.settle()
        self.assertEqual(self.statuses[3], "200")
        self.assertEqual(self.calls, [b""])

    def test_in_time(self) -> None:
        """One that is whole in time is answered, and no clock runs on."""
        self.peer.send_headers(1, post("/"))
        self.clock.advance(20)
        self.peer.send_data(1, b"hello", end_stream=True)
        self.settle()
        self.assertEqual((self.statuses, self.calls), ({1: "200"}, [b"hello"]))
        self.clock.advance(29)
        self.assertEqual(self.resets, {})

    def test_dripping_head(self) -> None:
        """A head that drips does not keep a connection alive."""
        head = frame(HEADERS, 1, b"\x82\x84\x87")
        for byte in head[:7]:
            self.server.dataReceived(bytes([byte]))
            self.clock.advance(5)
        self.assertTrue(self.network.disconnecting)

    def test_announced(self) -> None:
        """One that announces too much is 413 before it comes."""
        self.peer.send_headers(1, post("/", ("content-length", "65537")))
        self.settle()
        self.assertEqual((self.statuses, self.resets), ({1: "413"}, {1: NO_ERROR}))

    def test_gathered(self) -> None:
        """One that becomes too much is 413 then; others have room as before."""
        self.peer.send_headers(1, post("/"))
        self.send(1, 65537)
        self.assertEqual((self.statuses, self.resets), ({1: "413"}, {1: NO_ERROR}))
        self.assertEqual(self.server.body_bytes, 0)
        for id in range(3, 13, 2):
            self.peer.send_headers(id, post("/"))
            self.send(id, 65000)
            self.peer.end_stream(id)
            self.settle()
        self.assertEqual([len(each) for each in self.calls], [65000] * 5)

    def test_whole(self) -> None:
        """So is one that is too much and whole at once."""
        self.peer.send_headers(1, post("/small"))
        self.peer.send_data(1, b"x" * 11, end_stream=True)
        self.settle()
        self.assertEqual((self.statuses, self.server.streams), ({1: "413"}, {}))
        self.peer.send_headers(3, post("/small"))
        self.peer.send_data(3, b"x" * 10, end_stream=True)
        self.settle()
        self.assertEqual(self.statuses, {1: "413", 3: "200"})

    def test_connection(self) -> None:
        """All bodies of a connection together have a bound."""
        ids = (1, 3, 5)
        for id in ids:
            self.peer.send_headers(id, post("/upload"))
        for id in ids:
            self.send(id, 12_000_000)
        self.assertEqual((self.statuses, self.resets), ({5: "503"}, {5: NO_ERROR}))
        self.assertEqual(self.server.body_bytes, 24_000_000)
        for id in (1, 3):
            self.peer.end_stream(id)
        self.settle()
        self.assertEqual(self.statuses, {1: "200", 3: "200", 5: "503"})
        self.assertEqual(self.server.body_bytes, 0)

    def test_unknown_path(self) -> None:
        """The body of a refused request is not awaited."""
        self.peer.send_headers(1, post("/none"))
        self.settle()
        self.assertEqual(self.statuses, {1: "404"})
        self.assertEqual(self.received, {1: len(b"404 page not found\n")})

    def test_reset(self) -> None:
        """One that the client gives up is forgotten."""
        self.peer.send_headers(1, post("/upload"))
        self.send(1, 100_000)
        self.peer.reset_stream(1)
        self.settle()
        self.assertEqual((self.server.body_bytes, self.server.streams), (0, {}))
        self.clock.advance(29)
        self.assertEqual(self.statuses, {})

    def test_odd_heads(self) -> None:
        """Invalid lengths and missing paths are refused."""
        from h2.config import H2Configuration

        config = H2Configuration(
            validate_outbound_headers=False, normalize_outbound_headers=False
        )
        for headers in (
            post("/", ("content-length", "9" * 5000)),
            post("/", ("content-length", "9" * 30)),
            post("/", ("content-length", "-1")),
            post("/", ("content-length", "1_0")),
            post("/", ("content-length", "1"), ("content-length", "x")),
            [(":method", "CONNECT"), (":authority", "a")],
            [(":method", "GET"), (":scheme", "https"), (":authority", "a")],
            post("/", ("cookie", "=;;=\x00")),
            post("/", ("Upper", "a")),
            post("/\r\n", ("transfer-encoding", "chunked")),
        ):
            with self.subTest(headers=headers):
                self.new_peer = lambda: type(self.peer)(config)
                self.connect()
                self.peer.send_headers(1, headers)
                self.settle()
                status = self.statuses.get(1, "")
                self.assertTrue(status in ("400", "404") or self.goodbyes, status)


class FloodTests(HTTP2TestCase):
    """Frames that ask for nothing."""

    def test_floods(self) -> None:
        """Too many of them end the connection, with the proper goodbye."""
        settings = b"\x00\x04\x00\x00\xff\xff"
        for name, flood in (
            ("ping", frame(PING, 0, b"12345678")),
            ("ping answers", frame(PING, 0, b"12345678", 1)),
            ("settings", frame(SETTINGS, 0, settings)),
            ("empty settings", frame(SETTINGS)),
            ("priority", frame(PRIORITY, 1, b"\x00\x00\x00\x00\x10")),
            ("updates", frame(UPDATE, 0, b"\x00\x00\x00\x01")),
            ("unknown", frame(200, 0, b"?")),
        ):
            with self.subTest(flood=name):
                self.connect()
                self.send_bytes(flood * 900)
                self.assertEqual(self.goodbyes, [])
                self.send_bytes(flood * 200)
                self.assertEqual(self.goodbyes, [CALM])
                self.assertTrue(self.network.disconnecting)
                self.send_bytes(flood * 200)  # as TLS delivers until the peer agrees
                self.assertEqual(self.goodbyes, [CALM])

    def test_priorities(self) -> None:
        """Priorities of many streams that do not exist are not kept."""
        for id in range(1, 1800, 2):
            payload = ((id + 2) % 1800).to_bytes(4, "big") + b"\x10"
            self.server.dataReceived(frame(PRIORITY, id, payload))
        self.server.dataReceived(frame(PRIORITY, 3, b"\x80\x00\x00\x01\xff"))
        self.peer.send_headers(1801, GET, end_stream=True)
        self.settle()
        self.assertEqual(self.statuses, {1801: "200"})

    def test_rapid_reset(self) -> None:
        """Requests that are given up at once, over and over (CVE-2023-44487)."""
        self.peer.send_headers(1, GET, end_stream=True)
        self.settle()
        for id in range(3, 4003, 2):
            self.peer.send_headers(id, GET)
            self.peer.reset_stream(id)
        self.settle()
        self.assertEqual(self.goodbyes, [CALM])
        self.assertTrue(self.network.disconnecting)
        self.assertEqual(self.server.streams, {})
        self.assertEqual(self.calls, [b""])

    def test_empty_data(self) -> None:
        """Parts of a body with nothing in them."""
        self.peer.send_headers(1, post("/"))
        self.settle()
        self.send_bytes(frame(DATA, 1) * 1100)
        self.assertEqual(self.goodbyes, [CALM])

    def test_patience(self) -> None:
        """Occasional useless frames are always allowed."""
        for _ in range(200):
            self.send_bytes(frame(PING, 0, b"12345678") * 50)
            self.clock.advance(1)
        self.assertEqual(self.goodbyes, [])

    def test_downloads(self) -> None:
        """A client that makes room for what it reads may do so as often as it needs."""
        self.peer.increment_flow_control_window(2**30)
        for id in range(1, 41, 2):
            self.peer.send_headers(id, [GET[0], (":path", "/large"), *GET[2:]], True)
            self.settle()
            while self.received.get(id, 0) < 1_000_000:
                self.peer.increment_flow_control_window(4096, id)
                self.settle()
        self.assertEqual(self.goodbyes, [])

    def test_dribble(self) -> None:
        """A client that opens its window byte by byte is disconnected."""
        self.peer.send_headers(1, [GET[0], (":path", "/large"), *GET[2:]], True)
        self.settle()
        for _ in range(1100):
            if not self.goodbyes:
                self.send_bytes(frame(UPDATE, 1, b"\x00\x00\x00\x01"))
        self.assertEqual(self.goodbyes, [CALM])

    def test_tables(self) -> None:
        """A client cannot make the server remember more headers than usual."""
        self.send_bytes(frame(SETTINGS, 0, b"\x00\x01\x7f\xff\xff\xff"))
        self.assertLessEqual(self.server.conn.encoder.header_table_size, 4096)


class ShareTests(HTTP2TestCase):
    """The share of one connection in a turn of the reactor."""

    def test_slices(self) -> None:
        """Frames beyond the share of a turn wait, and reading pauses."""
        for id in range(1, 601, 2):
            self.peer.send_headers(id, GET, end_stream=True)
            if id % 100 == 99:  # not more at once than the server allows
                data = self.peer.data_to_send()
                self.server.dataReceived(data)
                self.clock.advance(0)
                for event in self.peer.receive_data(self.network.take()):
                    self.note(event)
        self.settle()
        self.assertEqual(len(self.calls), 300)
        pings = frame(PING, 0, b"12345678")
        self.server.dataReceived(pings * 500)
        self.assertEqual(self.network.take().count(b"12345678"), 128)
        self.server.dataReceived(frame(DATA, 9999, b"x" * 16000) * 5)
        self.assertEqual(self.network.producerState, "paused")

    def test_unread_answers(self) -> None:
        """While the client takes no answers, no more are made than a few MB."""
        large = [GET[0], (":path", "/large"), *GET[2:]]
        for id in range(1, 101, 2):
            self.peer.send_headers(id, large, end_stream=True)
        self.settle()
        self.assertEqual(len(self.calls), 5)
        self.peer.increment_flow_control_window(2**30)
        for id in range(1, 101, 2):
            self.peer.increment_flow_control_window(2_000_000, id)
        self.settle()
        self.assertEqual(len(self.calls), 50)
        self.assertEqual(set(self.received.values()), {1_000_000})


class FuzzTests(HTTP2TestCase):
    """Frames that are almost valid; a logged failure fails the test."""

    def test_frames(self) -> None:
        """Nothing raises, at once or later."""
        random = Random(9113)
        for _ in range(300):
            self.connect()
            peer, id = self.peer, 1
            peer.send_headers(1, post("/upload"))
            pieces = [peer.data_to_send()]
            for _ in range(random.randrange(1, 40)):
                stream = random.choice((0, 1, id, id + 2, id + 1, 99))
                kind = random.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 200))
                size = random.choice((0, 1, 4, 5, 6, 8, 8, 12, 100, 16384, 16385))
                payload = random.choice((b"\0", b"\xff", b"\x82", b"\1")) * size
                flags = random.choice((0, 1, 4, 5, 8, 32, 0xFF))
                what = random.randrange(5)
                if what == 0:
                    id += 2
                    path = random.choice(("/upload", "/small", "/none", "/large"))
                    peer.send_headers(id, random.choice((GET, post(path))))
                    pieces.append(peer.data_to_send())
                elif what == 1 and random.random() < 0.5:
                    pieces.append(frame(DATA, id, payload[:16384], flags & 1))
                elif what == 2:
                    pieces.append(frame(RESET, random.choice((1, id)), b"\0\0\0\x08"))
                elif what == 3:
                    pieces.append(
                        frame(UPDATE, stream, b"\x7f\xff\xff\xff"[: size % 5])
                    )
                else:
                    pieces.append(frame(kind, stream, payload, flags))
            data = bytearray(b"".join(pieces))
            for _ in range(random.randrange(3)):
                data[random.randrange(len(data))] = random.randrange(256)
            cut = random.randrange(len(data))
            for part in (data[:cut], data[cut:]):
                self.server.dataReceived(bytes(part))
                self.clock.advance(0)
                if random.random() < 0.3:
                    self.server.pauseProducing()
                    self.clock.advance(1)
                    self.server.resumeProducing()
            self.clock.advance(100)
            self.network.lose(self.server)
            self.clock.advance(100)
        self.connect()
