"""The endpoint for clients that want to know whether they may connect."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.metrics import Counter
from centrifugo_tx.transports.connection_limit import ConnectionLimiter
from centrifugo_tx.transports.cors import CORS
from centrifugo_tx.transports.origin import OriginRule
from centrifugo_tx.web.exposition import ThrottledExposition
from centrifugo_tx.web.probes import init
from centrifugo_tx.web.site import Endpoints, HTTPSite

from ..transports.streams import GOOD, Answered, request
from ..transports.websocket_stream import Stream


class InitTests(SynchronousTestCase):
    """Asks a site that has it."""

    def setUp(self) -> None:
        clock = Clock()
        self.clients = 0
        limiter = ConnectionLimiter(clock, lambda: self.clients, Counter(), limit=1)
        endpoint = init(limiter, CORS(OriginRule([GOOD])))
        site = HTTPSite(clock, Endpoints(handlers={b"/": endpoint}))
        self.stream = Stream()
        self.protocol = site.buildProtocol(None)
        self.protocol.makeConnection(self.stream)

    def ask(self, method: str, **headers: str) -> Answered:
        self.protocol.dataReceived(request(method, "/", b"", "1.1", **headers))
        return Answered.of(self.stream.take())

    def test_get(self) -> None:
        """GET gets an empty object, which pages whose origin passes may read."""
        found = self.ask("GET", Origin=GOOD)
        self.assertEqual((found.status, found.rest), (200, b"{}"))
        self.assertEqual(
            found.headers,
            {
                "Content-Length": "2",
                "Content-Type": "application/json; charset=utf-8",
                "Access-Control-Allow-Origin": GOOD,
                "Access-Control-Allow-Credentials": "true",
            },
        )
        found = self.ask("GET", Origin="http://bad.example")
        self.assertEqual(found.status, 200)
        self.assertNotIn("Access-Control-Allow-Origin", found.headers)

    def test_other_methods(self) -> None:
        """Methods but GET get 405."""
        for method in ("POST", "OPTIONS", "HEAD"):
            self.assertEqual(self.ask(method, Origin=GOOD).status, 405)

    def test_full_node(self) -> None:
        """A node that takes no more clients answers 503."""
        self.clients = 1
        self.assertEqual(self.ask("GET").status, 503)


class ThrottledExpositionTests(SynchronousTestCase):
    """Writing the metrics down takes a bounded share of the time."""

    def test_share(self) -> None:
        """Rare requests get a new text; a flood of them gets the previous one."""
        now = 0.0
        written: list[float] = []

        def write() -> bytes:
            nonlocal now
            now += 0.01
            written.append(now)
            return b"%d" % len(written)

        thrifty = ThrottledExposition(write, lambda: now)
        for number in range(1, 6):
            self.assertEqual(thrifty(), b"%d" % number)
        for _ in range(2000):
            thrifty()
        self.assertLess(len(written), 15)
        now += 10
        self.assertEqual(thrifty(), b"%d" % len(written))
        written.clear()
        end = now + 10
        while now < end:
            now += 0.001
            thrifty()
        self.assertLess(len(written) * 0.01, 1.2)
