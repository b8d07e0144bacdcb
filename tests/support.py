"""Doubles and helpers that tests of several packages share."""

import json
from collections.abc import Sequence
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from centrifugo_tx.core import Client, Journal, Node
from centrifugo_tx.embedding.policy import AdaptedPolicy, Policy
from centrifugo_tx.engines import memory_engine
from centrifugo_tx.errors import BrokerUnavailable, DisconnectClient
from centrifugo_tx.interfaces import IClient, IPolicy, ITransport
from centrifugo_tx.options import (
    Admission,
    ChannelOptions,
    Expiry,
    HistoryQuery,
    MapChange,
    NodeOptions,
    Polled,
    PublishOptions,
    SubscribeOptions,
    TransportInfo,
)
from centrifugo_tx.protocol.codes import NOT_SERVED, Disconnect
from centrifugo_tx.protocol.messages import (
    ConnectRequest,
    HistoryRequest,
    KeyedItem,
    PublishRequest,
    Raw,
    RefreshRequest,
    RPCRequest,
    SubRefreshRequest,
    SubscribeRequest,
)
from centrifugo_tx.protocol.wire import Wire, websocket_json

__all__ = ["MemoryTransport", "Peer", "Permissive", "World", "cautious", "unframed"]


def unframed(data: bytes) -> list[bytes]:
    """Return the payloads of unmasked, uncompressed frames (RFC 6455, 5.2)."""
    payloads = []
    while data:
        size, start = data[1] & 127, 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        payloads.append(data[start : start + size])
        data = data[start + size :]
    return payloads


@implementer(ITransport)
@define(eq=False)
class MemoryTransport:
    """A transport that keeps its frames."""

    wire: Wire = field(factory=websocket_json)
    info: TransportInfo = TransportInfo()
    frames: list[bytes] = field(factory=list)
    closed: list[Disconnect] = field(factory=list)
    paused: bool = False
    peer_address: str = ""
    waiting_bytes: int = 0

    def write(self, frame: bytes) -> None:
        """Keep *frame*."""
        assert not self.closed, "written after close"
        self.frames.append(frame)

    def close(self, disconnect: Disconnect) -> None:
        """Keep the reason."""
        self.closed.append(disconnect)

    def pause(self) -> None:
        """Note it."""
        self.paused = True

    def resume(self) -> None:
        """Note it."""
        self.paused = False


def cautious() -> AdaptedPolicy:
    """Return the policy that permits nothing but to connect."""
    return AdaptedPolicy(Policy())


@implementer(IPolicy)
@define(eq=False, slots=False)
class Permissive:
    """Allows everything; the attributes say with which options.

    What is set to a Deferred or an exception is answered so, once.
    """

    admission: Any = Admission()
    subscription: Any = SubscribeOptions()
    publication: Any = PublishOptions()
    change: Any = ("", None)
    tracking: Any = None
    polled: Any = Polled()
    expiry: Any = Expiry()
    sub_expiry: Any = Expiry()
    answer: Any = Raw(b'{"pong":1}')
    options: ChannelOptions = ChannelOptions()
    calls: list[tuple[str, Any]] = field(factory=list)

    def _say(self, call: str, request: Any, answer: Any) -> "Deferred[Any]":
        self.calls.append((call, request))
        if isinstance(answer, Exception):
            failed: Deferred[Any] = Deferred()
            failed.errback(answer)
            return failed
        return answer if isinstance(answer, Deferred) else succeed(answer)

    def channel(self, name: str) -> ChannelOptions:
        return self.options

    def connect(
        self, client: IClient, request: ConnectRequest
    ) -> "Deferred[Admission]":
        return self._say("connect", request, self.admission)

    def refresh(self, client: IClient, request: RefreshRequest) -> "Deferred[Expiry]":
        return self._say("refresh", request, self.expiry)

    def subscribe(
        self, client: IClient, request: SubscribeRequest
    ) -> "Deferred[SubscribeOptions]":
        return self._say("subscribe", request, self.subscription)

    def sub_refresh(
        self, client: IClient, request: SubRefreshRequest
    ) -> "Deferred[Expiry]":
        return self._say("sub_refresh", request, self.sub_expiry)

    def publish(
        self, client: IClient, request: PublishRequest
    ) -> "Deferred[PublishOptions | None]":
        return self._say("publish", request, self.publication)

    def change_map(
        self, client: IClient, request: PublishRequest
    ) -> "Deferred[tuple[str, MapChange]]":
        return self._say("change_map", request, self.change)

    def track(
        self, client: IClient, request: SubRefreshRequest
    ) -> "Deferred[list[int]]":
        expiries = [0] * len(request.track)
        return self._say("track", request, self.tracking or expiries)

    def poll(self, channel: str, items: Sequence[KeyedItem]) -> "Deferred[Polled]":
        return self._say("poll", (channel, list(items)), self.polled)

    def presence(self, client: IClient, channel: str) -> "Deferred[None]":
        return self._say("presence", channel, None)

    def history(
        self, client: IClient, request: HistoryRequest
    ) -> "Deferred[HistoryQuery]":
        query = HistoryQuery(request.limit, request.since, request.reverse)
        return self._say("history", request, query)

    def rpc(self, client: IClient, request: RPCRequest) -> "Deferred[Raw]":
        return self._say("rpc", request, self.answer)

    def message(self, client: IClient, data: Raw) -> None:
        raise DisconnectClient(NOT_SERVED)


