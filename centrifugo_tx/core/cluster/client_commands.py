"""Commands of the server to the connections of a user, on all nodes.

Each command is sent to the other nodes as a control message and applied to the
connections of this node.  The other nodes read it from the message and apply it in
the same way (engines, "Control messages").
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ...options import SubscribeOptions
from ...protocol import control
from ...protocol.codes import Disconnect, Unsubscribe
from ...protocol.messages import Raw, StreamPosition
from ..run_or_defer import run_or_defer
from ..session import server_side
from ..session.client import Client
from ..session.connections import Connections
from .peers import Peers

__all__ = [
    "ClientCommands",
    "DisconnectCommand",
    "RefreshCommand",
    "SubscribeCommand",
    "Target",
    "UnsubscribeCommand",
]


@frozen
class Target:
    """The connections of *user*, narrowed by client id and session if given.

    An empty user means anonymous connections, not everyone (server API, "Subscribe
    and unsubscribe").
    """

    user: str = ""
    client: str = ""
    session: str = ""


class ClientCommand(Protocol):
    """A command to each connection of a target."""

    def message(self, target: Target) -> control.ControlCommand:
        """Return the control message that carries the command to other nodes."""

    def apply(self, client: Client) -> None:
        """Apply the command to one connection of this node."""


@frozen
class SubscribeCommand:
    """Subscribe to *channel*, from the position *since* if it is given."""

    channel: str
    options: SubscribeOptions
    since: StreamPosition | None = None

    def message(self, target: Target) -> control.ControlCommand:
        """Return the control message; it cannot carry the other options."""
        options = self.options
        return control.ControlCommand(
            subscribe=control.Subscribe(
                user=target.user,
                channel=self.channel,
                emit_presence=options.presence,
                emit_join_leave=options.join_leave,
                expire_at=options.expire_at,
                position=options.positioned,
                recover=options.recoverable,
                channel_info=options.info,
                client=target.client,
                data=options.data,
                recover_since=self.since,
                session=target.session,
                push_join_leave=options.push_join_leave,
                source=options.source,
            )
        )

    @classmethod
    def read(cls, part: control.Subscribe) -> "tuple[Target, SubscribeCommand]":
        """Return the target and the command of a control message."""
        options = SubscribeOptions(
            expire_at=part.expire_at,
            info=part.channel_info,
            data=part.data,
            presence=part.emit_presence,
            join_leave=part.emit_join_leave,
            push_join_leave=part.push_join_leave,
            positioned=part.position,
            recoverable=part.recover,
            source=part.source,
        )
        return Target(part.user, part.client, part.session), cls(
            part.channel, options, part.recover_since
        )

    def apply(self, client: Client) -> None:
        """Subscribe one connection."""
        subscribed = server_side.subscribe(
            client, self.channel, self.options, self.since
        )
        _detach(subscribed, client, "subscribe")


@frozen
class UnsubscribeCommand:
    """Unsubscribe from *channel*."""

    channel: str
    reason: Unsubscribe

    def message(self, target: Target) -> control.ControlCommand:
        """Return the control message."""
        return control.ControlCommand(
            unsubscribe=control.Unsubscribe(
                channel=self.channel,
                user=target.user,
                client=target.client,
                session=target.session,
                code=self.reason.code,
                reason=self.reason.reason,
            )
        )

    @classmethod
    def read(cls, part: control.Unsubscribe) -> "tuple[Target, UnsubscribeCommand]":
        """Return the target and the command of a control message."""
        return Target(part.user, part.client, part.session), cls(
            part.channel, Unsubscribe(part.code, part.reason)
        )

    def apply(self, client: Client) -> None:
        """Unsubscribe one connection."""
        unsubscribed = server_side.unsubscribe(client, self.channel, self.reason)
        _detach(unsubscribed, client, "unsubscribe")


@frozen
class DisconnectCommand:
    """Close the connection, unless its client id is in *whitelist*."""

    disconnect: Disconnect
    whitelist: Sequence[str] = ()

    def message(self, target: Target) -> control.ControlCommand:
        """Return the control message."""
        return control.ControlCommand(
            disconnect=control.Disconnect(
                user=target.user,
                whitelist=list(self.whitelist),
                code=self.disconnect.code,
                reason=self.disconnect.reason,
                client=target.client,
                session=target.session,
            )
        )

    @classmethod
    def read(cls, part: control.Disconnect) -> "tuple[Target, DisconnectCommand]":
        """Return the target and the command of a control message."""
        return Target(part.user, part.client, part.session), cls(
            Disconnect(part.code, part.reason), part.whitelist
        )

    def apply(self, client: Client) -> None:
        """Close one connection."""
        if client.id not in self.whitelist:
            client.close(self.disconnect)


@frozen
class RefreshCommand:
    """Set the expiry of the connection, or close it if it is *expired*."""

    expired: bool
    expire_at: int
    info: Raw

    def message(self, target: Target) -> control.ControlCommand:
        """Return the control message."""
        return control.ControlCommand(
            refresh=control.Refresh(
                user=target.user,
                client=target.client,
                expired=self.expired,
                expire_at=self.expire_at,
                info=self.info,
                session=target.session,
            )
        )

    @classmethod
    def read(cls, part: control.Refresh) -> "tuple[Target, RefreshCommand]":
        """Return the target and the command of a control message."""
        return Target(part.user, part.client, part.session), cls(
            part.expired, part.expire_at, part.info
        )

    def apply(self, client: Client) -> None:
        """Refresh one connection."""
        server_side.refresh(client, self.expired, self.expire_at, self.info)


def _detach(
    coroutine: Coroutine[Deferred[Any], Any, None], client: Client, doing: str
) -> None:
    """Run *coroutine* without waiting; a failure closes the client's connection."""
    try:
        result = run_or_defer(coroutine)
    except Exception:
        client.fail(Failure(), doing)
        return
    if isinstance(result, Deferred):
        result.addErrback(client.fail, doing)


_READERS: dict[str, Callable[[Any], tuple[Target, ClientCommand]]] = {
    "subscribe": SubscribeCommand.read,
    "unsubscribe": UnsubscribeCommand.read,
    "disconnect": DisconnectCommand.read,
    "refresh": RefreshCommand.read,
}


@define(eq=False)
class ClientCommands:
    """Runs commands on all nodes, and receives the commands of other nodes."""

    _peers: Peers
    _connections: Connections[Client]

    def __attrs_post_init__(self) -> None:
        for part in _READERS:
            self._peers.handlers[part] = self._receiver(part)

    def run(self, target: Target, command: ClientCommand) -> Deferred[None]:
        """Apply *command* to the connections of *target*, on all nodes.

        :return: fires when the message is sent and the command is applied here.
        """
        sent = self._peers.send(command.message(target))
        return sent.addCallback(lambda _: self._apply(target, command))

    def _receiver(self, part: str) -> Callable[[str, Any], None]:
        read = _READERS[part]

        def receive(uid: str, message: Any) -> None:
            self._apply(*read(message))

        return receive

    def _apply(self, target: Target, command: ClientCommand) -> None:
        for client in self._connections.find(
            target.user, target.client, target.session
        ):
            command.apply(client)
