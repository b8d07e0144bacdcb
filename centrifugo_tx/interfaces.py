"""The interfaces of the system: every place that may have another implementation.

Methods that return a `Deferred` start at once.  Unless said otherwise they fail
with `BrokerUnavailable` when the storage behind them is away.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from attrs import field, frozen
from twisted.internet.defer import Deferred, succeed
from zope.interface import Attribute, Interface

from .options import (
    Admission,
    ChannelOptions,
    Departures,
    Expiry,
    History,
    HistoryQuery,
    MapChange,
    MapChanged,
    MapPage,
    MapQuery,
    MapRules,
    Polled,
    PresenceStats,
    Proof,
    Published,
    PublishOptions,
    SubscribeOptions,
    SubscriptionStream,
    TransportInfo,
)
from .protocol.codes import Disconnect
from .protocol.messages import (
    ClientInfo,
    ConnectRequest,
    HistoryRequest,
    KeyedItem,
    Payload,
    Publication,
    PublishRequest,
    Raw,
    RefreshRequest,
    RPCRequest,
    StreamPosition,
    SubRefreshRequest,
    SubscribeRequest,
)
from .protocol.wire import Wire
from .proxy_messages import ProxyEvent, ProxyResponse
from .typing import (
    Broker,
    Controller,
    MapBroker,
    PresenceManager,
    ReceiptStore,
)

__all__ = [
    "Engine",
    "IBroker",
    "IBrokerEventHandler",
    "IClient",
    "IControlEventHandler",
    "IController",
    "IEmulatedTransport",
    "IEventProxies",
    "IEventProxy",
    "IMapBroker",
    "IMapEventHandler",
    "IPolicy",
    "IPresenceManager",
    "IReceiptStore",
    "ITransport",
]


class ITransport(Interface):
    """The transport of one client."""

    wire: Wire = Attribute(
        "The encoding of the connection; fixed after the first message."
    )
    info: TransportInfo = Attribute("Facts about the transport; fixed with the wire.")
    peer_address: str = Attribute(
        "The IP address of the peer, or of a proxy before it; empty if unknown."
    )

    def write(frame: bytes) -> None:
        """Send one encoded frame, at the latest at the end of the reactor's turn.

        Never blocks and never raises, even after the connection is lost.
        """

    def close(disconnect: Disconnect) -> None:
        """Flush (except for 3000 and 3008), send the reason, and close.

        Called once; nothing is written afterwards.
        """

    def pause() -> None:
        """Stop reading from the peer until `resume`."""

    def resume() -> None:
        """Resume reading; no error if reading was not paused."""


class IEmulatedTransport(ITransport):
    """The transport of a client that sends commands in separate requests."""

    busy: "Deferred[None] | None" = Attribute(
        "Between `pause` and `resume`, or the end: what those requests wait for."
    )


class IBrokerEventHandler(Interface):
    """Receives the events of a broker: synchronously, in stream order per channel."""

    def handle_publication(
        channel: str,
        publication: Publication,
        position: StreamPosition,
        previous: Publication | None,
    ) -> None:
        """Deliver a publication to the subscribers on this node.

        :param position: its position; offset 0 for a channel without history.
        :param previous: the preceding publication of the stream; None unless the
            publisher asked for a delta and the stream still has it.
        """

    def handle_join(channel: str, info: ClientInfo) -> None:
        """Deliver a join to the subscribers on this node."""

    def handle_leave(channel: str, info: ClientInfo) -> None:
        """Deliver a leave to the subscribers on this node."""

    def handle_gap(channels: Sequence[str]) -> None:
        """Handle a gap: publications into *channels* may have been lost on this node.

        Delivery works again; positioned subscribers must be compared with storage.
        """


class IBroker(Interface):
    """PUB/SUB and history (engines, "Broker")."""

    publishes_in_order: bool = Attribute(
        "Whether publishes take effect in the order of the calls, in all channels."
    )

    def listen(receiver: IBrokerEventHandler) -> None:
        """Set the receiver of events; called once, before any other method."""

    def subscribe(channel: str) -> "Deferred[None]":
        """Make this node a receiver of *channel*.

        :return: fires when the backend has acknowledged it, not before.
        """

    def unsubscribe(channel: str) -> "Deferred[None]":
        """Undo `subscribe`."""

    def publish(
        channel: str, data: Payload, options: PublishOptions
    ) -> "Published | Deferred[Published]":
        """Append to the stream and deliver to all nodes, as one step per channel.

        :return: the result, or a Deferred if it is not known at once.  It does not
            raise: an exception is a failure of the Deferred.
        """

    def publish_join(channel: str, info: ClientInfo) -> "Deferred[None]":
        """Announce on all nodes that a client subscribed; never stored."""

    def publish_leave(channel: str, info: ClientInfo) -> "Deferred[None]":
        """Announce on all nodes that a client left; never stored."""

    def history(channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read part of the stream and its top; create the stream if there is none.

        Epochs are not compared here (engines, "Reading history").
        """

    def remove_history(channel: str) -> "Deferred[None]":
        """Remove the publications; offset and epoch continue."""


