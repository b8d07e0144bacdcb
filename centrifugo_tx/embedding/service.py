"""A node as a service of a Twisted application."""

from typing import Any, cast

from attrs import define, field
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..reactors import clock_or_reactor
from ..typing import Clock
from .node import Node

__all__ = ["node_service"]


@define(eq=False, slots=False)
class _NodeService(Service):
    """Starts and stops a node together with its application."""

    _node: Node
    _reactor: Any
    _started: "Deferred[bool]" = field(factory=Deferred, init=False)
    _log = Logger()

    def startService(self) -> None:
        """Start the node; if that fails, log why, and stop the reactor."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        started = self._node.start().addCallback(lambda _: True)
        self._started = started.addErrback(self._fail)

    def _fail(self, failure: Failure) -> bool:
        self._log.failure("the node did not start", failure)
        self._reactor.callLater(0, self._reactor.stop)
        return False

    def stopService(self) -> "Deferred[None]":
        """Stop the node if it has started."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        return self._started.addCallback(self._stop)

    def _stop(self, started: bool) -> "Deferred[None]":
        return self._node.stop() if started else succeed(None)


def node_service(node: Node, reactor: Clock | None = None) -> IService:
    """Return a service that starts and stops *node*, for ``twistd``.

    :param reactor: the reactor to stop if the node cannot start; None selects the
        global one.
    """
    return cast(IService, _NodeService(node, clock_or_reactor(reactor)))
