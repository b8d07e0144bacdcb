"""Doubles for an application's own tests: a node in memory, and its clients.

No port is opened and no time passes: `MemoryNode` has a clock that the test advances,
and a `FakeClient` exchanges messages with the node by method calls.

    policy = MyPolicy()
    world = MemoryNode(policy)
    ann = world.client(token="ann")
    ann.subscribe("news")
    world.node.publish("news", {"text": "hi"})
    assert [each.data for each in ann.publications("news")] == [{"text": "hi"}]
"""

from asyncio import get_running_loop
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec
from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from .core import Client
from .core import Node as CoreNode
from .embedding import ClientInfo, Node, Publication
from .embedding.json_values import ABSENT
from .engines import memory_engine
from .errors import DisconnectClient, ReplyError
from .interfaces import ITransport
from .options import NodeOptions, TransportInfo
from .protocol.codes import Disconnect, Error
from .protocol.wire import Wire, http_stream_json
from .transports import AnyNode
from .typing import PolicyProtocol

__all__ = ["FakeClient", "MemoryNode", "Push", "StillWaiting", "result_of"]

T = TypeVar("T")

#: When the clock of a `MemoryNode` starts, in seconds since 1970.
START = 1_000_000_000.0

_INFO = TransportInfo(name="testing")


class StillWaiting(AssertionError):
    """A result is not there yet.

    A Deferred of the policy has not fired, or time must pass: advance the clock.
    """


def result_of(deferred: "Deferred[T]") -> T:
    """Return the result of a Deferred that has fired, or raise its exception.

    :raises StillWaiting: it has not fired.
    """
    results: list[Any] = []
    deferred.addBoth(results.append)
    if not results:
        raise StillWaiting("the Deferred has not fired")
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return cast(T, results[0])


@frozen
class Push:
    """What the node sent to a client unasked.

    ``kind`` is ``pub``, ``join``, ``leave``, ``unsubscribe``, ``message``,
    ``subscribe``, ``connect``, ``disconnect`` or ``refresh``; ``content`` is the JSON
    object of that kind.
    """

    kind: str
    channel: str
    content: Mapping[str, Any]


@implementer(ITransport)
@define(eq=False)
class _MemoryTransport:
    """The client's end of its connection."""

    receive: Any
    closed: Any
    peer_address: str = "127.0.0.1"
    wire: Wire = field(factory=http_stream_json)
    info: TransportInfo = _INFO
    waiting_bytes: int = 0

    def write(self, frame: bytes) -> None:
        for line in frame.splitlines():
            self.receive(msgspec.json.decode(line))

    def close(self, disconnect: Disconnect) -> None:
        self.closed(disconnect)

    def pause(self) -> None:
        """Do nothing: a fake client may always send."""

    def resume(self) -> None:
        """Do nothing, likewise."""


