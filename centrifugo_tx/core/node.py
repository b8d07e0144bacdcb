"""One node of a cluster: the object that APIs, transports and applications call."""

from collections.abc import Callable, Sequence

from attrs import define, field
from msgspec.structs import replace
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from ..errors import BrokerUnavailable, DisconnectClient
from ..interfaces import Engine, IPolicy, ITransport
from ..metrics import Metrics
from ..options import (
    History,
    HistoryQuery,
    NodeOptions,
    PresenceStats,
    Published,
    PublishOptions,
    ReceiptQuery,
    Receipts,
    SubscribeOptions,
)
from ..protocol.codes import (
    CONNECTION_LIMIT,
    FORCE_DISCONNECT,
    SERVER_ERROR,
    SERVER_UNSUBSCRIBE,
    Disconnect,
    Unsubscribe,
)
from ..protocol.messages import (
    EMPTY,
    ClientInfo,
    EmulationRequest,
    Raw,
    StreamPosition,
    checked_info,
)
from ..protocol.payloads import checked
from .channel.hub import Hub
from .channel.lanes import BroadcastContext
from .channel.presence import Presence
from .channel.receipt_pings import ReceiptPings
from .channel.streams import Streams
from .channel.watching import Watcher
from .cluster.client_commands import (
    ClientCommands,
    DisconnectCommand,
    RefreshCommand,
    SubscribeCommand,
    Target,
    UnsubscribeCommand,
)
from .cluster.emulation import Emulation
from .cluster.peers import NodeInfo, Peers
from .cluster.receipts import ClusterReceipts
from .cluster.surveys import SurveyHandler, Surveys
from .keyed.key_tracker import SHARED_POLL
from .keyed.map_kind import MapKind
from .keyed.map_presence import MapPresence
from .keyed.map_reader import MAP, MAP_CLIENTS, MAP_USERS
from .keyed.maps import Maps
from .keyed.poll_kind import PollKind
from .keyed.polls import Polls
from .node_metrics import NodeMetrics
from .run_or_defer import as_deferred
from .runtime import Runtime
from .session.client import Client, Sessions
from .session.client_log import ClientLog
from .session.commands import Commands
from .session.connections import Connections
from .session.journal import Journal
from .session.services import Services
from .session.stream_kind import StreamKind

__all__ = ["Node"]

#: Bytes of publications that wait for a lane and are written as one.
GATHERED = 65536

_PLAIN = PublishOptions()


