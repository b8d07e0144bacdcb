"""One connection: its identity, subscriptions, replies and pushes."""

from collections.abc import Callable, Mapping, Sequence
from sys import intern
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import (
    DisconnectClient,
    EncodeError,
)
from ...interfaces import IClient, ITransport
from ...options import Admission, PublishOptions, SubscriptionStream
from ...protocol.codes import (
    CONNECTION_CLOSED,
    INAPPROPRIATE_PROTOCOL,
    MALFORMED,
    SERVER_ERROR,
    SHUTDOWN,
    SLOW,
    Disconnect,
    Error,
    Unsubscribe,
    as_disconnect,
)
from ...protocol.messages import (
    EMPTY,
    ClientInfo,
    Connect,
    ConnectResult,
    Publication,
    Push,
    Raw,
    Reply,
)
from ...protocol.payloads import checked
from ..command_scheduler import UNIT
from ..node_metrics import ClientCounters, MessageCounters, frame_type_of
from ..runtime import Runtime
from .command_methods import MethodTables
from .command_queue import CommandQueue
from .connections import (
    CLOSED,
    CONNECTED,
    CONNECTING,
    NEW,
    REFUSED,
    Connections,
    State,
    random_ids,
)
from .deadlines import Deadlines
from .outcome import Answer
from .services import Services
from .stream_kind import StreamKind
from .subscription import Subscription

__all__ = ["Client", "Handler", "Sessions"]

#: Seconds that clients have to disconnect when the node stops.
STOP_TIMEOUT = 6.0

#: Characters that are kept of a library's name and of its version.
LIBRARY = 64

_ANONYMOUS = ClientInfo("", "")
_NO_HEADERS: Mapping[str, str] = {}

#: Handles the request of one command.
Handler = Callable[["Client", Any], Answer]


