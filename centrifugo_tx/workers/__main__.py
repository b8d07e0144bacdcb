"""The process entry of a worker: ``python -m centrifugo_tx.workers NUMBER REACTOR``.

Only the supervisor starts it; ``REACTOR`` is the module of the reactor to install.
"""

import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.logger import LogEvent, Logger, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config.model import Config
from ..configured_ports import Exposition
from ..logs import filtered, to_record
from ..service import Server, build
from .link_messages import (
    REPORTS,
    AllReady,
    CollectedMetrics,
    Failed,
    GatheredMetrics,
    GatherMetrics,
    LineSplitter,
    LogRecord,
    Order,
    Ping,
    Pong,
    Ready,
    Reload,
    Report,
    Start,
    decode_order,
    encode,
)

__all__ = ["WorkerLink", "main"]


@implementer(IHalfCloseableProtocol)
@define(eq=False, slots=False)
class WorkerLink(Protocol):
    """Connects a worker to its supervisor; when the link closes, the worker stops."""

    transport: Any = field(init=False)

    _reactor: Any
    _begin_logging: Callable[..., object] = globalLogBeginner.beginLoggingTo
    code: int = field(default=0, init=False)
    _server: Server | None = field(default=None, init=False)
    _timeout: float = field(default=0.0, init=False)
    _ending: bool = field(default=False, init=False)
    _ended: bool = field(default=False, init=False)
    _exposition: Callable[[], bytes] = field(default=bytes, init=False)
    _waiting: "list[Deferred[bytes]]" = field(factory=list, init=False)
    _lost: bool = field(default=False, init=False)
    _lines: LineSplitter = field(factory=LineSplitter, init=False)
    _log = Logger()

    def dataReceived(self, data: bytes) -> None:
        """Handle the orders of the supervisor."""
        for line in self._lines.feed(data):
            self._handle_order(decode_order(line))

    def _handle_order(self, order: Order) -> None:
        if isinstance(order, Start):
            self._start(order)
        elif isinstance(order, Reload):
            self._reload(order.config)
        elif isinstance(order, AllReady):
            if self._server is not None:
                self._server.health.serving = True
        elif isinstance(order, Ping):
            self._report(Pong())
        elif isinstance(order, GatheredMetrics):
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(order.text.encode())
        else:
            self._report(CollectedMetrics(self._exposition().decode()))

    def _start(self, order: Start) -> None:
        config = order.config
        inherited = {(host, port): number for host, port, number in order.inherited}
        observer = filtered(config.log.level, self._report_log)
        self._begin_logging([observer], redirectStandardIO=False)
        self._timeout = config.shutdown.timeout
        try:
            self._server = build(
                self._reactor, config, self._wrap_exposition, inherited
            )
        except Exception:
            self._failed(Failure())
            return
        self._server.startService()
        self._server.started.addCallbacks(lambda _: self._report(Ready()), self._failed)

    def _wrap_exposition(self, exposition: Callable[[], bytes]) -> Exposition:
        self._exposition = exposition
        return self._gather_metrics

    def _gather_metrics(self) -> "Deferred[bytes]":
        self._report(GatherMetrics())
        gathered: Deferred[bytes] = Deferred()
        self._waiting.append(gathered)
        return gathered

    def _failed(self, failure: Failure) -> None:
        self._report(Failed(failure.getErrorMessage()))
        self.code = 1
        self.end()

    def _reload(self, config: Config) -> None:
        if self._server is None:
            return
        try:
            self._server.reload(config)
        except Exception:
            self._log.failure("configuration not reloaded")

    def _report_log(self, event: LogEvent) -> None:
        self._report(LogRecord(to_record(event)))

    def _report(self, report: Report) -> None:
        if not self._lost:
            self.transport.write(encode(report))

    def readConnectionLost(self) -> None:
        """Stop: the supervisor closed the pipe, or is gone."""
        self.end()

    def writeConnectionLost(self) -> None:
        """Stop, because the supervisor is gone."""
        self._lost = True
        self.end()

    def connectionLost(self, reason: object = None) -> None:
        """Stop the reactor once the server has stopped."""
        self._lost = True
        if self._ended:
            self._reactor.stop()
        else:
            self.end()

    def end(self) -> None:
        """Disconnect the clients within ``shutdown.timeout``, and then stop."""
        if self._ending:
            return
        self._ending = True
        if self._server is None:
            self._finish_stop()
            return
        self._reactor.callLater(self._timeout, os._exit, 1)
        stopped = maybeDeferred(self._server.stopService)
        stopped.addErrback(
            lambda failure: self._log.failure("error while stopping", failure)
        )
        stopped.addCallback(lambda _: self._finish_stop())

    def _finish_stop(self) -> None:
        self._ended = True
        if self._lost:
            self._reactor.stop()
        else:
            self.transport.loseConnection()


def main() -> int:
    """Run a worker; return the exit code."""
    import_module(sys.argv[2]).install()
    from twisted.internet import reactor, stdio

    # A terminal sends these to all its processes; the supervisor passes them on.
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    installed: Any = reactor
    link = WorkerLink(installed)
    signal.signal(signal.SIGTERM, lambda *_: installed.callFromThread(link.end))
    pipes: Any = stdio.StandardIO
    pipes(link, stdout=REPORTS, reactor=installed)
    installed.run(installSignalHandlers=False)
    return link.code


if __name__ == "__main__":
    sys.exit(main())
