"""Refusing new connections while the process is overloaded."""

import asyncio
import json
from typing import Any

from twisted.internet.task import Clock

from centrifugo_tx.metrics import Counter, Metrics
from centrifugo_tx.options import Answer
from centrifugo_tx.transports.connection_limit import ConnectionLimiter
from centrifugo_tx.transports.overload import OverloadGuard, OverloadOptions
from centrifugo_tx.web.probes import Health

from ..log_lines import LogTestCase
from .test_uni_grpc import Call, UniGRPCCase, settle
from .test_websocket import WebSocketTestCase

MIB = 1024 * 1024


class OverloadCase(LogTestCase):
    """A guard whose clock and memory the test sets."""

    options = OverloadOptions(max_reactor_lag=1.0, max_memory=100 * MIB)

    def setUp(self) -> None:
        super().setUp()
        self.clock, self.metrics, self.memory = Clock(), Metrics(), 0
        self.guard = OverloadGuard(
            self.clock, self.metrics, self.options, lambda: self.memory
        )
        self.guard.start()
        self.addCleanup(self.guard.stop)

    def probe(self, lag: float = 0.0, times: int = 1) -> None:
        """Let the reactor call the next timers this late."""
        for _ in range(times):
            self.clock.advance(0.5 + lag)

    def value(self, name: str, **labels: str) -> float:
        """Return the value of a counter."""
        return self.metrics.counter(name, **labels).value


class GuardTests(OverloadCase):
    """When an overload begins and ends."""

    def test_calm(self) -> None:
        """Lag below the limit is not an overload."""
        self.probe(0.9, 20)
        self.assertEqual(self.guard.reason, "")
        self.assertEqual(self.events, [])

    def test_lag(self) -> None:
        """Two late timers in a row are an overload, one is not."""
        self.probe(1.1)
        self.probe()
        self.probe(1.1)
        self.assertEqual(self.guard.reason, "")
        self.probe(1.1)
        self.assertEqual(self.guard.reason, "reactor_lag")
        self.assertEqual(self.value("node_overloaded"), 1)

    def test_memory(self) -> None:
        """Too much memory is an overload at once."""
        self.memory = 101 * MIB
        self.probe()
        self.assertEqual(self.guard.reason, "memory")

    def test_end(self) -> None:
        """An overload is over after five seconds in which nothing is strained."""
        self.probe(1.1, 2)
        self.probe(0.0, 9)
        self.probe(0.6)  # more than half of the limit
        self.probe(0.0, 9)
        self.assertEqual(self.guard.reason, "reactor_lag")
        self.probe()
        self.assertEqual(self.guard.reason, "")
        self.assertEqual(self.value("node_overloaded"), 0)

    def test_memory_must_fall(self) -> None:
        """Memory just below the limit does not end an overload."""
        self.memory = 101 * MIB
        self.probe()
        self.memory = 95 * MIB
        self.probe(0.0, 100)
        self.assertEqual(self.guard.reason, "memory")
        self.memory = 80 * MIB
        self.probe(0.0, 11)
        self.assertEqual(self.guard.reason, "")

    def test_log(self) -> None:
        """An episode is two lines, however many connections are refused."""
        self.probe(1.1, 2)
        for _ in range(50):
            self.guard.refuse()
        self.probe(0.0, 20)
        self.assertEqual(
            self.lines("reason", "refused"),
            [
                (
                    *("warn", "overloaded, refusing new connections"),
                    *("reactor_lag", None),
                ),
                (
                    *("info", "not overloaded any more, accepting new connections"),
                    *(None, 50),
                ),
            ],
        )

    def test_counts(self) -> None:
        """Refusals are counted by reason, with a random Retry-After."""
        self.probe(1.1, 2)
        times = {self.guard.refuse() for _ in range(300)}
        self.assertEqual((min(times), max(times)), (5, 15))
        name = "node_connections_shed_total"
        self.assertEqual(self.value(name, reason="reactor_lag"), 300)
        self.assertEqual(self.value(name, reason="memory"), 0)