@define(eq=False)
class Sessions:
    """Creates the clients of a node and holds what they share."""

    runtime: Runtime
    services: Services
    streams: StreamKind
    methods: "MethodTables[Client]" = field(init=False)
    connections: "Connections[Client]" = field(factory=Connections, init=False)
    stopping: bool = field(default=False, init=False)
    _all_closed: Deferred[None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.methods = MethodTables(self.runtime.metrics)

    def connect(self, transport: ITransport) -> "Client":
        """Return a client for a new connection, for its transport to call."""
        client = Client(self, transport)
        self.connections.open[client] = None
        self.services.journal.opened(client)
        if self.stopping:
            client.close(SHUTDOWN)
        else:
            client.deadlines.opened()
        return client

    def disconnected(self, client: "Client") -> None:
        """Remove a connection that is closed."""
        self.connections.open.pop(client, None)
        self.services.journal.completed(client)
        if self._all_closed is not None and not self.connections.open:
            waiting, self._all_closed = self._all_closed, None
            waiting.callback(None)

    def stop(self) -> Deferred[None]:
        """Close every connection, now and from now on, with 3001.

        :return: fires when all are closed, after 6 seconds at most.
        """
        self.stopping = True
        for client in list(self.connections.open):
            client.close(SHUTDOWN)
        if not self.connections.open:
            return succeed(None)
        all_closed = self._all_closed = Deferred()
        return all_closed.addTimeout(
            STOP_TIMEOUT, self.runtime.clock, self._stop_timed_out
        )

    def _stop_timed_out(self, _: object, timeout: float) -> None:
        self._all_closed = None


@implementer(IClient)
@define(eq=False)
class Client:
    """One connection on this node.

    `Sessions.connect` creates it; its transport calls `receive` and `transport_lost`.
    """

    sessions: Sessions
    transport: ITransport
    runtime: Runtime = field(init=False)
    services: Services = field(init=False)
    id: str = field(factory=random_ids.next, init=False)
    user: str = field(default="", init=False)
    info: ClientInfo = field(default=_ANONYMOUS, init=False)
    meta: Raw = field(default=EMPTY, init=False)
    session: str = field(default="", init=False)
    expire_at: int = field(default=0, init=False)
    server_side_refresh: bool = field(default=False, init=False)
    state: State = field(default=State.NEW, init=False)
    #: The moment of the last ping that it has answered, and when its pong came.
    answered: int = field(default=0, init=False)
    answered_at: float = field(default=0.0, init=False)
    #: Name and version of the client library, as it says.
    library: str = field(default="", init=False)
    library_version: str = field(default="", init=False)
    #: The error that answered its connect, if any.
    refusal: Error | None = field(default=None, init=False)
    subscriptions: dict[str, Subscription] = field(factory=dict, init=False)
    #: Set while the client is registered.
    counters: ClientCounters | None = field(default=None, init=False)
    deadlines: Deadlines = field(init=False)
    queue: CommandQueue["Client"] = field(init=False)
    #: The last options to publish with, and their copy with this client's info.
    _publish_options: tuple[PublishOptions, ClientInfo, PublishOptions] | None = field(
        default=None, init=False
    )
    emulated_headers: Mapping[str, str] = field(default=_NO_HEADERS, init=False)
    #: Calls to the backend, to cancel when the connection closes.
    _calls: "dict[Deferred[Any], None] | None" = field(default=None, init=False)
    #: Deferreds that fire when the connect is finished.
    _connect_waiters: list[Deferred[None]] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.runtime, self.services = self.sessions.runtime, self.sessions.services
        self.deadlines = Deadlines(self)
        self.queue = CommandQueue(self, self.sessions.methods.of(self.transport))

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""
        return self.state is CLOSED

    def ensure_open(self) -> None:
        """Stop a handler whose client was closed while it waited.

        :raises DisconnectClient: 3000, the client is closed.
        """
        if self.state is CLOSED:
            raise DisconnectClient(CONNECTION_CLOSED)

    @property
    def refused(self) -> bool:
        """Whether its connect was answered with an error."""
        return self.state is REFUSED

    @property
    def speaks_v1(self) -> bool:
        """Whether it speaks version 1 of the protocol.

        See client protocol v1, "Differences".
        """
        return self.transport.wire.version == 1

    @property
    def answers_pings(self) -> bool:
        """Whether it must answer pings of the client protocol."""
        return self.state is not CLOSED and self.deadlines.pongs

    # --- Queries of policies ---------------------------------------------------

    def subscribed(self, channel: str) -> bool:
        """Whether it is subscribed to *channel*, by itself or by the server."""
        subscription = self.subscriptions.get(channel)
        return subscription is not None and subscription.active

    def channel_info(self, channel: str) -> Raw:
        """Return its ``chan_info`` in *channel*, `EMPTY` if it has none."""
        return self.info_in(channel).chan_info

    def info_in(self, channel: str) -> ClientInfo:
        """Return the client info that subscribers of *channel* see."""
        subscription = self.subscriptions.get(channel)
        if subscription is None or subscription.info is None:
            return self.info
        return subscription.info

    def stream_of(self, channel: str) -> SubscriptionStream | None:
        """Return the backend's stream of its subscription to *channel*."""
        subscription = self.subscriptions.get(channel)
        active = subscription is not None and subscription.active
        return subscription.stream if subscription is not None and active else None

    def cancel_on_close(self, call: "Deferred[Any]") -> None:
        """Cancel *call* if the connection closes before it fires."""
        calls = self._calls
        if calls is None:
            calls = self._calls = {}
        calls[call] = None

        def done(result: object) -> object:
            del calls[call]
            return result

        call.addBoth(done)

    def update_info(self, conn_info: Raw) -> None:
        """Set the ``conn_info`` that subscribers of all its channels see."""
        self.info = ClientInfo(self.user, self.id, checked(conn_info))
        for subscription in self.subscriptions.values():
            subscription.update_info()

    def as_publisher(self, options: PublishOptions, channel: str) -> PublishOptions:
        """Return *options* with this client as the publisher."""
        info, last = self.info_in(channel), self._publish_options
        if last is None or last[0] is not options or last[1] is not info:
            made = msgspec.structs.replace(options, info=info)
            last = self._publish_options = options, info, made
        return last[2]

    # --- Steps of connect ------------------------------------------------------

    def begin_connect(self) -> None:
        """Accept the first connect command.

        :raises DisconnectClient: 3501, there was one before.
        """
        if self.state is not NEW:
            raise DisconnectClient(MALFORMED, "client already authenticated")
        self.state = CONNECTING

    def admit(self, admission: Admission) -> None:
        """Take the identity that the policy has given it."""
        self.user = admission.user
        self.info = ClientInfo(admission.user, self.id, checked(admission.info))
        self.meta = admission.meta
        self.server_side_refresh = admission.server_side_refresh
        self.emulated_headers = admission.emulated_headers

    def register(self, name: str, version: str) -> None:
        """Register the client with the node's connections, and count it.

        :param name: the client library's name as requested; *version* is its version.
        """
        # Many clients have the same, which is then kept once.
        self.library = intern(name[:LIBRARY])
        self.library_version = intern(version[:LIBRARY])
        metrics = self.runtime.metrics
        self.counters = metrics.counters_for_client(self.transport.info, name, version)
        metrics.count_connected(self.counters)
        self.sessions.connections.add(self)

    def unregister(self) -> None:
        """Remove the client from the node's connections, and end its subscriptions."""
        self.sessions.connections.remove(self)
        for subscription in list(self.subscriptions.values()):
            subscription.end()
        self.subscriptions = {}
        counters, self.counters = self.counters, None
        if counters is not None:
            self.runtime.metrics.count_disconnected(counters)

    def connected(self) -> None:
        """Accept commands other than connect."""
        self.state = CONNECTED
        self.services.journal.authenticated(self)

    def when_connect_finished(self) -> "Deferred[None]":
        """Return a Deferred that fires when no connect command is running."""
        if self.state is not CONNECTING:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        if self._connect_waiters is None:
            self._connect_waiters = []
        self._connect_waiters.append(waiting)
        return waiting

    def connect_finished(self) -> None:
        """Fire the Deferreds of `when_connect_finished`."""
        waiters, self._connect_waiters = self._connect_waiters, None
        for waiting in waiters or ():
            waiting.callback(None)

    # --- Commands in -----------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Handle one message of the transport: one or more commands."""
        if self.state is not CLOSED and self.state is not REFUSED:
            self.queue.receive(data)

    def refuse(self, error: Error) -> None:
        """End a connect with *error*; the connection is of no further use.

        See client protocol, "Connect".  The transport keeps reading, so that the
        client's close frame is seen, and later commands are ignored.  A client that
        does not close is disconnected as stale.
        """
        self.state, self.refusal = REFUSED, error
        if self.queue.clear():
            self.transport.resume()
        self.connect_finished()
        if self.transport.info.unidirectional:
            disconnect = self.runtime.options.disconnects.get(error.code)
            self.close_quietly(disconnect or as_disconnect(error))

    # --- Replies and pushes out ------------------------------------------------

    def check_size(self, publications: Sequence[Publication]) -> int:
        """Return how many bytes the payloads of *publications* have.

        :raises DisconnectClient: 3008, a reply with them exceeds ``queue_max_size``.
        """
        size = sum(len(publication.data) for publication in publications)
        if size > self.runtime.options.queue_max_size:
            raise DisconnectClient(SLOW)
        return size

    def reply(self, reply: Reply, counters: MessageCounters) -> None:
        """Send a reply, and count it.

        Unidirectional wires send the connect reply as a push.
        """
        wire = self.transport.wire
        if wire.unidirectional and isinstance(reply.connect, ConnectResult):
            result = reply.connect
            self.push(
                Push(connect=Connect(*(getattr(result, f) for f in _CONNECT_FIELDS)))
            )
            return
        try:
            frame = wire.reply(reply)
        except EncodeError:
            self.close(INAPPROPRIATE_PROTOCOL)
            return
        size = len(frame)
        if size >= UNIT:
            self.queue.allowance -= size // UNIT
        counters.messages += 1
        counters.size += size
        self.transport.write(frame)

    def push(self, push: Push) -> None:
        """Send a push."""
        wire = self.transport.wire
        try:
            frame = wire.push(push)
        except EncodeError:
            self.close(INAPPROPRIATE_PROTOCOL)
            return
        self._count_sent(frame_type_of(push), len(frame))
        self.transport.write(frame)

    def count_disconnect_push(self, size: int) -> None:
        """Count the disconnect push of *size* bytes that the transport has sent."""
        self._count_sent("push_disconnect", size)

    def _count_sent(self, kind: str, size: int) -> None:
        transport_counters = self.runtime.metrics.transport_counters
        transport_counters.sent[self.transport.wire.transport, kind].add(1, size)

    def ping(self) -> None:
        """Send a ping of the client protocol."""
        wire = self.transport.wire
        self._count_sent("server_ping", len(wire.ping))
        self.services.journal.pinged(self)
        self.transport.write(wire.ping)

    def ask_for_receipt(self) -> None:
        """Send a ping soon, at most one each second, if the client answers pings."""
        if self.state is CONNECTED:
            self.deadlines.ask_for_receipt()

    def receipt_came(self, earlier: int, moment: int) -> None:
        """Observe how long the publications took that a pong has confirmed.

        :param earlier: the moment of the last ping that had been answered before.
        """
        now = self.answered_at
        for subscription in self.subscriptions.values():
            subscription.observe_receipt(earlier, moment, now)

    # --- Closing ---------------------------------------------------------------

    def forget(self, subscription: Subscription) -> None:
        """End a subscription without telling the client."""
        if self.subscriptions.get(subscription.name) is subscription:
            del self.subscriptions[subscription.name]
        subscription.end()

    def forget_ended(self) -> None:
        """Remove subscriptions that have already ended."""
        for subscription in list(self.subscriptions.values()):
            if subscription.ended:
                self.forget(subscription)

    def unsubscribe(self, name: str, reason: Unsubscribe) -> None:
        """End the subscription to *name* and tell the client."""
        subscription = self.subscriptions.get(name)
        if subscription is not None:
            self.forget(subscription)
        if self.state is CONNECTED:
            self.runtime.metrics.count_server_unsubscribe(reason)
            self.push(Push(channel=name, unsubscribe=reason))

    def expire(self, expire_at: int) -> None:
        """Set the connection's expiry to *expire_at* (seconds since 1970; 0: never)."""
        self.deadlines.expire(expire_at)

    def close(self, disconnect: Disconnect) -> None:
        """Log the reason, close the connection and tell the client why."""
        if self.state is not CLOSED:
            self.services.client_log.closing(self, disconnect)
            self.close_quietly(disconnect)

    def close_quietly(self, disconnect: Disconnect) -> None:
        """Close the connection without logging the reason; the caller has."""
        if self.state is CLOSED:
            return
        self.services.journal.closing(self, disconnect.code, disconnect.reason)
        self._leave()
        if disconnect is not CONNECTION_CLOSED:
            self.runtime.metrics.count_server_disconnect(disconnect)
        self.transport.close(disconnect)

    def transport_lost(self) -> None:
        """Clean up; called by the transport when the connection is lost."""
        if self.state is not CLOSED:
            self._leave()
        self.sessions.disconnected(self)

    def fail(self, failure: Failure, doing: str) -> None:
        """End the connection after an unexpected error outside any command."""
        if isinstance(failure.value, DisconnectClient):
            self.close(failure.value.disconnect)
        else:
            self.services.client_log.unexpected(self, doing, failure)
            self.close(SERVER_ERROR)

    def _leave(self) -> None:
        """Remove everything that the node holds of this client."""
        self.state = CLOSED
        self.queue.clear()
        self.deadlines.stop()
        del self.queue, self.deadlines  # break the reference cycles
        self.unregister()
        self.connect_finished()
        for call in list(self._calls or ()):
            call.cancel()

    def ttl(self, expire_at: int) -> int:
        """Return the seconds until *expire_at*, rounded up, at least 1.

        See client protocol, "Results".
        """
        return max(1, expire_at - int(self.runtime.clock.seconds()))


_CONNECT_FIELDS = Connect.__struct_fields__
