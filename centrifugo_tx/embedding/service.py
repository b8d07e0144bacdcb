"""Services of a Twisted application: a node, and the whole server."""

from collections.abc import Mapping
from typing import Any, Protocol, cast

from attrs import define, field
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..config.check import problems
from ..config.load import load
from ..errors import ConfigError
from ..reactors import clock_or_reactor
from ..service import make_service
from ..transports import AnyNode
from ..typing import Clock
from .node import Node

__all__ = ["ConfiguredServer", "node_service", "server_from_file"]


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


class ConfiguredServer(AnyNode, Protocol):
    """The whole server as a service; `Node.of` returns the verbs of its node."""

    @property
    def started(self) -> "Deferred[None]":
        """Fires when the server serves; fails if it cannot start."""

    def setServiceParent(self, parent: Any) -> object:
        """Make the service a part of an application."""

    def startService(self) -> object:
        """Start the node, and listen on the configured ports."""

    def stopService(self) -> "Deferred[None]":
        """Stop listening, close the connections, and stop the node."""


def server_from_file(
    path: str,
    reactor: Clock | None = None,
    environment: Mapping[str, str] | None = None,
) -> ConfiguredServer:
    """Return the server that a configuration file describes, for ``startService``.

    Options that only the command reads, such as ``workers``, have no effect.

    :param reactor: the reactor that runs; None selects the global one.
    :param environment: variables that override options; None: no variables do.
    :raises ConfigError: one line for each option that is wrong.
    """
    config = load(path, environment or {}).config
    if found := problems(config):
        raise ConfigError("\n".join(found))
    server: ConfiguredServer = make_service(clock_or_reactor(reactor), config)
    return server
