"""The process around a node."""

import gc
import os
import resource
import shutil
import signal
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx import garbage
from centrifugo_tx.errors import ConfigError
from centrifugo_tx.process import (
    PIDFile,
    Signals,
    raise_descriptor_limit,
    tell_systemd,
)


class PIDFileTests(SynchronousTestCase):
    """The PID file."""

    def test_life(self) -> None:
        """It holds id and newline, is the owner's alone, and goes at the end."""
        path = Path(self.mktemp())
        file = PIDFile(str(path))
        file.write()
        self.assertEqual(path.read_text(), f"{os.getpid()}\n")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        file.remove()
        self.assertFalse(path.exists())
        file.remove()

    def test_none(self) -> None:
        """Without a path there is no file."""
        file = PIDFile("")
        file.write()
        file.remove()

    def test_not_writable(self) -> None:
        """A file that cannot be written stops the start; it is not removed."""
        file = PIDFile(self.mktemp() + "/none/pid")
        with self.assertRaisesRegex(ConfigError, "pid_file: .* cannot be written"):
            file.write()
        path = Path(self.mktemp())
        path.write_text("other")
        PIDFile(str(path)).remove()
        self.assertTrue(path.exists())


class LimitTests(SynchronousTestCase):
    """Open files."""

    def test_raised(self) -> None:
        """The soft limit becomes the hard one."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
        self.assertEqual(raise_descriptor_limit(), hard)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (hard, hard))


class SignalTests(SynchronousTestCase):
    """Signals become calls in the reactor."""

    def test_calls(self) -> None:
        """SIGINT and SIGTERM stop, SIGHUP reloads, each by way of the reactor."""
        called: list[str] = []
        waiting: list[Any] = []

        class Threads:
            def callFromThread(self, function: Any) -> None:
                waiting.append(function)

        numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
        for number in numbers:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        reactor: Any = Threads()
        signals = Signals(
            reactor, lambda: called.append("stop"), lambda: called.append("reload")
        )
        signals.install()
        for number in numbers:
            os.kill(os.getpid(), number)
        self.assertEqual(called, [])
        for function in waiting:
            function()
        self.assertEqual(sorted(called), ["reload", "stop", "stop"])


class SystemdTests(SynchronousTestCase):
    """What systemd is told."""

    def listen(self, address: str) -> socket.socket:
        """Be systemd."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listening.close)
        listening.bind(address.replace("@", "\0"))
        self.patch(os, "environ", {"NOTIFY_SOCKET": address})
        return listening

    def test_addresses(self) -> None:
        """It may listen on a path, or on an abstract address."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        for address in f"{folder}/notify", f"@centrifugo-test-{os.getpid()}":
            listening = self.listen(address)
            tell_systemd("READY=1")
            self.assertEqual(listening.recv(100), b"READY=1")

    def test_nobody(self) -> None:
        """Without systemd nothing happens; when it is gone, a warning."""
        logged: list[LogEvent] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        for environment in {}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "odd"}:
            self.patch(os, "environ", environment)
            tell_systemd("READY=1")
        self.assertEqual(logged, [])
        self.patch(os, "environ", {"NOTIFY_SOCKET": "/none/notify"})
        tell_systemd("READY=1")
        self.assertEqual(len(logged), 1)


class FreezerTests(SynchronousTestCase):
    """Long-lived objects are taken out of the garbage collector's sight."""

    def setUp(self) -> None:
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        self.frozen = 0
        self.patch(garbage.gc, "collect", lambda: 0)
        self.patch(garbage.gc, "freeze", self.count)
        self.clock = Clock()
        self.connections = 0
        self.freezer = garbage.Freezer(self.clock, lambda: self.connections)
        self.freezer.startService()

    def count(self) -> None:
        """Count how often things were frozen."""
        self.frozen += 1

    def test_growth(self) -> None:
        """Once at the start, and again for a thousand more or a quarter more."""
        self.addCleanup(self.freezer.stopService)
        self.assertEqual(self.frozen, 1)
        for connections, frozen in (
            (999, 1),
            (1000, 2),
            (1999, 2),
            (9000, 3),
            (11000, 3),
            (11250, 4),
            (100, 4),
        ):
            self.connections = connections
            self.clock.advance(garbage.INTERVAL)
            self.assertEqual(self.frozen, frozen, connections)

    def test_stop(self) -> None:
        """Stopped, it leaves nothing in the reactor."""
        self.freezer.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
