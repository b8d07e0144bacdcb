"""Accepting when file descriptors run short."""

from typing import Any

from attrs import define, field
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.metrics import Counter
from centrifugo_tx.web import accept_limit
from centrifugo_tx.web.accept_limit import QUIET, AcceptLimiter

LIMIT = 1000


@define(eq=False)
class Port:
    """A port, as far as a guard knows it."""

    transport: Any = None
    connected: bool = True
    numberAccepts: int = 10
    reading: bool = True
    opened: int = field(default=0, init=False)

    def stopReading(self) -> None:
        """Note it."""
        self.reading = False

    def startReading(self) -> None:
        """Note it."""
        self.reading = True

    def fileno(self) -> int:
        """Return the descriptor of the last connection."""
        return self.opened


class GuardTests(SynchronousTestCase):
    """A guard whose descriptors the test counts."""

    def setUp(self) -> None:
        self.clock, self.paused, self.port = Clock(), Counter(), Port()
        self.patch(accept_limit, "EagerTCPServer", lambda *_: None)
        port: Any = self.port
        self.accept_limiter = AcceptLimiter(port, self.paused, self.clock, LIMIT)
        self.patch(AcceptLimiter, "_has_room", lambda _: self.port.opened < 900)
        self.logged: list[LogEvent] = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)

    def fill(self) -> None:
        """Accept a connection by one of the last descriptors."""
        self.port.opened = LIMIT - accept_limit.RESERVED
        self.port.transport(self.port)

    def leave(self) -> None:
        """Close some connections, and have the guard look."""
        self.port.opened = 800
        self.accept_limiter.resume_if_possible()

    def test_pause(self) -> None:
        """It pauses, and resumes only when descriptors are free again."""
        self.fill()
        self.assertFalse(self.port.reading)
        self.accept_limiter.resume_if_possible()
        self.assertFalse(self.port.reading)
        self.leave()
        self.assertTrue(self.port.reading)
        self.assertEqual(self.paused.value, 1)

    def test_told_once(self) -> None:
        """However often it pauses, begin and end of the shortage are a line each."""
        for _ in range(50):
            self.fill()
            self.clock.advance(0.5)
            self.leave()
            self.clock.advance(0.5)
        self.assertEqual(self.paused.value, 50)
        (began,) = self.logged
        self.assertEqual(began["log_format"], "too many open files, pausing accept")
        self.clock.advance(QUIET - 1)
        self.accept_limiter.resume_if_possible()
        self.assertEqual(len(self.logged), 1)
        self.clock.advance(1)
        for _ in range(3):
            self.accept_limiter.resume_if_possible()
        _, ended = self.logged
        self.assertEqual((ended["pauses"], ended["seconds"]), (50, 49.5))
        self.assertEqual(ended["limit"], LIMIT)

    def test_next_time(self) -> None:
        """A later shortage is logged again."""
        for _ in range(2):
            self.fill()
            self.leave()
            self.clock.advance(QUIET)
            self.accept_limiter.resume_if_possible()
        self.assertEqual(len(self.logged), 4)
        self.assertEqual(self.logged[3]["pauses"], 1)

    def test_long_pause(self) -> None:
        """A long pause does not end the episode."""
        self.fill()
        for _ in range(100):
            self.clock.advance(1)
            self.accept_limiter.resume_if_possible()
        self.assertEqual(len(self.logged), 1)

    def test_internal(self) -> None:
        """A port with fewer reserved descriptors continues while others pause."""
        self.accept_limiter.reserved = accept_limit.INTERNAL_RESERVED
        self.port.numberAccepts = 1
        self.fill()
        self.assertTrue(self.port.reading)
        self.port.opened = LIMIT - accept_limit.INTERNAL_RESERVED
        self.port.transport(self.port)
        self.assertFalse(self.port.reading)
