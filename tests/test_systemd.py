"""Notifications to systemd, with a socket in place of its own."""

import os
import shutil
import socket
import tempfile

from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.systemd import STATUS_INTERVAL, SystemdNotifier, watchdog_seconds

ADDRESS = f"@centrifugo-test-{os.getpid()}"


class NotifierCase(SynchronousTestCase):
    """A notifier, and the socket that it writes to."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.alive = True
        self.status = "1 clients are connected"

    def listen(self, address: str = ADDRESS, **environment: str) -> SystemdNotifier:
        """Receive at *address*; return a notifier for that address."""
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.systemd.close)
        self.systemd.setblocking(False)
        self.systemd.bind(address.replace("@", "\0"))
        return self.notifier(NOTIFY_SOCKET=address, **environment)

    def notifier(self, **environment: str) -> SystemdNotifier:
        """Return a notifier in this environment."""
        self.patch(os, "environ", environment)
        return SystemdNotifier(self.clock, lambda: self.status, lambda: self.alive)

    def received(self) -> list[list[str]]:
        """Return the lines of each message that has come."""
        messages = []
        while True:
            try:
                messages.append(self.systemd.recv(1000).decode().split("\n"))
            except BlockingIOError:
                return messages


class MessageTests(NotifierCase):
    """The messages in the life of a server."""

    def test_addresses(self) -> None:
        """systemd may listen on a path, or on an abstract address."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        for address in f"{folder}/notify", ADDRESS:
            self.listen(address).starting()
            self.assertEqual(self.received(), [["STATUS=Starting"]])

    def test_life(self) -> None:
        """Start, readiness, reload and stop are reported in order."""
        notifier = self.listen()
        notifier.starting()
        notifier.reloading()
        notifier.reloaded()
        self.assertEqual(self.received(), [["STATUS=Starting"]])
        notifier.ready()
        ready = ["READY=1", "STATUS=1 clients are connected"]
        self.assertEqual(self.received(), [ready])
        notifier.reloading()
        ((first, second),) = self.received()
        self.assertEqual(first, "RELOADING=1")
        self.assertRegex(second, r"^MONOTONIC_USEC=\d+$")
        notifier.reloaded()
        self.assertEqual(self.received(), [ready])
        notifier.stopping(30.0)
        told = [
            *("STOPPING=1", "STATUS=Disconnecting clients"),
            "EXTEND_TIMEOUT_USEC=35000000",
        ]
        self.assertEqual(self.received(), [told])
        notifier.ready()
        notifier.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.received(), [])

    def test_status(self) -> None:
        """A changed status is reported, every ten seconds without a watchdog."""
        notifier = self.listen()
        notifier.ready()
        self.received()
        self.clock.advance(STATUS_INTERVAL)
        self.assertEqual(self.received(), [])
        self.status = "2 clients are connected"
        self.clock.advance(STATUS_INTERVAL)
        self.assertEqual(self.received(), [["STATUS=2 clients are connected"]])

    def test_nobody(self) -> None:
        """Without systemd nothing happens."""
        for environment in {}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "odd"}:
            notifier = self.notifier(WATCHDOG_USEC="1000000", **environment)
            notifier.starting()
            notifier.ready()
            notifier.stopping(1.0)
            self.assertFalse(notifier.has_watchdog)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unreachable(self) -> None:
        """A systemd that does not listen is worth one line for each outage."""
        logged: list[LogEvent] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        notifier = self.notifier(NOTIFY_SOCKET="/none/notify")
        notifier.starting()
        notifier.ready()
        self.assertEqual(len(logged), 1)

    def test_full_queue(self) -> None:
        """A systemd that does not read holds nothing up."""
        notifier = self.listen(WATCHDOG_USEC="1000000")
        notifier.ready()
        logged: list[LogEvent] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        with open("/proc/sys/net/unix/max_dgram_qlen") as limit:
            self.clock.pump([0.25] * 2 * (int(limit.read()) + 2))
        self.assertEqual(len(logged), 1)
        self.received()
        self.clock.advance(0.25)
        self.assertEqual(self.received(), [["WATCHDOG=1"]])


class WatchdogTests(NotifierCase):
    """The watchdog, which ends a server that hangs."""

    def test_seconds(self) -> None:
        """The limit is in microseconds, and meant for one process."""
        for environment, seconds in (
            ({}, None),
            ({"WATCHDOG_USEC": "20000000"}, 20.0),
            ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 20.0),
            ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, None),
            ({"WATCHDOG_USEC": "0"}, None),
            ({"WATCHDOG_USEC": "odd"}, None),
        ):
            self.patch(os, "environ", environment)
            self.assertEqual(watchdog_seconds(), seconds)

    def test_fed(self) -> None:
        """It is fed four times within its limit, and by no hanging reactor."""
        notifier = self.listen(WATCHDOG_USEC="20000000")
        self.assertTrue(notifier.has_watchdog)
        self.clock.advance(20)
        self.assertEqual(self.received(), [])
        notifier.ready()
        self.assertEqual(self.received()[1:], [["WATCHDOG=1"]])
        self.clock.pump([5.0] * 4)
        self.assertEqual(self.received(), [["WATCHDOG=1"]] * 4)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_dead_worker(self) -> None:
        """It is not fed while a process of the server does not work."""
        notifier = self.listen(WATCHDOG_USEC="20000000")
        notifier.ready()
        self.received()
        self.alive, self.status = False, "1 of 2 workers serve"
        self.clock.pump([5.0] * 4)
        self.assertEqual(self.received(), [["STATUS=1 of 2 workers serve"]])
        self.alive = True
        self.clock.advance(5)
        self.assertEqual(self.received(), [["WATCHDOG=1"]])

    def test_stop(self) -> None:
        """During a stop it is fed even when workers have ended already."""
        notifier = self.listen(WATCHDOG_USEC="20000000")
        notifier.ready()
        notifier.stopping(30.0)
        self.received()
        self.alive, self.status = False, "0 of 2 workers serve"
        self.clock.advance(5)
        self.assertEqual(self.received(), [["WATCHDOG=1"]])
