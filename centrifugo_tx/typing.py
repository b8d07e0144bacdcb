"""The interfaces of `centrifugo_tx` for type checkers that have no plugin for zope.

Each protocol describes the same object as the zope interface with an ``I`` before its
name: `Broker` and ``IBroker``, `Client` and ``IClient``.  `PolicyProtocol` belongs to
``IPolicy``; ``Policy`` itself is the class that applications extend.
``tests/test_typing.py`` keeps the two forms equal.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, Union

from twisted.internet.defer import Deferred

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

__all__ = [
    "Broker",
    "BrokerEventHandler",
    "Client",
    "Clock",
    "ControlEventHandler",
    "Controller",
    "Decision",
    "DelayedCall",
    "MapBroker",
    "MapEventHandler",
    "PolicyProtocol",
    "PresenceManager",
    "ReceiptStore",
    "Transport",
]

T = TypeVar("T")

#: What a method of a policy may return: the decision, or an awaitable of it.
Decision = Union[T, Awaitable[T]]  # noqa: UP007  # generic aliases need Union


class DelayedCall(Protocol):
    """A call that a clock will make."""

    def cancel(self) -> None:
        """Cancel the call."""

    def active(self) -> bool:
        """Whether the call is neither made nor cancelled."""


class Clock(Protocol):
    """A source of time, such as a reactor or ``twisted.internet.task.Clock``."""

    def seconds(self) -> float:
        """Return the time, in seconds since 1970 for a reactor."""

    def callLater(
        self, delay: float, callable: Any, *args: object, **kwargs: object
    ) -> DelayedCall:
        """Call *callable* after *delay* seconds."""


class Transport(Protocol):
    """The transport of one client."""

    @property
    def wire(self) -> Wire:
        """The encoding of the connection; fixed after the first message."""

    @property
    def info(self) -> TransportInfo:
        """Facts about the transport; fixed with the wire."""

    @property
    def peer_address(self) -> str:
        """The IP address of the peer, or of a proxy before it; empty if unknown."""

    def write(self, frame: bytes) -> None:
        """Send one encoded frame, at the latest at the end of the reactor's turn.

        Never blocks and never raises, even after the connection is lost.
        """

    def close(self, disconnect: Disconnect) -> None:
        """Flush (except for 3000 and 3008), send the reason, and close.

        Called once; nothing is written afterwards.
        """

    def pause(self) -> None:
        """Stop reading from the peer until `resume`."""

    def resume(self) -> None:
        """Resume reading; no error if reading was not paused."""


class BrokerEventHandler(Protocol):
    """Receives the events of a broker: synchronously, in stream order per channel."""

    def handle_publication(
        self,
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

    def handle_join(self, channel: str, info: ClientInfo) -> None:
        """Deliver a join to the subscribers on this node."""

    def handle_leave(self, channel: str, info: ClientInfo) -> None:
        """Deliver a leave to the subscribers on this node."""

    def handle_gap(self, channels: Sequence[str]) -> None:
        """Handle a gap: publications into *channels* may have been lost here."""


class Broker(Protocol):
    """PUB/SUB and history.  Calls fail with `BrokerUnavailable` if storage is away.

    ``publishes_in_order``: publishes take effect in the order of the calls, in all
    channels.
    """

    publishes_in_order: bool

    def listen(self, receiver: BrokerEventHandler) -> None:
        """Set the receiver of events; called once, before any other method."""

    def subscribe(self, channel: str) -> "Deferred[None]":
        """Make this node a receiver of *channel*.

        :return: fires when the backend has acknowledged it, not before.
        """

    def unsubscribe(self, channel: str) -> "Deferred[None]":
        """Undo `subscribe`."""

    def publish(
        self, channel: str, data: Payload, options: PublishOptions
    ) -> "Published | Deferred[Published]":
        """Append to the stream and deliver to all nodes, as one step per channel.

        :return: the result, or a Deferred if it is not known at once.  It does not
            raise: an exception is a failure of the Deferred.
        """

    def publish_join(self, channel: str, info: ClientInfo) -> "Deferred[None]":
        """Announce on all nodes that a client subscribed; never stored."""

    def publish_leave(self, channel: str, info: ClientInfo) -> "Deferred[None]":
        """Announce on all nodes that a client left; never stored."""

    def history(self, channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read part of the stream and its top; create the stream if there is none."""

    def remove_history(self, channel: str) -> "Deferred[None]":
        """Remove the publications; offset and epoch continue."""


