"""The seams of the system: every place where a second implementation can stand.

Methods that return a `Deferred` start at once.  Unless said otherwise they fail
with `BrokerUnavailable` when the storage behind them is away.
"""

from collections.abc import Callable, Sequence

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from zope.interface import Attribute, Interface

from .options import (
    Admission,
    ChannelOptions,
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
    Published,
    PublishOptions,
    SubscribeOptions,
    TransportInfo,
)
from .protocol.codes import Disconnect
from .protocol.messages import (
    ClientInfo,
    ConnectRequest,
    HistoryRequest,
    KeyedItem,
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

__all__ = [
    "Engine",
    "IBroker",
    "IBrokerEventHandler",
    "IClient",
    "IControlEventHandler",
    "IController",
    "IEmulatedTransport",
    "IMapBroker",
    "IMapEventHandler",
    "IPolicy",
    "IPresenceManager",
    "ITransport",
]


class ITransport(Interface):
    """Where a client's frames go."""

    wire: Wire = Attribute("The bytes this connection speaks; fixed once it spoke.")
    info: TransportInfo = Attribute("How the client came; fixed with the wire.")

    def write(frame: bytes) -> None:
        """Send one prebuilt frame, at the latest when the reactor's turn ends.

        Never blocks, never raises, also not after the connection is gone.
        """

    def close(disconnect: Disconnect) -> None:
        """Flush (not for 3000 and 3008), tell the peer why, and go.

        Called once; nothing is written after it.
        """

    def pause() -> None:
        """Read nothing more from the peer until `resume`."""

    def resume() -> None:
        """Read again; no error if it was not paused."""


class IEmulatedTransport(ITransport):
    """The way of a client whose commands come by other requests than its frames go."""

    busy: "Deferred[None] | None" = Attribute(
        "Between `pause` and `resume`, or the end: what those requests wait for."
    )


class IBrokerEventHandler(Interface):
    """What a broker calls: synchronously, in stream order per channel."""

    def handle_publication(
        channel: str,
        publication: Publication,
        position: StreamPosition,
        previous: Publication | None,
    ) -> None:
        """Deliver to this node's subscribers.

        :param position: where it stands; offset 0 for a channel without history.
        :param previous: the preceding publication of the stream; None unless the
            publisher asked for a delta and the stream still has it.
        """

    def handle_join(channel: str, info: ClientInfo) -> None:
        """Tell this node's subscribers that somebody came."""

    def handle_leave(channel: str, info: ClientInfo) -> None:
        """Tell this node's subscribers that somebody left."""

    def handle_gap(channels: Sequence[str]) -> None:
        """Take note that publications into *channels* may not have come here.

        From now on they come again; who is positioned must be compared with storage.
        """


class IBroker(Interface):
    """PUB/SUB and history (engines, "Broker")."""

    def listen(receiver: IBrokerEventHandler) -> None:
        """Name the one who gets the events; called once, before anything else."""

    def subscribe(channel: str) -> "Deferred[None]":
        """Make this node a receiver of *channel*.

        :return: fires when the backend has acknowledged it, not before.
        """

    def unsubscribe(channel: str) -> "Deferred[None]":
        """Undo `subscribe`."""

    def publish(
        channel: str, data: Raw, options: PublishOptions
    ) -> "Deferred[Published]":
        """Append to the stream and deliver to all nodes, as one step per channel."""

    def publish_join(channel: str, info: ClientInfo) -> "Deferred[None]":
        """Tell all nodes that somebody subscribed; never stored."""

    def publish_leave(channel: str, info: ClientInfo) -> "Deferred[None]":
        """Tell all nodes that somebody left; never stored."""

    def history(channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read part of the stream and its top; create the stream if there is none.

        Epochs are not compared here (engines, "Reading history").
        """

    def remove_history(channel: str) -> "Deferred[None]":
        """Forget the publications; offset and epoch go on."""


class IMapEventHandler(Interface):
    """What a map broker calls: synchronously, in stream order per channel."""

    def handle_change(
        channel: str,
        publication: Publication,
        position: StreamPosition,
        previous: Publication | None,
    ) -> None:
        """Deliver a change to this node's subscribers.

        :param publication: the key with its new value, or ``removed``.
        :param position: where it stands; offset 0 for a map without stream.
        :param previous: the previous value of the key; None unless the publisher
            asked for a delta and the key had one.
        """

    def handle_clear(channel: str) -> None:
        """Take note that somebody cleared the map: everybody must read it again."""

    def handle_gap(channels: Sequence[str]) -> None:
        """Take note that changes of *channels* may not have come here."""

    def handle_join(channel: str, info: ClientInfo) -> None:
        """Tell this node's subscribers that somebody came."""

    def handle_leave(channel: str, info: ClientInfo) -> None:
        """Tell this node's subscribers that somebody left."""

    def rules(channel: str) -> MapRules | None:
        """Return how *channel* is kept; None if this node knows no such map."""


class IMapBroker(Interface):
    """Keyed entries, a stream of their changes, and PUB/SUB of these.

    Publications have a ``key``; ``time`` is when they were published.  Epochs are not
    compared here.
    """

    def listen(receiver: IMapEventHandler) -> None:
        """Name the one who gets the events; called once, before anything else."""

    def subscribe(channel: str) -> "Deferred[None]":
        """Make this node a receiver of *channel*."""

    def unsubscribe(channel: str) -> "Deferred[None]":
        """Undo `subscribe`."""

    def publish(
        channel: str, key: str, data: Raw, change: MapChange
    ) -> "Deferred[MapChanged]":
        """Set a key, append that to the stream, and deliver it, as one step."""

    def remove(channel: str, key: str, change: MapChange) -> "Deferred[MapChanged]":
        """Take a key out, likewise.  Keys also go by themselves, by their TTL."""

    def state(channel: str, query: MapQuery) -> "Deferred[MapPage]":
        """Read entries; create the map if there is none.

        Pages that follow one another hold each entry that stays there meanwhile, in
        an order that is the broker's.  A page may be longer than the limit, or empty.

        :raises ReplyError: (as a failure) 107, the cursor is not one of this broker.
        """

    def stream(channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read changes and the top; create the map if there is none."""

    def size(channel: str) -> "Deferred[int]":
        """Return how many keys there are."""

    def clear(channel: str) -> "Deferred[None]":
        """Forget everything, the epoch too, and tell all nodes."""


class IPresenceManager(Interface):
    """Who is in a channel, over all nodes (engines, "Presence manager")."""

    def add(channel: str, client: str, info: ClientInfo) -> "Deferred[None]":
        """Enter, or renew, a client; the entry fades without renewal."""

    def remove(channel: str, client: str, user: str) -> "Deferred[None]":
        """Take a client out; no error if it is not there."""

    def presence(channel: str) -> "Deferred[dict[str, ClientInfo]]":
        """Return who is there, by client id."""

    def stats(channel: str) -> "Deferred[PresenceStats]":
        """Return how many are there."""


class IControlEventHandler(Interface):
    """What a controller calls."""

    def handle_control(message: bytes) -> None:
        """Take a message from a node; possibly this one's own.

        See engines, "Control messages".
        """


class IController(Interface):
    """Node to node, at most once."""

    def listen(receiver: IControlEventHandler, node: str) -> None:
        """Name the one who gets the messages, and the id of this node."""

    def publish(message: bytes, node: str = "") -> "Deferred[None]":
        """Send to one node, or to all of them including this one."""


def _at_once() -> "Deferred[None]":
    return succeed(None)


@frozen(eq=False)
class Engine:
    """A broker, a presence manager and a controller that belong together.

    ``maps`` is None if the engine keeps none.  ``start`` fires when the node may
    serve, ``stop`` when everything is closed.
    """

    broker: IBroker
    presence: IPresenceManager
    controller: IController
    start: Callable[[], "Deferred[None]"] = _at_once
    stop: Callable[[], "Deferred[None]"] = _at_once
    maps: IMapBroker | None = None


class IClient(Interface):
    """What a policy may know of a connection."""

    id: str = Attribute("The connection's own id, a UUID.")
    user: str = Attribute("The user id; empty for an anonymous user.")
    info: ClientInfo = Attribute("What others see of it.")
    meta: Raw = Attribute("What only the server sees of it.")
    transport: ITransport = Attribute("The way it came.")

    def subscribed(channel: str) -> bool:
        """Whether it is in *channel* now, by its own wish or the server's."""

    def channel_info(channel: str) -> Raw:
        """Return its ``chan_info`` in *channel*, absent when it has none."""


class IPolicy(Interface):
    """Who may do what, and with which options.

    Each may fail with `ReplyError` or `DisconnectClient`; anything else is logged
    and answered as an internal error.
    """

    def channel(name: str) -> ChannelOptions:
        """Return the options of a channel.

        :raises ReplyError: 102, its namespace is unknown.
        """

    def connect(client: IClient, request: ConnectRequest) -> "Deferred[Admission]":
        """Say who this is; ``client.user`` is not yet set.

        See permissions, "Authentication".
        """

    def refresh(client: IClient, request: RefreshRequest) -> "Deferred[Expiry]":
        """Prolong a connection: by the token given or, without one, by asking.

        An expired or wrong token is a `DisconnectClient`.
        """

    def subscribe(
        client: IClient, request: SubscribeRequest
    ) -> "Deferred[SubscribeOptions]":
        """Decide on a subscription (permissions, "Granted extras")."""

    def sub_refresh(client: IClient, request: SubRefreshRequest) -> "Deferred[Expiry]":
        """Prolong a subscription: by the token given or, without one, by asking."""

    def publish(
        client: IClient, request: PublishRequest
    ) -> "Deferred[PublishOptions | None]":
        """Decide on a publication; None: it was taken care of."""

    def change_map(
        client: IClient, request: PublishRequest
    ) -> "Deferred[tuple[str, MapChange]]":
        """Decide on a change of a map: under which key, and how."""

    def track(client: IClient, request: SubRefreshRequest) -> "Deferred[list[int]]":
        """Decide on the keys a client wants to track: all of them, or none.

        :return: until when it may, for each batch; 0: for good.
        """

    def poll(channel: str, items: Sequence[KeyedItem]) -> "Deferred[Polled]":
        """Ask the application for what is newer than *items* say."""

    def presence(client: IClient, channel: str) -> "Deferred[None]":
        """Decide whether the client may see who is in *channel*."""

    def history(client: IClient, request: HistoryRequest) -> "Deferred[HistoryQuery]":
        """Decide on a history request, and cut it to what is allowed."""

    def rpc(client: IClient, request: RPCRequest) -> "Deferred[Raw]":
        """Answer a call."""

    def message(client: IClient, data: Raw) -> None:
        """Take a message that gets no reply.

        :raises DisconnectClient: 3508, nobody is interested.
        """