class IMapEventHandler(Interface):
    """Receives events of a map broker: synchronously, in stream order per channel."""

    def handle_change(
        channel: str,
        publication: Publication,
        position: StreamPosition,
        previous: Publication | None,
    ) -> None:
        """Deliver a change to the subscribers on this node.

        :param publication: the key with its new value, or ``removed``.
        :param position: its position; offset 0 for a map without a stream.
        :param previous: the previous value of the key; None unless the publisher
            asked for a delta and the key had one.
        """

    def handle_clear(channel: str) -> None:
        """Handle a cleared map: all subscribers must read it again."""

    def handle_gap(channels: Sequence[str]) -> None:
        """Handle a gap: changes of *channels* may have been lost on this node."""

    def handle_join(channel: str, info: ClientInfo) -> None:
        """Deliver a join to the subscribers on this node."""

    def handle_leave(channel: str, info: ClientInfo) -> None:
        """Deliver a leave to the subscribers on this node."""

    def rules(channel: str) -> MapRules | None:
        """Return the rules of the map; None if this node knows no such map."""


class IMapBroker(Interface):
    """Keyed entries, a stream of their changes, and PUB/SUB of these.

    Publications have a ``key``; ``time`` is when they were published.  Epochs are not
    compared here.
    """

    def listen(receiver: IMapEventHandler) -> None:
        """Set the receiver of events; called once, before any other method."""

    def subscribe(channel: str) -> "Deferred[None]":
        """Make this node a receiver of *channel*."""

    def unsubscribe(channel: str) -> "Deferred[None]":
        """Undo `subscribe`."""

    def publish(
        channel: str, key: str, data: Payload, change: MapChange
    ) -> "Deferred[MapChanged]":
        """Set a key, append the change to the stream, and deliver it, in one step."""

    def remove(channel: str, key: str, change: MapChange) -> "Deferred[MapChanged]":
        """Remove a key, likewise.  Keys are also removed when their TTL ends."""

    def state(channel: str, query: MapQuery) -> "Deferred[MapPage]":
        """Read entries; create the map if there is none.

        Pages that follow one another hold each entry that stays there meanwhile, in
        an order that is the broker's.  A page may be longer than the limit, or empty.

        :raises ReplyError: (as a failure) 107, the cursor is not one of this broker.
        """

    def stream(channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read changes and the top; create the map if there is none."""

    def size(channel: str) -> "Deferred[int]":
        """Return the number of keys."""

    def clear(channel: str) -> "Deferred[None]":
        """Remove all data, including the epoch, and announce it on all nodes."""


class IPresenceManager(Interface):
    """Presence of channels on all nodes (engines, "Presence manager")."""

    def add(channel: str, client: str, info: ClientInfo) -> "Deferred[None]":
        """Add or renew a client; the entry expires without renewal."""

    def remove(channel: str, client: str, user: str) -> "Deferred[None]":
        """Remove a client; no error if it is absent."""

    def presence(channel: str) -> "Deferred[dict[str, ClientInfo]]":
        """Return the present clients by client id."""

    def stats(channel: str) -> "Deferred[PresenceStats]":
        """Return the numbers of present clients and users."""


class IReceiptStore(Interface):
    """What users had received of channels when they left."""

    def left(channel: str, user: str, proof: Proof, ttl: float) -> "Deferred[None]":
        """Remember *proof*, in place of an earlier one of *user*.

        :param ttl: seconds, from now, for which all departures of *channel* are kept.
        """

    def returned(channel: str, user: str) -> "Deferred[None]":
        """Forget the departure of *user*; no error if there is none."""

    def departures(channel: str, cursor: str) -> "Deferred[Departures]":
        """Read one page; a user may be in several of them.

        :param cursor: that of the page before; empty for the first page.
        """


class IControlEventHandler(Interface):
    """Receives the messages of a controller."""

    def handle_control(message: bytes) -> None:
        """Handle a message from a node, possibly from this node itself.

        See engines, "Control messages".
        """


class IController(Interface):
    """Carries messages between nodes, at most once."""

    def listen(receiver: IControlEventHandler, node: str) -> None:
        """Set the receiver of messages and the id of this node."""

    def publish(message: bytes, node: str = "") -> "Deferred[None]":
        """Send to one node, or to all of them including this one."""


def _at_once() -> "Deferred[None]":
    return succeed(None)


# The parts of an engine are given as what type checkers without a plugin understand.


def _as_broker(broker: Broker | IBroker) -> IBroker:
    return cast(IBroker, broker)


def _as_presence(presence: PresenceManager | IPresenceManager) -> IPresenceManager:
    return cast(IPresenceManager, presence)


def _as_controller(controller: Controller | IController) -> IController:
    return cast(IController, controller)


def _as_maps(maps: MapBroker | IMapBroker | None) -> IMapBroker | None:
    return cast("IMapBroker | None", maps)


def _as_receipts(store: ReceiptStore | IReceiptStore | None) -> IReceiptStore | None:
    return cast("IReceiptStore | None", store)


@frozen(eq=False)
class Engine:
    """A broker, a presence manager and a controller that belong together.

    ``maps`` and ``receipts`` are None if the engine keeps none.  ``start`` fires when
    the node may serve, ``stop`` when everything is closed.
    """

    broker: IBroker = field(converter=_as_broker)
    presence: IPresenceManager = field(converter=_as_presence)
    controller: IController = field(converter=_as_controller)
    start: Callable[[], "Deferred[None]"] = _at_once
    stop: Callable[[], "Deferred[None]"] = _at_once
    maps: IMapBroker | None = field(default=None, converter=_as_maps)
    receipts: IReceiptStore | None = field(default=None, converter=_as_receipts)


class IClient(Interface):
    """The part of a connection that a policy may read."""

    id: str = Attribute("The connection's own id, a UUID.")
    user: str = Attribute("The user id; empty for an anonymous user.")
    info: ClientInfo = Attribute("The info that other clients see.")
    meta: Raw = Attribute("Metadata that only the server sees.")
    transport: ITransport = Attribute("The transport of the connection.")
    closed: bool = Attribute("Whether the connection has ended.")
    emulated_headers: Mapping[str, str] = Attribute(
        "Headers of its connect command that calls to the backend need, in lower case."
    )

    def cancel_on_close(call: "Deferred[Any]") -> None:
        """Cancel *call* if the connection ends before it fires."""

    def subscribed(channel: str) -> bool:
        """Whether it is subscribed to *channel* now, by client or server."""

    def channel_info(channel: str) -> Raw:
        """Return its ``chan_info`` in *channel*, absent when it has none."""

    def stream_of(channel: str) -> SubscriptionStream | None:
        """Return the backend's stream of its subscription to *channel*."""


class IPolicy(Interface):
    """Decides what clients may do, and with which options.

    Each may fail with `ReplyError` or `DisconnectClient`; anything else is logged
    and answered as an internal error.  Decisions on the most frequent commands need no
    Deferred if they are known at once.
    """

    def channel(name: str) -> ChannelOptions:
        """Return the options of a channel.

        :raises ReplyError: 102, its namespace is unknown.
        """

    def connect(client: IClient, request: ConnectRequest) -> "Deferred[Admission]":
        """Authenticate a client; ``client.user`` is not set yet.

        See permissions, "Authentication".
        """

    def refresh(client: IClient, request: RefreshRequest) -> "Deferred[Expiry]":
        """Prolong a connection: by the given token or, without one, by the backend.

        An expired or wrong token is a `DisconnectClient`.
        """

    def subscribe(
        client: IClient, request: SubscribeRequest
    ) -> "SubscribeOptions | Deferred[SubscribeOptions]":
        """Decide on a subscription (permissions, "Granted extras")."""

    def sub_refresh(client: IClient, request: SubRefreshRequest) -> "Deferred[Expiry]":
        """Prolong a subscription by the given token or, without one, by the backend."""

    def publish(
        client: IClient, request: PublishRequest
    ) -> "PublishOptions | Deferred[PublishOptions | None] | None":
        """Decide on a publication; None: it has already been handled."""

    def change_map(
        client: IClient, request: PublishRequest
    ) -> "Deferred[tuple[str, MapChange]]":
        """Decide on a change of a map: under which key, and how."""

    def track(client: IClient, request: SubRefreshRequest) -> "Deferred[list[int]]":
        """Decide on the keys a client wants to track: all of them, or none.

        :return: the expiry time of each batch, Unix seconds; 0: never.
        """

    def poll(channel: str, items: Sequence[KeyedItem]) -> "Deferred[Polled]":
        """Ask the application for keys that are newer than *items*."""

    def presence(client: IClient, channel: str) -> "Deferred[None] | None":
        """Decide whether the client may read the presence of *channel*."""

    def history(client: IClient, request: HistoryRequest) -> "Deferred[HistoryQuery]":
        """Decide on a history request, and reduce it to the allowed limit."""

    def rpc(client: IClient, request: RPCRequest) -> "Raw | Deferred[Raw]":
        """Answer a call."""

    def message(client: IClient, data: Raw) -> None:
        """Handle a message that receives no reply.

        :raises DisconnectClient: 3508, no application receives messages.
        """


class IEventProxy(Interface):
    """Asks the application's backend about one kind of event."""

    def ask(
        client: IClient, event: Any, emulated: Mapping[str, str] | None = None
    ) -> "Deferred[ProxyResponse[Any]]":
        """Send an event of *client* to the backend.

        :param event: the request, without the fields that the proxy fills in (see
            `ClientEvent`).
        :param emulated: headers of the connect command; None: the client's own.
        :raises ReplyError: (as a failure) 100, the backend gave no valid response.
        :raises DisconnectClient: (as a failure) 3000, the client has gone.
        """


class IEventProxies(Interface):
    """The proxies that are configured."""

    def find(event: ProxyEvent, name: str = "default") -> IEventProxy | None:
        """Return the proxy called *name* for an event; None if it does not exist."""

    def keep_headers(given: Mapping[str, str]) -> Mapping[str, str]:
        """Return the emulated headers that any proxy forwards, in lower case."""