class MapEventHandler(Protocol):
    """Receives events of a map broker: synchronously, in stream order per channel."""

    def handle_change(
        self,
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

    def handle_clear(self, channel: str) -> None:
        """Handle a cleared map: all subscribers must read it again."""

    def handle_gap(self, channels: Sequence[str]) -> None:
        """Handle a gap: changes of *channels* may have been lost on this node."""

    def handle_join(self, channel: str, info: ClientInfo) -> None:
        """Deliver a join to the subscribers on this node."""

    def handle_leave(self, channel: str, info: ClientInfo) -> None:
        """Deliver a leave to the subscribers on this node."""

    def rules(self, channel: str) -> MapRules | None:
        """Return the rules of the map; None if this node knows no such map."""


class MapBroker(Protocol):
    """Keyed entries, a stream of their changes, and PUB/SUB of these."""

    def listen(self, receiver: MapEventHandler) -> None:
        """Set the receiver of events; called once, before any other method."""

    def subscribe(self, channel: str) -> "Deferred[None]":
        """Make this node a receiver of *channel*."""

    def unsubscribe(self, channel: str) -> "Deferred[None]":
        """Undo `subscribe`."""

    def publish(
        self, channel: str, key: str, data: Payload, change: MapChange
    ) -> "Deferred[MapChanged]":
        """Set a key, append the change to the stream, and deliver it, in one step."""

    def remove(
        self, channel: str, key: str, change: MapChange
    ) -> "Deferred[MapChanged]":
        """Remove a key, likewise.  Keys are also removed when their TTL ends."""

    def state(self, channel: str, query: MapQuery) -> "Deferred[MapPage]":
        """Read entries; create the map if there is none."""

    def stream(self, channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read changes and the top; create the map if there is none."""

    def size(self, channel: str) -> "Deferred[int]":
        """Return the number of keys."""

    def clear(self, channel: str) -> "Deferred[None]":
        """Remove all data, including the epoch, and announce it on all nodes."""


class PresenceManager(Protocol):
    """Presence of channels on all nodes."""

    def add(self, channel: str, client: str, info: ClientInfo) -> "Deferred[None]":
        """Add or renew a client; the entry expires without renewal."""

    def remove(self, channel: str, client: str, user: str) -> "Deferred[None]":
        """Remove a client; no error if it is absent."""

    def presence(self, channel: str) -> "Deferred[dict[str, ClientInfo]]":
        """Return the present clients by client id."""

    def stats(self, channel: str) -> "Deferred[PresenceStats]":
        """Return the numbers of present clients and users."""


class ReceiptStore(Protocol):
    """What users had received of channels when they left."""

    def left(
        self, channel: str, user: str, proof: Proof, ttl: float
    ) -> "Deferred[None]":
        """Remember *proof*, in place of an earlier one of *user*."""

    def returned(self, channel: str, user: str) -> "Deferred[None]":
        """Forget the proof of *user*; no error if there is none."""

    def departures(self, channel: str, cursor: str) -> "Deferred[Departures]":
        """Read one page; a user may be in several of them."""


class ControlEventHandler(Protocol):
    """Receives the messages of a controller."""

    def handle_control(self, message: bytes) -> None:
        """Handle a message from a node, possibly from this node itself."""


class Controller(Protocol):
    """Carries messages between nodes, at most once."""

    def listen(self, receiver: ControlEventHandler, node: str) -> None:
        """Set the receiver of messages and the id of this node."""

    def publish(self, message: bytes, node: str = "") -> "Deferred[None]":
        """Send to one node, or to all of them including this one."""


class Client(Protocol):
    """The part of a connection that a policy may read."""

    @property
    def id(self) -> str:
        """The connection's own id, a UUID."""

    @property
    def user(self) -> str:
        """The user id; empty for an anonymous user."""

    @property
    def info(self) -> ClientInfo:
        """The info that other clients see."""

    @property
    def meta(self) -> Raw:
        """Metadata that only the server sees."""

    @property
    def transport(self) -> Transport:
        """The transport of the connection."""

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""

    @property
    def emulated_headers(self) -> Mapping[str, str]:
        """Headers of its connect command that calls to the backend need."""

    def cancel_on_close(self, call: "Deferred[Any]") -> None:
        """Cancel *call* if the connection ends before it fires."""

    def subscribed(self, channel: str) -> bool:
        """Whether it is subscribed to *channel* now, by client or server."""

    def channel_info(self, channel: str) -> Raw:
        """Return its ``chan_info`` in *channel*, absent when it has none."""

    def stream_of(self, channel: str) -> SubscriptionStream | None:
        """Return the backend's stream of its subscription to *channel*."""


class PolicyProtocol(Protocol):
    """Decides what clients may do, and with which options.

    A decision is returned as a value, or as an awaitable: a Deferred, or the coroutine
    of an ``async def`` method.  Each may raise `ReplyError` or `DisconnectClient`;
    anything else is logged and answered as an internal error.
    """

    def channel(self, name: str) -> ChannelOptions:
        """Return the options of a channel; called often, so it must be fast.

        :raises ReplyError: 102, its namespace is unknown.
        """

    def connect(self, client: Client, request: ConnectRequest) -> Decision[Admission]:
        """Authenticate a client; ``client.user`` is not set yet."""

    def refresh(self, client: Client, request: RefreshRequest) -> Decision[Expiry]:
        """Prolong a connection: by the given token or, without one, by the backend.

        An expired or wrong token is a `DisconnectClient`.
        """

    def subscribe(
        self, client: Client, request: SubscribeRequest
    ) -> Decision[SubscribeOptions]:
        """Decide on a subscription."""

    def sub_refresh(
        self, client: Client, request: SubRefreshRequest
    ) -> Decision[Expiry]:
        """Prolong a subscription by the given token or, without one, by the backend."""

    def publish(
        self, client: Client, request: PublishRequest
    ) -> Decision[PublishOptions | None]:
        """Decide on a publication; None: it has already been handled."""

    def change_map(
        self, client: Client, request: PublishRequest
    ) -> Decision[tuple[str, MapChange]]:
        """Decide on a change of a map: under which key, and how."""

    def track(self, client: Client, request: SubRefreshRequest) -> Decision[list[int]]:
        """Decide on the keys a client wants to track: all of them, or none.

        :return: the expiry time of each batch, Unix seconds; 0: never.
        """

    def poll(self, channel: str, items: Sequence[KeyedItem]) -> Decision[Polled]:
        """Ask the application for keys that are newer than *items*."""

    def presence(self, client: Client, channel: str) -> Decision[None]:
        """Decide whether the client may read the presence of *channel*."""

    def history(
        self, client: Client, request: HistoryRequest
    ) -> Decision[HistoryQuery]:
        """Decide on a history request, and reduce it to the allowed limit."""

    def rpc(self, client: Client, request: RPCRequest) -> Decision[Raw]:
        """Answer a call."""

    def message(self, client: Client, data: Raw) -> None:
        """Handle a message that receives no reply.

        :raises DisconnectClient: 3508, no application receives messages.
        """
