"""One node: its parts put together, and the verbs that applications call."""

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

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
    SubscribeOptions,
)
from ..protocol.codes import (
    CONNECTION_LIMIT,
    FORCE_DISCONNECT,
    SERVER_ERROR,
    SERVER_UNSUBSCRIBE,
    SHUTDOWN,
    Disconnect,
    Unsubscribe,
)
from ..protocol.messages import EMPTY, ClientInfo, EmulationRequest, Raw, StreamPosition
from .channel.channel import Channel
from .channel.hub import Hub
from .channel.lanes import FanOut, Subscriber, lose_positions
from .channel.listening import Listening
from .channel.positions import Positions
from .channel.presence import Presence
from .channel.streams import Streams
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
from .cluster.surveys import Surveys
from .counts import Counts
from .keyed.maps import Maps
from .keyed.polls import Polls
from .outage import Outage
from .runtime import Runtime
from .scheduler import Scheduler
from .session.client import Client
from .session.connections import Connections
from .session.journal import Journal
from .session.notices import Notices
from .timers import TimerWheel

__all__ = ["Node"]

#: Seconds that clients have to take leave when the node stops.
FAREWELL = 6.0

_PLAIN = PublishOptions()


@define(eq=False)
class Node:
    """One server among those that share an engine.

    The one object that APIs, transports and embedding applications call.  Every
    verb that reaches for the engine may fail with `BrokerUnavailable`.
    """

    engine: Engine
    policy: IPolicy
    clock: IReactorTime
    options: NodeOptions = field(factory=NodeOptions)
    metrics: Metrics = field(factory=Metrics)
    journal: Journal = field(factory=Journal)
    stopping: bool = field(default=False, init=False)
    runtime: Runtime = field(init=False)
    hub: Hub = field(init=False)
    connections: Connections[Client] = field(init=False)
    streams: Streams = field(init=False)
    presences: Presence = field(init=False)
    notices: Notices = field(init=False)
    maps: Maps | None = field(default=None, init=False)
    polls: Polls = field(init=False)
    peers: Peers = field(init=False)
    _surveys: Surveys = field(init=False)
    _commands: ClientCommands = field(init=False)
    _emulation: Emulation = field(init=False)
    _gone: "Deferred[None] | None" = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        counts, engine = Counts(self.metrics), self.engine
        runtime = Runtime(self.clock, self.policy, self.options, counts)
        limit = self.options.broadcast_slice
        hub = Hub(FanOut(self.clock, limit, counts.traffic, counts.unwanted))
        connections: Connections[Client] = Connections()
        self.runtime, self.hub, self.connections = runtime, hub, connections
        self.notices = Notices(self.clock)
        self.polls = Polls(runtime, engine.broker)
        self.streams = Streams(runtime, engine.broker, hub, self.polls)
        self.presences = Presence(runtime, engine.presence)
        if engine.maps is not None:
            self.maps = Maps(runtime, hub, engine.maps)
        self.peers = Peers(runtime, engine.controller, hub, connections)
        self._surveys = Surveys(runtime, self.peers, hub)
        self._commands = ClientCommands(self.peers, connections)
        self._emulation = Emulation(runtime, self.peers, self._surveys, connections)

    @property
    def id(self) -> str:
        """The node's own id, a UUID."""
        return self.runtime.id

    # --- What sessions use -----------------------------------------------------

    @property
    def counts(self) -> Counts:
        """The node's counters."""
        return self.runtime.counts

    @property
    def wheel(self) -> TimerWheel:
        """The node's deadlines."""
        return self.runtime.wheel

    @property
    def scheduler(self) -> Scheduler:
        """Shares the reactor's turns among clients."""
        return self.runtime.scheduler

    @property
    def outage(self) -> Outage:
        """The log of calls that fail because storage is away."""
        return self.runtime.outage

    @property
    def listening(self) -> Listening[Channel]:
        """What makes the node a receiver of a channel."""
        return self.streams.listening

    @property
    def positions(self) -> Positions:
        """What compares channels with storage."""
        return self.streams.positions

    def lose(self, lost: Sequence[Subscriber]) -> None:
        """Tell those that lost their position in the stream."""
        lose_positions(lost)

    def log_failure(self, failure: Failure, doing: str, about: str) -> None:
        """Log the failure of a call whose result no caller waits for."""
        self.runtime.log_failure(failure, doing, about)

    # --- Life ------------------------------------------------------------------

    def start(self) -> Deferred[None]:
        """Connect to the engine and make the node known to the others."""
        self.streams.start()
        self.peers.listen()
        if self.maps is not None:
            self.maps.start()
        return self.engine.start().addCallback(lambda _: self.peers.start())

    def stop(self) -> Deferred[None]:
        """Close every connection with 3001, then leave the engine.

        :return: fires when the connections are closed, 6 seconds later at most.
        """
        self.stopping = True
        announced = self.peers.stop()
        for client in list(self.connections.open):
            client.close(SHUTDOWN)
        gone: Deferred[None] = succeed(None)
        if self.connections.open:
            gone = self._gone = Deferred()
            gone.addTimeout(FAREWELL, self.clock, lambda _, __: None)
        gone.addCallback(lambda _: announced)
        return gone.addCallback(lambda _: self._leave())

    def _leave(self) -> Deferred[None]:
        self._gone = None
        self.streams.stop()
        if self.maps is not None:
            self.maps.stop()
        self.polls.stop()
        self.runtime.wheel.end()
        self.notices.log.flush()
        return self.engine.stop()

    # --- Connections -----------------------------------------------------------

    def connect(self, transport: ITransport) -> Client:
        """Take a new connection; its transport then calls the client it gets."""
        client = Client(self, transport)
        self.connections.open[client] = None
        self.journal.opened(client)
        if self.stopping:
            client.close(SHUTDOWN)
        else:
            client.deadlines.opened()
        return client

    def disconnected(self, client: Client) -> None:
        """Forget a connection that is gone."""
        self.connections.open.pop(client, None)
        self.journal.completed(client)
        if self._gone is not None and not self.connections.open:
            self._gone.callback(None)

    async def make_room(self, client: Client, channel: str) -> None:
        """Close the user's other connections if one of them is in *channel*."""
        try:
            stats = await self.engine.presence.stats(channel)
            if stats.num_clients:
                await self.disconnect(
                    user=client.user,
                    disconnect=CONNECTION_LIMIT,
                    whitelist=[client.id],
                )
        except BrokerUnavailable as reason:
            self.runtime.outage.failed("making room for a user", str(reason))
            raise DisconnectClient(SERVER_ERROR) from None

    def forward(self, request: EmulationRequest) -> Deferred[None]:
        """Hand an emulated client's commands to the node that has its session.

        :return: fires when that node has taken them, also without such a session.
            Fails with `UnknownNode`, or with `SurveyFailed` after 10 seconds.
        """
        return self._emulation.forward(request)

    # --- Channels --------------------------------------------------------------

    def publish(
        self, channel: str, data: Raw | bytes, options: PublishOptions = _PLAIN
    ) -> Deferred[Published]:
        """Publish *data* (JSON, or any bytes) into *channel*."""
        return self.streams.publish(channel, data, options)

    def history(self, channel: str, query: HistoryQuery) -> Deferred[History]:
        """Read part of a stream (engines, "Reading history").

        Fails with `ReplyError`: 107, backwards from offset 0; 112, another epoch.
        """
        return self.streams.history(channel, query)

    def remove_history(self, channel: str) -> Deferred[None]:
        """Forget a channel's publications; its position goes on."""
        return self.streams.remove_history(channel)

    def presence(self, channel: str) -> Deferred[dict[str, ClientInfo]]:
        """Return the clients in *channel*, by client id."""
        return self.presences.clients(channel)

    def presence_stats(self, channel: str) -> Deferred[PresenceStats]:
        """Return the numbers of clients and users in *channel*."""
        return self.presences.stats(channel)

    def channels(self, pattern: str = "") -> Deferred[dict[str, int]]:
        """Return how many subscribers each channel has, over all nodes.

        :raises ValueError: (as a failure) *pattern* is no glob.
        """
        return self._surveys.channels(pattern)

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
        """Ask all nodes, or one; returns code and answer by node id."""
        return self._surveys.survey(op, data, node)

    # --- Clients, wherever they are --------------------------------------------

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
        """Take the connections of *user* out of *channel*, on all nodes."""
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
        """Close the connections of *user*, but for the client ids in *whitelist*."""
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
        """Move the expiry of the connections of *user*, on all nodes."""
        return self._commands.run(
            Target(user, client, session), RefreshCommand(expired, expire_at, info)
        )
