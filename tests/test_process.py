"""The process around a node."""

import gc
import os
import resource
import signal
import stat
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx import gc_freeze
from centrifugo_tx.errors import ConfigError
from centrifugo_tx.process import (
    PIDFile,
    Signals,
    check_pid_file,
    raise_descriptor_limit,
)


class PIDFileTests(SynchronousTestCase):
    """The PID file."""

    def test_life(self) -> None:
        """It contains the id and a newline, has mode 600, and is removed at the end."""
        path = Path(self.mktemp())
        file = PIDFile(str(path))
        file.write()
        self.assertEqual(path.read_text(), f"{os.getpid()}\n")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        file.remove()
        self.assertFalse(path.exists())
        file.remove()

    def test_none(self) -> None:
        """Without a path no file is written."""
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


class ForeignPIDFileTests(SynchronousTestCase):
    """The PID file of ``twistd``."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def problem(self, path: Path) -> str:
        """Return the one-line problem of a file."""
        problem = str(self.assertRaises(ConfigError, check_pid_file, str(path)))
        self.assertIn(repr(str(path)), problem)
        self.assertEqual(len(problem.splitlines()), 1)
        return problem

    def test_free(self) -> None:
        """A path where nothing is leaves nothing; that of an ended process goes."""
        check_pid_file(str(self.path))
        self.assertFalse(self.path.exists())
        for pid in (2**22 + 1, 0, 10**30):  # the kernel gives none of these
            self.path.write_text(f"{pid}")
            check_pid_file(str(self.path))
            self.assertFalse(self.path.exists())

    def test_running(self) -> None:
        """The file of a running process stays."""
        self.path.write_text(f"{os.getpid()}\n")
        self.assertIn(f"process {os.getpid()}, which is", self.problem(self.path))
        self.assertTrue(self.path.exists())

    def test_not_a_pid_file(self) -> None:
        """Neither does another file go, nor a folder."""
        self.path.write_text("other")
        self.assertIn("does not contain a process id", self.problem(self.path))
        self.assertEqual(self.path.read_text(), "other")
        folder = Path(self.mktemp())
        folder.mkdir()
        self.assertIn("cannot be read", self.problem(folder))
        self.assertIn("cannot be written", self.problem(folder / "none" / "pid"))


class SignalTests(SynchronousTestCase):
    """Signals become calls in the reactor."""

    def setUp(self) -> None:
        self.called: list[str] = []
        self.waiting: list[Any] = []
        self.terminal = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def callFromThread(self, function: Any) -> None:
        """Be the reactor."""
        self.waiting.append(function)

    def install(self) -> None:
        """Take the signals over."""
        reactor: Any = self
        Signals(
            reactor,
            lambda: self.called.append("stop"),
            lambda: self.called.append("reload"),
            lambda: self.terminal,
        ).install()

    def send(self, *numbers: signal.Signals) -> list[str]:
        """Return what signals do, each by way of the reactor."""
        self.called.clear()
        for number in numbers:
            os.kill(os.getpid(), number)
        self.assertEqual(self.called, [])
        waiting, self.waiting = self.waiting, []
        for function in waiting:
            function()
        return sorted(self.called)

    def test_calls(self) -> None:
        """Without a terminal SIGINT and SIGTERM stop, SIGHUP reloads."""
        self.install()
        called = self.send(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self.assertEqual(called, ["reload", "stop", "stop"])

    def test_terminal(self) -> None:
        """On a terminal SIGHUP reloads while it is open, and stops once it is gone."""
        # The tests themselves may run with ``nohup``.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self.terminal = True
        self.install()
        self.assertEqual(self.send(signal.SIGHUP), ["reload"])
        self.terminal = False
        self.assertEqual(self.send(signal.SIGHUP), ["stop"])

    def test_nohup(self) -> None:
        """With ``nohup`` the process survives the terminal."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.terminal = True
        self.install()
        self.terminal = False
        self.assertEqual(self.send(signal.SIGHUP), ["reload"])


class FreezerTests(SynchronousTestCase):
    """Long-lived objects are taken out of the garbage collector's sight."""

    def setUp(self) -> None:
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        self.frozen = 0
        self.patch(gc_freeze.gc, "collect", lambda: 0)
        self.patch(gc_freeze.gc, "freeze", self.count)
        self.clock = Clock()
        self.connections = 0
        self.gc_freezer = gc_freeze.GCFreezer(self.clock, lambda: self.connections)
        self.gc_freezer.startService()

    def count(self) -> None:
        """Count how often things were frozen."""
        self.frozen += 1

    def test_growth(self) -> None:
        """Once at the start, and again for a thousand more or a quarter more."""
        self.addCleanup(self.gc_freezer.stopService)
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
            self.clock.advance(gc_freeze.INTERVAL)
            self.assertEqual(self.frozen, frozen, connections)

    def test_long_collections(self) -> None:
        """Objects that survive a full collection of more than 20 ms are frozen."""
        self.addCleanup(self.gc_freezer.stopService)
        now = 0.0
        self.gc_freezer._seconds = lambda: now
        for generation, seconds, frozen in ((2, 0.019, 1), (1, 0.5, 1), (2, 0.021, 2)):
            for phase in ("start", "stop"):
                for callback in gc.callbacks:
                    callback(phase, {"generation": generation})
                now += seconds
            self.assertEqual(self.frozen, frozen, seconds)

    def test_stop(self) -> None:
        """Stopped, it leaves nothing in the reactor, and nothing in the collector."""
        callbacks = len(gc.callbacks)
        self.gc_freezer.stopService()
        self.assertEqual(len(gc.callbacks), callbacks - 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