@define(eq=False)
class FakeClient:
    """A client of a node in the same process.

    Each command returns the result of its reply as a dict.  It raises `ReplyError` if
    the node answers with an error, `DisconnectClient` if the node closes the
    connection, and `StillWaiting` if there is no answer yet; `send` and
    `ask` wait.
    """

    _given: AnyNode = field(alias="node")
    #: The pushes so far, oldest first.
    pushes: list[Push] = field(factory=list, init=False)
    #: Why the node closed the connection; None while it is open.
    disconnected: Disconnect | None = field(default=None, init=False)
    #: How many pings the node has sent; each is answered.
    pings: int = field(default=0, init=False)
    #: The connection's id; empty before `connect`.
    id: str = field(default="", init=False)
    _client: Client = field(init=False)
    _last: int = field(default=0, init=False)
    _replies: "dict[int, Deferred[dict[str, Any]]]" = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        transport = _MemoryTransport(self._receive, self._close)
        core = cast(CoreNode, self._given.core)
        self._client = core.connect(transport)

    # --- Commands --------------------------------------------------------------

    def send(self, **command: Any) -> "Deferred[dict[str, Any]]":
        """Send a command, such as ``subscribe={"channel": "news"}``.

        :return: fires with the result, or fails with `ReplyError` or
            `DisconnectClient`.
        """
        if self.disconnected is not None:
            raise DisconnectClient(self.disconnected)
        self._last += 1
        reply = self._replies[self._last] = Deferred()
        self._client.receive(msgspec.json.encode({"id": self._last, **command}))
        return reply

    def command(self, **command: Any) -> dict[str, Any]:
        """Send a command as `send` does, and return its result."""
        return result_of(self.send(**command))

    async def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command as `send` does, and wait for its result in asyncio."""
        return await self.send(**command).asFuture(get_running_loop())

    def connect(self, token: str = "", data: object = ABSENT) -> dict[str, Any]:
        """Connect, with a token or other data for the policy."""
        return self.command(connect=_request(token=token, data=data))

    def subscribe(
        self, channel: str, token: str = "", data: object = ABSENT, **more: Any
    ) -> dict[str, Any]:
        """Subscribe to a channel; *more* are further fields of the request."""
        request = _request(channel=channel, token=token, data=data, **more)
        return self.command(subscribe=request)

    def unsubscribe(self, channel: str) -> dict[str, Any]:
        """Unsubscribe from a channel."""
        return self.command(unsubscribe={"channel": channel})

    def publish(self, channel: str, data: object) -> dict[str, Any]:
        """Publish a JSON value."""
        return self.command(publish={"channel": channel, "data": data})

    def history(self, channel: str, limit: int = -1, **more: Any) -> dict[str, Any]:
        """Read history; *more* are further fields of the request."""
        return self.command(history={"channel": channel, "limit": limit, **more})

    def presence(self, channel: str) -> dict[str, Any]:
        """Read the presence of a channel."""
        return self.command(presence={"channel": channel})

    def rpc(self, method: str, data: object = None) -> Any:
        """Call a method of the application; return the data of its answer."""
        return self.command(rpc={"method": method, "data": data}).get("data")

    def message(self, data: object) -> None:
        """Send a message that has no reply."""
        self._client.receive(msgspec.json.encode({"send": {"data": data}}))

    def close(self) -> None:
        """Lose the connection."""
        if self.disconnected is None:
            self.disconnected = Disconnect(3000, "connection closed")
            self._client.transport_lost()

    # --- What the node sent ----------------------------------------------------

    def publications(self, channel: str) -> list[Publication]:
        """Return the publications of a channel so far, oldest first."""
        return [
            _publication(push.content)
            for push in self.pushes
            if push.kind == "pub" and push.channel == channel
        ]

    def _receive(self, message: dict[str, Any]) -> None:
        if not message:
            self.pings += 1
            self._client.receive(b"{}")
        elif "push" in message:
            self._receive_push(message["push"])
        else:
            self._receive_reply(message)

    def _receive_push(self, push: dict[str, Any]) -> None:
        channel = push.pop("channel", "")
        for kind, content in push.items():
            self.pushes.append(Push(kind, channel, content))

    def _receive_reply(self, message: dict[str, Any]) -> None:
        waiting = self._replies.pop(message.pop("id"))
        error = message.pop("error", None)
        if error is not None:
            waiting.errback(ReplyError(Error(**error)))
            return
        (result,) = message.values()
        if "connect" in message:
            self.id = result["client"]
        waiting.callback(result)

    def _close(self, disconnect: Disconnect) -> None:
        self.disconnected = disconnect
        replies, self._replies = self._replies, {}
        for waiting in replies.values():
            waiting.errback(DisconnectClient(disconnect))
        self._client.transport_lost()


def _request(**fields: Any) -> dict[str, Any]:
    """Return the fields that are given."""
    return {
        name: value
        for name, value in fields.items()
        if value is not ABSENT and value != ""
    }


def _publication(content: Mapping[str, Any]) -> Publication:
    info = content.get("info")
    return Publication(
        msgspec.json.encode(content.get("data")),
        content.get("offset", 0),
        content.get("tags", {}),
        None if info is None else _info(info),
    )


def _info(info: Mapping[str, Any]) -> ClientInfo:
    conn_info, chan_info = info.get("conn_info", ABSENT), info.get("chan_info", ABSENT)
    return ClientInfo(
        info["user"],
        info["client"],
        b"" if conn_info is ABSENT else msgspec.json.encode(conn_info),
        b"" if chan_info is ABSENT else msgspec.json.encode(chan_info),
    )


@define(eq=False)
class MemoryNode:
    """A node that has started, with a memory engine and a clock of its own."""

    policy: PolicyProtocol
    options: NodeOptions = field(factory=NodeOptions)
    clock: Clock = field(factory=Clock, init=False)
    node: Node = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(START)
        engine = memory_engine(self.clock)
        self.node = Node(engine, self.policy, self.clock, self.options)
        result_of(self.node.start())

    def client(self, token: str = "", data: object = ABSENT) -> FakeClient:
        """Return a client that has connected."""
        client = FakeClient(self.node)
        client.connect(token, data)
        return client

    def advance(self, seconds: float) -> None:
        """Let time pass, in steps of a second, as a reactor would see it."""
        whole = int(seconds)
        self.clock.pump([1.0] * whole)
        self.clock.advance(seconds - whole)