@define(eq=False)
class Peer:
    """A client of a node, seen from the other end of its connection."""

    client: Client
    transport: MemoryTransport
    _ids: int = 0

    def send(self, *commands: Any) -> None:
        """Send commands in one message: dicts, or JSON text."""
        lines = [c if isinstance(c, str) else json.dumps(c) for c in commands]
        self.client.receive("\n".join(lines).encode())

    def ask(self, **request: Any) -> Any:
        """Send one request with a new id; return the messages received by then."""
        self._ids += 1
        self.send({"id": self._ids, **request})
        return self.take()

    def take(self) -> list[Any]:
        """Return the messages since the last call."""
        frames, self.transport.frames = self.transport.frames, []
        return [json.loads(p) for frame in frames for p in unframed(frame)]

    def one(self, **request: Any) -> Any:
        """Send one request; return the only message that came."""
        (message,) = self.ask(**request)
        return message

    @property
    def closed(self) -> int:
        """Return the code of the close, 0 while it is open."""
        return self.transport.closed[0].code if self.transport.closed else 0


class FailingBroker:
    """A broker whose methods in ``answers`` return the given value, once."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self.answers: dict[str, Deferred[Any]] = {}

    def __getattr__(self, name: str) -> Any:
        answer = self.answers.pop(name, None)
        if answer is not None:
            return lambda *arguments: answer
        return getattr(self._broker, name)

    def fail(self, name: str) -> None:
        """Let the next call of *name* find the storage away."""
        self.answers[name] = Deferred()
        self.answers[name].errback(BrokerUnavailable("away"))


@define(eq=False)
class World:
    """A node with a memory engine, a clock and a policy that allows everything."""

    options: NodeOptions = NodeOptions(version="1.2.3")
    clock: Clock = field(factory=Clock)
    policy: Permissive = field(factory=Permissive)
    journal: Journal = field(factory=Journal)
    with_maps: bool = True
    broker: FailingBroker = field(init=False)
    node: Node = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1_000_000_000)
        engine = memory_engine(self.clock)
        self.broker = FailingBroker(engine.broker)
        maps = engine.maps if self.with_maps else None
        engine = evolve(engine, broker=self.broker, maps=maps)
        self.node = Node(
            engine, self.policy, self.clock, self.options, journal=self.journal
        )
        self.node.start()

    def open(self, **info: Any) -> Peer:
        """Return a new connection that has said nothing yet."""
        transport = MemoryTransport(info=TransportInfo(**info))
        verifyObject(ITransport, transport)
        return Peer(self.node.connect(transport), transport)

    def connected(self, user: str = "", **info: Any) -> Peer:
        """Return a new connection that has connected as *user*."""
        before, self.policy.admission = self.policy.admission, Admission(user=user)
        peer = self.open(**info)
        peer.ask(connect={})
        self.policy.admission = before
        return peer

    def subscribed(self, channel: str, user: str = "", **request: Any) -> Peer:
        """Return a new connection that has subscribed to *channel*."""
        peer = self.connected(user)
        peer.ask(subscribe={"channel": channel, **request})
        return peer

    def publish(self, channel: str, data: Any, **options: Any) -> Any:
        """Publish JSON; return the position."""
        done = self.node.publish(
            channel, json.dumps(data).encode(), PublishOptions(**options)
        )
        result: list[Any] = []
        done.addBoth(result.append)
        assert not isinstance(result[0], Failure), result
        return result[0].position
