"""Requests that one connection sends without waiting for answers."""

from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import Answer
from centrifugo_tx.web.site import Endpoints, HTTPSite

from ..transports.websocket_stream import Stream

GET = b"GET /count HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /count HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"


class PipeliningTestCase(SynchronousTestCase):
    """Connections to a site whose handlers count their calls."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.calls = 0
        self.slow: list[Deferred[Answer]] = []
        handlers: Any = {
            b"/count": self.count,
            b"/known": lambda request: succeed(self.count(request)),
            b"/large": lambda request: Answer(200, b"x" * 200_000),
            b"/costly": self.cost,
            b"/slow": self.wait,
        }
        limits = {b"/count": 1000}
        self.site = HTTPSite(
            self.clock, Endpoints(handlers=handlers, body_limits=limits)
        )
        self.channel, self.wire = self.connect()

    def connect(self) -> tuple[Any, Stream]:
        channel, wire = self.site.buildProtocol(None), Stream()
        wire.protocol = channel
        channel.callLater = self.clock.callLater
        channel.makeConnection(wire)
        return channel, wire

    def count(self, request: Any) -> Answer:
        self.calls += 1
        return Answer(200, b"%d;" % self.calls)

    def cost(self, request: Any) -> Answer:
        self.calls += 1
        self.clock.rightNow += 0.003
        return Answer(200, b"")

    def wait(self, request: Any) -> "Deferred[Answer]":
        self.slow.append(Deferred())
        return self.slow[-1]

    def assertOneShare(self) -> None:
        """Check that one connection was served in one turn, and then made wait."""
        self.assertTrue(32 < self.calls <= 64, self.calls)

    def turn(self) -> bool:
        """Let the reactor turn once; return whether there was anything to do."""
        now, calls = self.clock.seconds(), self.clock.calls
        due: list[Any] = [call for call in calls if call.getTime() <= now]
        for call in due:
            calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)
        return bool(due)

    def turns(self) -> int:
        """Let the reactor turn until nothing is left to do; return how often."""
        count = 0
        while self.turn():
            count += 1
        return count


class ShareTests(PipeliningTestCase):
    """The share of one connection in a turn of the reactor."""

    def test_many(self) -> None:
        """Requests beyond the share of a turn wait; reading pauses; order stays."""
        for request in (GET, POST):
            with self.subTest(request=request):
                self.setUp()
                self.channel.dataReceived(request * 2000)
                self.assertOneShare()
                self.channel.dataReceived(request * 2000)
                self.assertOneShare()
                self.assertEqual(self.wire.producerState, "paused")
                self.assertGreater(self.turns(), 4000 / 64)
                self.assertEqual(self.wire.producerState, "producing")
                answers = [b"\r\n\r\n%d;" % each for each in range(1, 4001)]
                found = self.wire.take()
                at = 0
                for answer in answers:
                    at = found.index(answer, at)

    def test_kinds(self) -> None:
        """Plain and other requests share one allowance."""
        self.channel.dataReceived((GET + POST) * 100)
        self.assertOneShare()
        self.turns()
        self.assertEqual(self.calls, 200)

    def test_records(self) -> None:
        """Requests that TLS delivers one by one, all in one turn, are many as well."""
        for _ in range(200):
            self.channel.dataReceived(POST)
        self.assertOneShare()
        self.turns()
        self.assertEqual(self.calls, 200)

    def test_one_by_one(self) -> None:
        """A connection that waits for its answers is never kept waiting itself."""
        for _ in range(1000):
            self.channel.dataReceived(POST)
            self.assertIn(b"200 OK", self.wire.take())
            self.turns()

    def test_large_answers(self) -> None:
        """Bytes of answers count, too."""
        for method in (b"GET", b"POST"):
            request = GET.replace(b"GET /count", method + b" /large")
            if method == b"POST":
                request = POST.replace(b"count", b"large")
            self.channel.dataReceived(request * 5)
            sizes = [len(self.wire.take())]
            while self.turn():
                sizes.append(len(self.wire.take()))
            self.assertEqual([size // 200_000 for size in sizes], [1] * 5 + [0])

    def test_costly(self) -> None:
        """So does the time that the handlers take."""
        self.channel.dataReceived(GET.replace(b"count", b"costly") * 10)
        self.assertEqual(self.calls, 2)
        self.turns()
        self.assertEqual(self.calls, 10)

    def test_others(self) -> None:
        """All connections with something left take turns."""
        other, wire = self.connect()
        self.channel.dataReceived(GET * 2000)
        other.dataReceived(GET)
        self.assertIn(b"200 OK", wire.take())
        other.dataReceived(GET * 2000)
        self.wire.take()
        wire.take()
        for _ in range(5):
            self.turn()
            self.assertIn(b"200 OK", self.wire.take())
            self.assertIn(b"200 OK", wire.take())

    def test_turn_is_over(self) -> None:
        """In one turn only as many connections go on as fit into it."""
        costly = GET.replace(b"count", b"costly") * 4
        for _ in range(6):
            self.connect()[0].dataReceived(costly)
        self.assertEqual(self.calls, 12)
        self.turn()
        self.assertEqual(self.calls, 16)
        self.turns()
        self.assertEqual(self.calls, 24)

    def test_gone(self) -> None:
        """Requests of a client that has disconnected are not executed."""
        self.channel.dataReceived(GET * 100)
        self.wire.lose(self.channel)
        self.turns()
        self.assertOneShare()


class WaitingTests(PipeliningTestCase):
    """Input behind a request that waits."""

    def test_known_answers(self) -> None:
        """Answers that are there already do not pile up on the stack."""
        for request in (GET, POST):
            self.channel.dataReceived(request.replace(b"count", b"known") * 2000)
            self.turns()
        self.assertEqual(self.calls, 4000)
        self.assertEqual(self.wire.take().count(b"200 OK"), 4000)

    def test_late_answers(self) -> None:
        """Neither do requests between which some take time."""
        late = POST.replace(b"count", b"slow")
        self.channel.dataReceived((late + POST * 3 + GET) * 500)
        for _ in range(500):
            self.turns()
            self.slow.pop().callback(Answer(200))
        self.turns()
        self.assertEqual(self.calls, 2000)

    def test_client_that_does_not_read(self) -> None:
        """While the client does not read its answers no more are made."""
        for request in (GET, POST):
            with self.subTest(request=request):
                self.setUp()
                self.channel.dataReceived(request * 100)
                self.channel.pauseProducing()  # the transport is full
                self.turns()
                self.assertOneShare()
                self.channel.dataReceived(request * 3000)
                self.assertEqual(self.wire.producerState, "paused")
                self.turns()
                self.assertOneShare()
                self.channel.resumeProducing()
                self.turns()
                self.assertEqual(self.calls, 3100)
                self.assertEqual(self.wire.producerState, "producing")

    def test_full_within_a_share(self) -> None:
        """That holds from the first answer that the transport does not take."""
        write = self.wire.write

        def full(data: bytes) -> None:
            write(data)
            self.channel.pauseProducing()

        self.wire.write = full  # type: ignore[method-assign]
        self.channel.dataReceived(GET * 10)
        self.turns()
        self.assertEqual(self.calls, 1)
        self.channel.resumeProducing()
        self.turns()
        self.assertEqual(self.calls, 2)

    def test_never_read(self) -> None:
        """A client that never reads is dropped in the end."""
        self.channel.dataReceived(GET * 100)
        self.channel.pauseProducing()
        self.clock.advance(30)
        self.assertTrue(self.wire.disconnecting)
        self.clock.advance(15)
        self.assertTrue(self.wire.aborted)
        self.assertOneShare()


class RefusalTests(PipeliningTestCase):
    """Heads that are 400, and that no proxy reads in another way."""

    def assertRefused(self, request: bytes) -> None:
        self.setUp()
        self.channel.dataReceived(request)
        self.turns()
        data = self.wire.take()
        self.assertTrue(data.startswith(b"HTTP/1.1 400 Bad Request\r\n"), data[:80])
        self.assertIn(b"\r\nConnection: close\r\n", data)
        self.assertEqual(data.count(b"HTTP/1.1"), 1)
        self.assertTrue(self.wire.disconnecting)
        self.channel.dataReceived(GET)  # as TLS delivers until the peer agrees
        self.assertEqual((self.wire.take(), self.calls), (b"", 0))

    def test_lengths(self) -> None:
        """Lengths of the body that cannot be counted, or differ."""
        for length in (b"9" * 5000, b"9" * 20, b"-1", b"+1", b"1 1", b"1, 1", b""):
            with self.subTest(length=length):
                self.assertRefused(POST.replace(b"Length: 0", b"Length: " + length))
        self.assertRefused(POST.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"))

    def test_codings(self) -> None:
        """Any transfer coding but chunked, and chunked with a length."""
        head = b"POST /count HTTP/1.1\r\nHost: h\r\n"
        for lines in (
            b"Transfer-Encoding: identity\r\n",
            b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: identity, chunked\r\n",
            b"Transfer-Encoding: gzip\r\n",
            b"Transfer-Encoding:\r\n",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        ):
            with self.subTest(lines=lines):
                self.assertRefused(head + lines + b"\r\n0\r\n\r\n")

    def test_folded_lines(self) -> None:
        """A header that continues on the next line."""
        for line in (b" folded", b"\tfolded", b" Content-Length: 5", b" "):
            with self.subTest(line=line):
                self.assertRefused(GET.replace(b"\r\n\r\n", b"\r\n%b\r\n\r\n" % line))
        self.assertRefused(GET.replace(b"\r\nHost", b"\r\n X: y\r\nHost"))

    def test_long_lines(self) -> None:
        """Lines and heads that have no end."""
        self.assertRefused(b"GET /" + b"a" * 20000)
        self.assertRefused(b"GET / HTTP/1.1\r\nA: " + b"a" * 20000)
        self.assertRefused(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 600 + b"\r\n")

    def test_behind_others(self) -> None:
        """Earlier requests are answered first."""
        self.channel.dataReceived(GET * 2 + POST.replace(b": 0", b": " + b"9" * 5000))
        data = self.wire.take()
        self.assertEqual(data.count(b" 200 OK"), 2)
        self.assertLess(data.rindex(b" 200 OK"), data.index(b" 400 "))

    def test_chunked(self) -> None:
        """Only chunked, in any case, is accepted."""
        for coding in (b"chunked", b"Chunked"):
            self.channel.dataReceived(
                b"POST /count HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: %b\r\n\r\n"
                b"1\r\nx\r\n0\r\n\r\n" % coding
            )
        self.assertEqual(self.wire.take().count(b" 200 OK"), 2)


class FuzzTests(PipeliningTestCase):
    """Bytes that are almost requests; a logged failure fails the test."""

    PARTS = (
        *(b"GET ", b"POST ", b"HEAD ", b"PRI ", b"/count", b"/slow", b"/known", b"/"),
        *(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/2.0\r\n", b"Host: h\r\n"),
        *(b"Content-Length: 5\r\n", b"Content-Length: ", b"9" * 5000, b"0\r\n\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n"),
        *(b"\r\n", b"\r\n\r\n", b"\r", b"\n", b" ", b"\t", b":", b"\0", b"\xff", b";"),
        *(b"5\r\nhello\r\n", b"ffffffffffffffffff\r\n", b"-1\r\n", b"%zz", b"?a=b"),
        *(b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"x" * 17000),
        *(b"Cookie: a=b; c\r\n", b"Cookie: =;\xff;\r\n", b"Upgrade: websocket\r\n"),
        *(GET, POST, GET * 70, POST * 70),
    )

    def test_requests(self) -> None:
        """No error is raised, and later requests of others are answered."""
        random = Random(20)
        for _ in range(1500):
            channel, wire = self.connect()
            for _ in range(random.randrange(1, 5)):
                parts = random.choices(self.PARTS, k=random.randrange(1, 14))
                data = bytearray(b"".join(parts))
                for _ in range(random.randrange(3)):
                    data[random.randrange(len(data))] = random.randrange(256)
                channel.dataReceived(bytes(data))
                if random.random() < 0.2:
                    channel.pauseProducing()
                    self.turns()
                    channel.resumeProducing()
                self.turns()
            wire.lose(channel)
            self.slow.clear()
