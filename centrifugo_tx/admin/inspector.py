"""Information of a node about itself, its channels and its connections.

Each node of the cluster has an inspector, even if it does not serve the page.  The one
that receives a request of the page queries the others with surveys.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..core import Client, Node, SurveyFailed
from ..core.time_slices import RoundRobin, Slices
from ..errors import ReplyError
from ..globs import compile_glob
from ..protocol.codes import BAD_REQUEST, NOT_AVAILABLE
from ..protocol.messages import ClientInfo, Raw
from . import messages as m
from .measures import LagProbe, measure
from .paging import first_rows, merged
from .samples import SampleRing

__all__ = ["Inspector"]

#: Maximum number of subscriptions of one connection, and bytes of its info.
SUBSCRIPTIONS, INFO_LIMIT = 1000, 65536
#: How a node answers that it could not.
FAILED = 2

_NOTHING = Raw(b"null")

A = TypeVar("A")
_Ask = Callable[[Any], Awaitable[msgspec.Struct | None]]
_encode = msgspec.json.encode


@define(eq=False)
class Inspector:
    """Answers the questions of the admin page, for this node and for all."""

    _node: Node
    lag: LagProbe = field(init=False)
    samples: SampleRing = field(init=False)
    _robin: RoundRobin = field(init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        node = self._node
        self.lag, self._robin = LagProbe(node.clock), RoundRobin(node.clock)
        self.samples = SampleRing(
            node.clock, self._counts, lambda lag: measure(node.metrics, lag)
        )
        own: list[tuple[str, type[msgspec.Struct], _Ask]] = [
            ("admin_measures", m.NodesRequest, self._own_measures),
            ("admin_samples", m.SamplesRequest, self._own_samples),
            ("admin_channels", m.ChannelsRequest, self._own_channels),
            ("admin_channel", m.ChannelRequest, self._own_channel),
            ("admin_connections", m.ConnectionsRequest, self._own_connections),
            ("admin_connection", m.ConnectionRequest, self._own_connection),
        ]
        for op, request, ask in own:
            node.answer_survey(op, self._answering(request, ask))

    def start(self) -> None:
        """Begin to take samples."""
        self.samples.start()

    def stop(self) -> None:
        """Leave nothing behind in the reactor."""
        self.lag.stop()
        self.samples.stop()

    def _slices(self) -> Slices:
        return Slices(self._robin, self._node.clock)

    def _answering(
        self, request: type[msgspec.Struct], ask: _Ask
    ) -> Callable[[bytes], "Deferred[tuple[int, bytes]]"]:
        """Return a handler of surveys that puts the question to *ask*."""

        async def answer(data: bytes) -> tuple[int, bytes]:
            try:
                return 0, _encode(await ask(msgspec.json.decode(data, type=request)))
            except Exception:
                self._log.failure("a question of the admin page failed")
                return FAILED, b""

        return lambda data: Deferred.fromCoroutine(answer(data))

    async def _ask_all(
        self, op: str, request: msgspec.Struct, answer: type[A]
    ) -> dict[str, A]:
        """Return the answers by node id; nodes that cannot answer are left out.

        :raises SurveyFailed: a node did not answer within 10 seconds.
        """
        answers = await self._node.survey(op, _encode(request))
        return {
            uid: msgspec.json.decode(data, type=answer)
            for uid, (code, data) in answers.items()
            if not code
        }

    async def _silent(self, answers: dict[str, Any]) -> list[str]:
        nodes = await self._node.info()
        return [node.name for node in nodes if node.uid not in answers]

    # --- Nodes -----------------------------------------------------------------

    async def nodes(self, request: m.NodesRequest) -> m.NodesResult:
        """Return the state of all nodes."""
        try:
            measures = await self._ask_all("admin_measures", request, m.Measures)
        except SurveyFailed:
            measures = {self._node.id: await self._own_measures(request)}
        nodes = [
            m.NodeState(**node.without_metrics(), measures=measures.get(node.uid))
            for node in await self._node.info()
        ]
        now = self._node.clock.seconds()
        return m.NodesResult(time=now, answered_by=self._node.id, nodes=nodes)

    async def _own_measures(self, request: m.NodesRequest) -> m.Measures:
        return measure(self._node.metrics, self.lag.worst())

    async def samples_of_all(self, request: m.SamplesRequest) -> m.SamplesResult:
        """Return the samples of all nodes; those that do not answer are omitted."""
        own = await self._own_samples(request)
        try:
            found = await self._ask_all("admin_samples", request, m.NodeSamples)
        except SurveyFailed:
            found = {self._node.id: own}
        return m.SamplesResult(nodes=found)

    async def _own_samples(self, request: m.SamplesRequest) -> m.NodeSamples:
        return m.NodeSamples(samples=list(self.samples.samples))

    def _counts(self) -> tuple[int, int]:
        node = self._node
        return node.connections.num_clients, node.hub.num_subscriptions

    # --- Channels --------------------------------------------------------------

    async def channels(self, request: m.ChannelsRequest) -> m.ChannelsPage:
        """Return a page of the channels that have subscribers on any node.

        :raises ReplyError: 107, the pattern is malformed.
        """
        _filter(request)
        pages = await self._ask_all("admin_channels", request, m.ChannelsPage)
        counts: dict[str, int] = {}
        for page in pages.values():
            for row in page.channels:
                counts[row.name] = counts.get(row.name, 0) + row.num_clients
        names = sorted(counts)[: request.limit]
        more = len(counts) > request.limit or any(page.more for page in pages.values())
        return m.ChannelsPage(
            channels=[m.ChannelRow(name=n, num_clients=counts[n]) for n in names],
            matched=sum(page.matched for page in pages.values()),
            more=more,
            exact=len(pages) == 1,
            silent=await self._silent(pages),
        )

    async def _own_channels(self, request: m.ChannelsRequest) -> m.ChannelsPage:
        hub = self._node.hub
        matches = _filter(request)
        found, matched = await first_rows(
            [*hub.channels.values(), *hub.maps.values()],
            lambda channel: channel.name,
            lambda channel: channel.num_subscribers > 0 and matches(channel.name),
            *(request.after, request.limit, self._slices()),
        )
        rows = [
            m.ChannelRow(name=channel.name, num_clients=channel.num_subscribers)
            for channel in found
        ]
        more = len(rows) > request.limit
        return m.ChannelsPage(
            channels=rows[: request.limit], matched=matched, more=more
        )

    async def channel(self, request: m.ChannelRequest) -> m.ChannelDetails:
        """Return the options of a channel and the number of its subscribers.

        :raises ReplyError: 102, the namespace is unknown; 107, the name is empty.
        """
        if not request.channel:
            raise ReplyError(BAD_REQUEST, "channel required")
        options = self._node.policy.channel(request.channel)
        counts = await self._ask_all("admin_channel", request, m.ChannelRow)
        kind = options.subscription_type or "stream"
        return m.ChannelDetails(
            channel=request.channel,
            num_clients=sum(each.num_clients for each in counts.values()),
            kind="map" if options.map is not None else kind,
            presence=options.presence,
            join_leave=options.join_leave or options.force_push_join_leave,
            history_size=options.history_size if options.history else 0,
            history_ttl=options.history_ttl if options.history else 0.0,
            recovery=options.force_recovery,
        )

    async def _own_channel(self, request: m.ChannelRequest) -> m.ChannelRow:
        hub, name = self._node.hub, request.channel
        here = [each.get(name) for each in (hub.channels, hub.maps)]
        count = sum(each.num_subscribers for each in here if each is not None)
        return m.ChannelRow(name=name, num_clients=count)

    async def presence(self, request: m.PresenceRequest) -> m.PresencePage:
        """Return a page of the clients in a channel.

        :raises ReplyError: 108, the channel has no presence; 102, 107 as `channel`.
        :raises BrokerUnavailable: the engine failed.
        """
        if not request.channel:
            raise ReplyError(BAD_REQUEST, "channel required")
        if not self._node.policy.channel(request.channel).presence:
            raise ReplyError(NOT_AVAILABLE, "presence is not enabled for channel")
        present = await self._node.presence(request.channel)
        found, matched = await first_rows(
            list(present.values()),
            lambda info: info.client,
            lambda info: not request.user or info.user == request.user,
            *(request.after, request.limit, self._slices()),
        )
        more = len(found) > request.limit
        return m.PresencePage(
            rows=[_present(info) for info in found[: request.limit]],
            matched=matched,
            total=len(present),
            more=more,
        )

    # --- Connections -----------------------------------------------------------

    async def connections(self, request: m.ConnectionsRequest) -> m.ConnectionsPage:
        """Return a page of the connections of all nodes."""
        pages = await self._ask_all("admin_connections", request, m.ConnectionsPage)
        rows, more = merged(
            [page.connections for page in pages.values()],
            lambda row: row.client,
            request.limit,
        )
        return m.ConnectionsPage(
            connections=rows,
            matched=sum(page.matched for page in pages.values()),
            more=more or any(page.more for page in pages.values()),
            silent=await self._silent(pages),
        )

    async def _own_connections(
        self, request: m.ConnectionsRequest
    ) -> m.ConnectionsPage:
        connections = self._node.connections
        if request.user:
            candidates = connections.find(request.user)
        else:
            candidates = list(connections.open)
        found, matched = await first_rows(
            candidates,
            lambda client: client.id,
            lambda client: (
                client.id.startswith(request.client)
                and connections.client(client.id) is client
            ),
            *(request.after, request.limit, self._slices()),
        )
        name = self._node.options.name
        rows = [
            m.ConnectionRow(
                client=client.id,
                user=client.user,
                node=name,
                transport=client.transport.info.name,
                since=client.deadlines.connected_at,
                num_subs=len(client.subscriptions),
            )
            for client in found[: request.limit]
        ]
        more = len(found) > request.limit
        return m.ConnectionsPage(connections=rows, matched=matched, more=more)

    async def connection(
        self, request: m.ConnectionRequest
    ) -> m.ConnectionDetails | None:
        """Return the details of a connection; None if no node has it."""
        answers = await self._ask_all("admin_connection", request, Raw)
        for answer in answers.values():
            if bytes(answer) != b"null":
                return msgspec.json.decode(answer, type=m.ConnectionDetails)
        return None

    async def _own_connection(
        self, request: m.ConnectionRequest
    ) -> m.ConnectionDetails | None:
        client = self._node.connections.client(request.client)
        return None if client is None else _details(client, self._node.options.name)


def _filter(request: m.ChannelsRequest) -> Callable[[str], bool]:
    """Return a function that tells whether a channel matches the request.

    :raises ReplyError: 107, the pattern is malformed.
    """
    prefix = request.prefix
    if not request.pattern:
        return lambda name: name.startswith(prefix)
    try:
        glob = compile_glob(request.pattern)
    except ValueError as error:
        raise ReplyError(BAD_REQUEST, str(error)) from None
    return lambda name: name.startswith(prefix) and glob(name)


def _details(client: Client, node: str) -> m.ConnectionDetails:
    info, wire = client.transport.info, client.transport.wire
    subscriptions = sorted(client.subscriptions.items())
    return m.ConnectionDetails(
        client=client.id,
        user=client.user,
        node=node,
        session=client.session,
        transport=info.name,
        protocol=wire.protocol,
        protocol_version=wire.version,
        unidirectional=info.unidirectional,
        address=client.transport.peer_address,
        library=client.library,
        library_version=client.library_version,
        since=client.deadlines.connected_at,
        expire_at=client.expire_at,
        info=_shown(client.info.conn_info),
        num_subs=len(subscriptions),
        subscriptions=[
            m.SubscriptionRow(
                channel=name,
                server_side=each.server_side,
                positioned=each.positioned,
                recoverable=each.options.recoverable,
                presence=each.options.presence,
                expire_at=each.expire_at,
            )
            for name, each in subscriptions[:SUBSCRIPTIONS]
        ],
    )


def _present(info: ClientInfo) -> m.PresenceRow:
    return m.PresenceRow(
        client=info.client,
        user=info.user,
        conn_info=_shown(info.conn_info),
        chan_info=_shown(info.chan_info),
    )


def _shown(value: Raw) -> Raw:
    """Return *value* as JSON for display; long or binary values are only described."""
    text = bytes(value)
    if not text:
        return _NOTHING
    if len(text) > INFO_LIMIT:
        return Raw(_encode(f"{len(text)} bytes"))
    try:
        msgspec.json.decode(text)
        text.decode()
    except (msgspec.DecodeError, ValueError, RecursionError):
        return Raw(_encode(f"{len(text)} bytes of binary data"))
    return value
