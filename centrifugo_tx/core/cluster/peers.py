"""The other nodes of the cluster, and the control messages between nodes."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from ...errors import DecodeError
from ...interfaces import IControlEventHandler, IController
from ...protocol import control
from ..channel.hub import Hub
from ..runtime import Runtime
from ..session.connections import Connections

__all__ = ["NodeInfo", "Peers"]

#: Seconds between two announcements of a node.
ANNOUNCE = 3.0
#: Seconds of silence after which a node is considered down, and between two checks.
SILENCE, SWEEP = 7.0, 9.0

#: Handles one part of a control message; called with the sender's id and the part.
ControlHandler = Callable[[str, Any], None]


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The state that a node announces; ``uptime`` is in seconds."""

    uid: str
    name: str = ""
    version: str = ""
    num_clients: int = 0
    num_users: int = 0
    num_channels: int = 0
    num_subs: int = 0
    uptime: int = 0
    metrics: Mapping[str, float] | None = None

    def without_metrics(self) -> dict[str, Any]:
        """Return the other fields, which messages about nodes have too."""
        fields = msgspec.structs.asdict(self)
        del fields["metrics"]
        return fields


@implementer(IControlEventHandler)
@define(eq=False)
class Peers:
    """Knows the other nodes; sends and receives control messages.

    ``handlers`` are found by the name of the message's part (`ControlCommand`).
    """

    _runtime: Runtime
    _controller: IController
    _hub: Hub
    _connections: Connections[Any]
    handlers: dict[str, ControlHandler] = field(factory=dict, init=False)
    #: The metrics of this node over the last interval, by dotted name.
    _metrics: Mapping[str, float] | None = field(default=None, init=False)
    #: Whether the other nodes have these metrics.
    _metrics_sent: bool = field(default=True, init=False)
    _known: dict[str, tuple[NodeInfo, float]] = field(factory=dict, init=False)
    _began: float = field(default=0.0, init=False)
    _calls: dict[str, IDelayedCall] = field(factory=dict, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self.handlers["node"] = self._handle_node
        self.handlers["shutdown"] = self._handle_shutdown

    # --- Life ------------------------------------------------------------------

    def listen(self) -> None:
        """Start to receive messages from the controller."""
        self._controller.listen(self, self._runtime.id)

    def start(self) -> None:
        """Announce this node, now and every 3 seconds."""
        self._began = self._runtime.clock.seconds()
        self._announce()
        self._calls["sweep"] = self._runtime.clock.callLater(SWEEP, self._sweep)

    def stop(self) -> Deferred[None]:
        """Announce the shutdown and cancel all timers; fire when it is sent."""
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()
        return self.notify(control.ControlCommand(shutdown=control.Shutdown()))

    def _announce(self) -> None:
        clock = self._runtime.clock
        self._calls["announce"] = clock.callLater(ANNOUNCE, self._announce)
        self.notify(self._own_state(not self._metrics_sent))
        self._metrics_sent = True

    def _sweep(self) -> None:
        clock = self._runtime.clock
        self._calls["sweep"] = clock.callLater(SWEEP, self._sweep)
        limit = clock.seconds() - SILENCE
        for uid, (_, heard) in list(self._known.items()):
            if heard < limit:
                del self._known[uid]

    # --- The nodes -------------------------------------------------------------

    @property
    def num_others(self) -> int:
        """How many other nodes are known."""
        return len(self._known)

    def set_metrics(self, metrics: Mapping[str, float]) -> None:
        """Show *metrics* in `info`; the next announcement carries them, once."""
        self._metrics, self._metrics_sent = metrics, False

    def own_info(self) -> NodeInfo:
        """Return the state of this node."""
        runtime, hub = self._runtime, self._hub
        return NodeInfo(
            uid=runtime.id,
            name=runtime.options.name,
            version=runtime.options.version,
            num_clients=self._connections.num_clients,
            num_users=self._connections.num_users,
            num_channels=hub.num_channels,
            num_subs=hub.num_subscriptions,
            uptime=int(runtime.clock.seconds() - self._began),
            metrics=self._metrics,
        )

    def info(self) -> list[NodeInfo]:
        """Return the state of all nodes, this one first."""
        return [self.own_info(), *(info for info, _ in self._known.values())]

    def knows(self, uid: str) -> bool:
        """Whether *uid* is the id of a known node."""
        return uid == self._runtime.id or uid in self._known

    def _own_state(self, with_metrics: bool) -> control.ControlCommand:
        own, metrics = self.own_info(), None
        if with_metrics and self._metrics is not None:
            interval = self._runtime.options.metrics_interval
            metrics = control.Metrics(interval, dict(self._metrics))
        return control.ControlCommand(
            node=control.Node(**own.without_metrics(), metrics=metrics)
        )

    def _handle_node(self, uid: str, state: control.Node) -> None:
        now = self._runtime.clock.seconds()
        known = self._known.get(state.uid)
        metrics = known[0].metrics if known is not None else None
        if state.metrics is not None:
            metrics = state.metrics.items
        info = NodeInfo(
            uid=state.uid,
            name=state.name,
            version=state.version,
            num_clients=state.num_clients,
            num_users=state.num_users,
            num_channels=state.num_channels,
            num_subs=state.num_subs,
            uptime=state.uptime,
            metrics=metrics,
        )
        self._known[state.uid] = info, now
        if known is None:
            # A new node does not have the metrics that were announced before.
            self.notify(self._own_state(True), state.uid)

    def _handle_shutdown(self, uid: str, message: control.Shutdown) -> None:
        self._known.pop(uid, None)

    # --- Messages --------------------------------------------------------------

    def send(self, command: control.ControlCommand, node: str = "") -> Deferred[None]:
        """Send *command* to one node, or to all others.

        :return: fires when the controller has accepted it.
        """
        command = msgspec.structs.replace(command, uid=self._runtime.id)
        self._runtime.metrics.sent["control"].value += 1
        return self._controller.publish(control.encode(command), node)

    def notify(self, command: control.ControlCommand, node: str = "") -> Deferred[None]:
        """Send *command*; log a failure. The Deferred fires in either case."""
        sent = self.send(command, node)
        return sent.addErrback(
            self._runtime.log_failure, "control message", node or "all nodes"
        )

    def handle_control(self, message: bytes) -> None:
        """Handle a control message, except this node's own."""
        self._runtime.metrics.received["control"].value += 1
        try:
            command = control.decode(message)
        except DecodeError as error:
            self._log.warn("malformed control message: {reason}", reason=error)
            return
        if command.uid == self._runtime.id:
            return
        for name, handler in self.handlers.items():
            part = getattr(command, name)
            if part is not None:
                handler(command.uid, part)
                return
