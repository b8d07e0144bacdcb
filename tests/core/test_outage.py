"""Log lines while storage is unavailable."""

from typing import cast

from twisted.internet.defer import fail
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.api import METHODS, Api
from centrifugo_tx.core.outage import REASONS, Outage
from centrifugo_tx.core.timer_wheel import TimerWheel
from centrifugo_tx.errors import BrokerUnavailable
from centrifugo_tx.options import SubscribeOptions
from centrifugo_tx.protocol.messages import Raw

from ..support import World


class LogCase(SynchronousTestCase):
    """Collects the warnings."""

    def setUp(self) -> None:
        """Listen."""
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def warnings(self) -> list[str]:
        """Return the log lines since the last call."""
        events, self.events[:] = list(self.events), []
        return [
            each["log_format"].format(**each)
            for each in events
            if each["log_level"].name == "warn"
        ]


class OutageTests(LogCase):
    """Calls that fail."""

    def setUp(self) -> None:
        """Begin without a failure."""
        super().setUp()
        self.clock = Clock()
        self.outage = Outage(self.clock, TimerWheel(self.clock))

    def failed(self, times: int = 1, reason: str = "lost") -> None:
        """Fail some calls, one in a second."""
        for _ in range(times):
            self.outage.failed("publish", reason)
            self.clock.advance(1)

    def test_one_line(self) -> None:
        """However many calls fail, two lines are written."""
        self.failed(100)
        self.assertEqual(self.warnings(), ["publish failed: lost"])
        self.clock.advance(10)
        self.assertEqual(
            self.warnings(), ["100 calls failed within 99.0 s; no failures since"]
        )

    def test_one_call(self) -> None:
        """If each failure was logged, the end is not."""
        self.failed()
        self.clock.advance(10)
        self.assertEqual(self.warnings(), ["publish failed: lost"])

    def test_next(self) -> None:
        """The next outage is logged again."""
        self.failed()
        self.clock.advance(10)
        self.failed()
        self.assertEqual(self.warnings(), ["publish failed: lost"] * 2)

    def test_reasons(self) -> None:
        """Each new reason is logged, up to a limit."""
        for number in range(REASONS * 2):
            self.failed(reason=f"reason {number}")
        self.assertEqual(len(self.warnings()), REASONS)


class NodeTests(LogCase):
    """A node whose storage is away."""

    def test_everything(self) -> None:
        """Calls of clients, of the node and of the API are one outage."""
        world = World()
        world.policy.subscription = SubscribeOptions(join_leave=True)
        peer = world.subscribed("news")
        others = [world.connected() for _ in range(3)]
        away = BrokerUnavailable("away")
        for name in ("subscribe", "publish", "publish_leave"):
            self.patch(world.node.engine.broker, name, lambda *_: fail(away))
        self.warnings()
        for number, other in enumerate(others):
            other.send({"id": 9, "subscribe": {"channel": f"c{number}"}})
        peer.client.transport_lost()
        method = METHODS["publish"]
        request = method.request(channel="news", data=Raw(b"1"))
        Api(world.node).call(method, request)
        self.assertEqual(self.warnings(), ["subscribe failed: away"])
        world.clock.advance(6)
        [line] = self.warnings()
        self.assertIn("5 calls failed", line)