class OffTests(OverloadCase):
    """The defaults."""

    options = OverloadOptions()

    def test_never(self) -> None:
        """Without limits the lag is measured, and no client is refused."""
        self.memory = 10**15
        self.probe(30.0, 5)
        self.assertEqual(self.guard.reason, "")
        lags = self.metrics.histogram("node_reactor_lag_seconds")
        self.assertEqual((sum(lags.counts), lags.sum), (5, 150))


class RefusalTests(OverloadCase):
    """Responses to refused clients."""

    def setUp(self) -> None:
        super().setUp()
        self.limiter = ConnectionLimiter(
            self.clock, lambda: 0, Counter(), overload=self.guard
        )
        self.health = Health(overload=self.guard)

    def test_refusal(self) -> None:
        """A new connection is answered with 503 and ``Retry-After``."""
        self.assertIsNone(self.limiter.refusal())
        self.probe(1.1, 2)
        refusal = self.limiter.refusal()
        assert refusal is not None
        [(name, value)] = refusal.headers
        self.assertEqual((refusal.status, name), (503, b"Retry-After"))
        self.assertIn(int(value), range(5, 16))

    def test_other_refusals(self) -> None:
        """Refusals because of another limit carry no time."""
        self.limiter.limit = 1
        self.limiter._connections = lambda: 1
        self.probe(1.1, 2)
        self.limiter.refusal()
        self.probe(0.0, 11)
        self.assertEqual(self.limiter.refusal(), Answer(503))

    def test_health(self) -> None:
        """The health endpoint stays at 200 and gives the reason."""
        asked: Any = None
        self.assertEqual(self.health(asked).body, b"{}")
        self.probe(1.1, 2)
        answer = self.health(asked)
        self.assertEqual(answer.status, 200)
        self.assertEqual(json.loads(answer.body), {"overloaded": "reactor_lag"})


def overloaded() -> OverloadGuard:
    """Return a guard that refuses everyone."""
    guard = OverloadGuard(Clock(), Metrics())
    guard.reason = "memory"
    return guard


class WebSocketTests(WebSocketTestCase):
    """Handshakes."""

    def test_refused(self) -> None:
        """A handshake gets 503 with a time; when calm returns, it succeeds."""
        guard = self.factory.limiter.overload = overloaded()
        head = self.open()
        self.assertIn("HTTP/1.1 503 ", head)
        self.assertRegex(head, r"Retry-After: \d+")
        guard.reason = ""
        self.assertIn("HTTP/1.1 101 ", self.open())

    def test_other_refusals(self) -> None:
        """Another refusal carries no time."""
        self.factory.limiter.overload = overloaded()
        self.open()
        head = self.open(Origin="http://bad.example")
        self.assertIn("HTTP/1.1 403 ", head)
        self.assertNotIn("Retry-After", head)


class _Ended(Exception):
    """The exception that grpcio raises in the method that ends its call."""


class Refusable(Call):
    """A call that can be ended with a status."""

    status: tuple[Any, ...] = ()

    async def abort(self, *status: Any) -> None:
        """Keep the status."""
        self.status = status
        raise _Ended


class GRPCTests(UniGRPCCase):
    """Calls of unidirectional clients."""

    def test_refused(self) -> None:
        """A call ends with UNAVAILABLE and a time; no client is made."""

        async def story() -> None:
            self.consumers.overload = overloaded()
            self.patch(self.consumers._bridge, "loop", asyncio.get_running_loop())
            call = Refusable()
            with self.assertRaises(_Ended):
                await self.consumers.consume(b"", call)
            await settle()
            code, _, [(name, _)] = call.status
            self.assertEqual(code.name, "UNAVAILABLE")
            self.assertEqual(name, "grpc-retry-pushback-ms")
            self.assertEqual(self.world.node.connections.num_clients, 0)

        self.run_in_loop(story())