@define(eq=False)
class Node:
    """One server of a cluster that shares an engine.

    APIs, transports and embedding applications call this object only.  Methods that
    use the engine may fail with `BrokerUnavailable`.
    """

    engine: Engine
    _policy: IPolicy
    clock: IReactorTime
    options: NodeOptions = field(factory=NodeOptions)
    metrics: Metrics = field(factory=Metrics)
    journal: Journal = field(factory=Journal)
    runtime: Runtime = field(init=False)
    hub: Hub = field(init=False)
    streams: Streams = field(init=False)
    presences: Presence = field(init=False)
    maps: Maps | None = field(default=None, init=False)
    polls: Polls = field(init=False)
    peers: Peers = field(init=False)
    _client_log: ClientLog = field(init=False)
    sessions: Sessions = field(init=False)
    _surveys: Surveys = field(init=False)
    _commands: ClientCommands = field(init=False)
    _emulation: Emulation = field(init=False)
    receipts: ClusterReceipts = field(init=False)
    _receipt_pings: ReceiptPings = field(init=False)

    def __attrs_post_init__(self) -> None:
        recovered = self.options.recovered_publications_histogram
        metrics, engine = NodeMetrics(self.metrics, recovered), self.engine
        runtime = Runtime(self.clock, self._policy, self.options, metrics)
        self._receipt_pings = ReceiptPings(self.clock, runtime.log_failure)
        limit = self.options.broadcast_slice
        broadcasts = BroadcastContext(
            self.clock,
            limit,
            metrics.transport_counters,
            metrics.dropped_by_filter,
            runtime.writes,
            self._receipt_pings.ask,
            # A part of the queue, so that one write never fills it.
            gathered=min(GATHERED, self.options.queue_max_size // 4),
        )
        hub = Hub(broadcasts)
        self.runtime, self.hub, self._client_log = runtime, hub, ClientLog(self.clock)
        self.polls = Polls(runtime, engine.broker)
        self.streams = Streams(runtime, engine.broker, hub, self.polls)
        self.presences = Presence(runtime, engine.presence)
        services = Services(
            hub, self.streams, self.presences, self._client_log, self.journal
        )
        plain = StreamKind(runtime, self.streams)
        self.sessions = Sessions(runtime, services, plain)
        commands = Commands(self.sessions, self._make_room)
        commands.register(SHARED_POLL, PollKind(runtime, self.polls, plain))
        if engine.maps is not None:
            self.maps = Maps(runtime, hub, engine.maps)
            services.mirror = mirror = MapPresence(runtime, self.maps)
            kind = MapKind(runtime, self.maps, mirror)
            commands.register(MAP, kind, kind.publish)
            commands.register(MAP_CLIENTS, kind)
            commands.register(MAP_USERS, kind)
        connections = self.sessions.connections
        self.peers = Peers(runtime, engine.controller, hub, connections)
        self._surveys = Surveys(runtime, self.peers, hub)
        self._commands = ClientCommands(self.peers, connections)
        self._emulation = Emulation(runtime, self.peers, self._surveys, connections)
        self.receipts = services.receipts = ClusterReceipts(
            runtime,
            self.peers,
            self._surveys,
            hub,
            connections,
            engine.receipts,
            self._receipt_pings,
        )

    @property
    def core(self) -> object:
        """The node itself; the forms for applications contain one."""
        return self

    @property
    def id(self) -> str:
        """The node's own id, a UUID."""
        return self.runtime.id

    @property
    def policy(self) -> IPolicy:
        """Decides on the rights of clients; may be replaced at any time."""
        return self.runtime.policy

    @policy.setter
    def policy(self, policy: IPolicy) -> None:
        self._policy = self.runtime.policy = policy

    @property
    def connections(self) -> Connections[Client]:
        """The connections of this node."""
        return self.sessions.connections

    @property
    def stopping(self) -> bool:
        """Whether the node is stopping and closes every connection."""
        return self.sessions.stopping

    # --- Life ------------------------------------------------------------------

    def start(self) -> Deferred[None]:
        """Connect to the engine and announce the node to the cluster."""
        self.streams.start()
        self.peers.listen()
        if self.maps is not None:
            self.maps.start()
        return self.engine.start().addCallback(lambda _: self.peers.start())

    def stop(self) -> Deferred[None]:
        """Close every connection with 3001, then disconnect from the engine.

        :return: fires when the connections are closed, after 6 seconds at most.
        """
        announced = self.peers.stop()
        gone = self.sessions.stop()
        gone.addCallback(lambda _: announced)
        return gone.addCallback(lambda _: self._stop_engine())

    def _stop_engine(self) -> Deferred[None]:
        self.streams.stop()
        if self.maps is not None:
            self.maps.stop()
        self.polls.stop()
        self._receipt_pings.stop()
        self.runtime.wheel.end()
        self._client_log.log.flush()
        return self.engine.stop()

    # --- Connections -----------------------------------------------------------

    def connect(self, transport: ITransport) -> Client:
        """Return a client for a new connection, for its transport to call."""
        return self.sessions.connect(transport)

    async def _make_room(self, user: str, client: str, channel: str) -> None:
        """Close the other connections of *user* if any of them is in *channel*."""
        try:
            stats = await self.engine.presence.stats(channel)
            if stats.num_clients:
                await self.disconnect(
                    user=user, disconnect=CONNECTION_LIMIT, whitelist=[client]
                )
        except BrokerUnavailable as reason:
            self.runtime.outage.failed("closing other connections", str(reason))
            raise DisconnectClient(SERVER_ERROR) from None

    def forward(self, request: EmulationRequest) -> Deferred[None]:
        """Forward an emulated client's commands to the node of its session.

        :return: fires when that node has accepted them, even if the session is unknown.
            Fails with `UnknownNode`, or with `SurveyFailed` after 10 seconds.
        """
        return self._emulation.forward(request)

    # --- Channels --------------------------------------------------------------

    def publish(
        self, channel: str, data: Raw | bytes, options: PublishOptions = _PLAIN
    ) -> Deferred[Published]:
        """Publish *data* (JSON, or any bytes) into *channel*."""
        if options.info is not None:
            options = replace(options, info=checked_info(options.info))
        return as_deferred(self.streams.publish(channel, checked(data), options))

    def history(self, channel: str, query: HistoryQuery) -> Deferred[History]:
        """Read part of a stream (engines, "Reading history").

        Fails with `ReplyError`: 107, backwards from offset 0; 112, another epoch.
        """
        return self.streams.history(channel, query)

    def remove_history(self, channel: str) -> Deferred[None]:
        """Delete a channel's publications; its stream position continues."""
        return self.streams.remove_history(channel)

    def presence(self, channel: str) -> Deferred[dict[str, ClientInfo]]:
        """Return the clients in *channel*, by client id."""
        return self.presences.clients(channel)

    def presence_stats(self, channel: str) -> Deferred[PresenceStats]:
        """Return the numbers of clients and users in *channel*."""
        return self.presences.stats(channel)

    def channels(self, pattern: str = "") -> Deferred[dict[str, int]]:
        """Return the number of subscribers of each channel, over all nodes.

        :raises ValueError: (as a failure) *pattern* is not a valid glob.
        """
        return self._surveys.channels(pattern)

    def watcher(
        self, channel: str, transport: ITransport, undeliverable: Callable[[], None]
    ) -> Watcher:
        """Return a watcher that passes the pushes of *channel* to *transport*.

        The caller starts it.  It is not counted as a subscriber.

        :param undeliverable: called for pushes that the transport's wire cannot encode.
        :raises ReplyError: the channel does not exist.
        """
        source: Streams | Maps = self.streams
        if self.policy.channel(channel).map is not None and self.maps is not None:
            source = self.maps
        local = source.local(channel)
        return Watcher(transport, undeliverable, local, source.broker_subscriptions)

    def ask_for_receipts(self, channel: str, offset: int) -> None:
        """Ping the subscribers of *channel*, on all nodes, once it is written there.

        Their pongs then prove that they have received it (docs/receipts.rst).
        """
        self.receipts.ask(channel, offset)

    def receipts_of(self, query: ReceiptQuery) -> Deferred[Receipts]:
        """Return which users have received a publication.

        Fails with `ReplyError`: 108, the channel has no receipts; with `SurveyFailed`:
        a node did not answer within 10 seconds.
        """
        return Deferred.fromCoroutine(self.receipts.read(query))

    # --- Nodes -----------------------------------------------------------------

    @property
    def num_nodes(self) -> int:
        """How many nodes there are, this one included."""
        return 1 + self.peers.num_others

    def info(self) -> Deferred[list[NodeInfo]]:
        """Return the state of all nodes, this one first."""
        return succeed(self.peers.info())

    def survey(
        self, op: str, data: bytes, node: str = ""
    ) -> Deferred[dict[str, tuple[int, bytes]]]:
        """Send a survey to all nodes, or to one; return code and answer by node id."""
        return self._surveys.survey(op, data, node)

    def answer_survey(self, op: str, handler: SurveyHandler) -> None:
        """Answer the surveys of *op* with *handler*, which returns code and answer."""
        self._surveys.handlers[op] = handler

    # --- Clients on all nodes --------------------------------------------------

    def subscribe(
        self,
        channel: str,
        options: SubscribeOptions,
        user: str = "",
        client: str = "",
        session: str = "",
        since: StreamPosition | None = None,
    ) -> Deferred[None]:
        """Subscribe the connections of *user* to *channel*, on all nodes."""
        return self._commands.run(
            Target(user, client, session), SubscribeCommand(channel, options, since)
        )

    def unsubscribe(
        self,
        channel: str,
        user: str = "",
        client: str = "",
        session: str = "",
        reason: Unsubscribe = SERVER_UNSUBSCRIBE,
    ) -> Deferred[None]:
        """Unsubscribe the connections of *user* from *channel*, on all nodes."""
        return self._commands.run(
            Target(user, client, session), UnsubscribeCommand(channel, reason)
        )

    def disconnect(
        self,
        user: str = "",
        client: str = "",
        session: str = "",
        disconnect: Disconnect = FORCE_DISCONNECT,
        whitelist: Sequence[str] = (),
    ) -> Deferred[None]:
        """Close the connections of *user*, except the client ids in *whitelist*."""
        return self._commands.run(
            Target(user, client, session), DisconnectCommand(disconnect, whitelist)
        )

    def refresh(
        self,
        user: str = "",
        client: str = "",
        session: str = "",
        expired: bool = False,
        expire_at: int = 0,
        info: Raw = EMPTY,
    ) -> Deferred[None]:
        """Set the expiry of the connections of *user*, on all nodes."""
        return self._commands.run(
            Target(user, client, session), RefreshCommand(expired, expire_at, info)
        )
