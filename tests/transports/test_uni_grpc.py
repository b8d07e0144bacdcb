"""Unidirectional clients over gRPC: streams, their ends, and their queues."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from centrifugo_tx.core import Client
from centrifugo_tx.errors import ReplyError
from centrifugo_tx.grpc.asyncio_bridge import AsyncioBridge
from centrifugo_tx.interfaces import ITransport
from centrifugo_tx.options import Admission, SubscribeOptions
from centrifugo_tx.protocol.codes import (
    CONNECTION_CLOSED,
    FORCE_DISCONNECT,
    TOKEN_EXPIRED,
)
from centrifugo_tx.protocol.proto import unistream_pb2
from centrifugo_tx.transports import uni_grpc
from centrifugo_tx.transports.uni_grpc import UniGRPC

from ..support import World

Push: Any = unistream_pb2.Push
ConnectRequest: Any = unistream_pb2.ConnectRequest


class Ford(AsyncioBridge):
    """A bridge whose reactor and loop are the same."""

    def to_loop(self, call: Callable[[], object]) -> None:
        """Do it at once."""
        call()

    def to_reactor(self, call: Callable[..., object], *arguments: object) -> None:
        """Likewise."""
        call(*arguments)


@define(eq=False)
class Call:
    """A call as the method sees it; the peer reads while it is ``reading``."""

    metadata: tuple[tuple[str, Any], ...] = ()
    frames: list[bytes] = field(factory=list)
    reading: asyncio.Event = field(factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        self.reading.set()

    def invocation_metadata(self) -> tuple[tuple[str, Any], ...]:
        """Return the metadata."""
        return self.metadata

    def peer(self) -> str:
        """Return the other end, as gRPC writes it."""
        return "ipv6:%5B::1%5D:5000"

    async def write(self, frame: bytes) -> None:
        """Take a message, when the peer reads."""
        await self.reading.wait()
        self.frames.append(frame)

    def take(self) -> list[Any]:
        """Return the pushes that came since the last look."""
        frames, self.frames = self.frames, []
        return [Push.FromString(frame) for frame in frames]


async def settle() -> None:
    """Let the loop do all that can be done."""
    for _ in range(10):
        await asyncio.sleep(0)


class UniGRPCCase(SynchronousTestCase):
    """Has a node, whose clients come over gRPC."""

    def setUp(self) -> None:
        self.world = World()
        subs = {"news": SubscribeOptions()}
        self.world.policy.admission = Admission(user="u", subs=subs)
        self.consumers = UniGRPC(
            self.world.node, Ford(None), 1000, frozenset({"x-user"})
        )

    def run_in_loop(self, story: Coroutine[Any, Any, None]) -> None:
        """Run a test that needs a loop."""
        asyncio.run(asyncio.wait_for(story, 10))

    async def open(self, request: bytes = b"", *metadata: tuple[str, Any]) -> Call:
        """Begin a call; ``self.task`` is what serves it."""
        call = Call(metadata)
        self.task = asyncio.ensure_future(self.consumers.consume(request, call))
        await settle()
        return call

    @property
    def client(self) -> Client:
        """Return the only client."""
        (client,) = self.world.node.connections.open
        return client


class StreamTests(UniGRPCCase):
    """Messages that a client receives."""

    def test_connect(self) -> None:
        """The request is Protobuf, and so is the connect push that answers it."""

        async def story() -> None:
            request = ConnectRequest(token="t", name="n")
            request.subs["news"].offset = 7
            call = await self.open(request.SerializeToString())
            (push,) = call.take()
            self.assertEqual(push.connect.client, self.client.id)
            self.assertIn("news", push.connect.subs)
            self.assertEqual(len(push.connect.session), 36)
            ((_, asked),) = self.world.policy.calls
            self.assertEqual((asked.token, asked.name), ("t", "n"))
            self.assertEqual(asked.subs["news"].offset, 7)
            self.assertEqual(self.client.transport.peer_address, "::1")
            self.task.cancel()

        self.run_in_loop(story())

    def test_publications(self) -> None:
        """Pushes come one by one, in order; pings are empty."""

        async def story() -> None:
            call = await self.open()
            call.take()
            for number in range(3):
                self.world.publish("news", number)
            self.client.ping()
            await settle()
            *pushes, ping = call.take()
            self.assertEqual([push.pub.data for push in pushes], [b"0", b"1", b"2"])
            self.assertEqual({push.channel for push in pushes}, {"news"})
            self.assertEqual(ping, Push())
            self.task.cancel()

        self.run_in_loop(story())

    def test_malformed(self) -> None:
        """A malformed request ends with 3501."""

        async def story() -> None:
            call = await self.open(b"\xff")
            self.assertEqual([push.disconnect.code for push in call.take()], [3501])
            await self.task

        self.run_in_loop(story())

    def test_transport(self) -> None:
        """The client's transport is one; it knows the metadata that is kept."""

        async def story() -> None:
            await self.open(
                b"", ("x-user", "1"), ("x-user", "2"), ("x-user", b"3"), ("y", "4")
            )
            transport = self.client.transport
            verifyObject(ITransport, transport)
            info = transport.info
            self.assertEqual(info.headers, {"x-user": ("1", "2")})
            self.assertEqual((info.name, info.protocol), ("uni_grpc", "protobuf"))
            self.assertTrue(info.unidirectional)
            transport.pause()
            transport.resume()
            self.task.cancel()

        self.run_in_loop(story())


class EndTests(UniGRPCCase):
    """How a call ends."""

    def test_by_the_server(self) -> None:
        """Waiting frames and a disconnect push are sent; the call ends with OK."""

        async def story() -> None:
            call = await self.open()
            call.take()
            client = self.client
            self.world.publish("news", 1)
            client.close(FORCE_DISCONNECT)
            client.transport.write(b"too late")
            await self.task
            news, end = call.take()
            self.assertEqual(news.pub.data, b"1")
            self.assertEqual(end.disconnect.code, 3503)
            self.assertEqual(end.disconnect.reason, "force disconnect")
            self.assertEqual(len(self.world.node.connections.open), 0)

        self.run_in_loop(story())

    def test_refused(self) -> None:
        """An error of connect becomes a disconnect."""

        async def story() -> None:
            self.world.policy.admission = ReplyError(TOKEN_EXPIRED)
            call = await self.open()
            await self.task
            self.assertEqual([push.disconnect.code for push in call.take()], [3005])

        self.run_in_loop(story())

    def test_by_the_peer(self) -> None:
        """When the peer cancels, the node knows."""

        async def story() -> None:
            await self.open()
            client = self.client
            self.task.cancel()
            await asyncio.wait([self.task])
            self.assertTrue(self.task.cancelled())
            self.assertTrue(client.closed)
            self.assertEqual(len(self.world.node.connections.open), 0)

        self.run_in_loop(story())

    def test_silent(self) -> None:
        """3000 ends the call without a push, and drops the queue."""

        async def story() -> None:
            call = await self.open()
            call.take()
            self.world.publish("news", 1)
            self.client.close(CONNECTION_CLOSED)
            await self.task
            self.assertEqual(call.take(), [])

        self.run_in_loop(story())

    def test_slow(self) -> None:
        """A client with too many waiting bytes is dropped; nothing is kept."""

        async def story() -> None:
            call = await self.open()
            call.take()
            client = self.client
            call.reading.clear()
            for _ in range(100):
                self.world.publish("news", "x" * 100)
                await settle()
            self.assertTrue(client.closed)
            await self.task
            self.assertEqual(call.take(), [])
            self.assertEqual(self.disconnects("3008"), 1)
            self.assertEqual(len(self.world.node.connections.open), 0)

        self.run_in_loop(story())

    def test_not_slow(self) -> None:
        """A client that reads may receive any amount."""

        async def story() -> None:
            call = await self.open()
            call.take()
            for _ in range(100):
                self.world.publish("news", "x" * 100)
                await settle()
            self.assertEqual(len(call.take()), 100)
            self.assertFalse(self.client.closed)
            self.task.cancel()

        self.run_in_loop(story())

    def test_lingering(self) -> None:
        """A client that does not read the last frames is dropped after a while."""
        self.patch(uni_grpc, "LINGER", 0.01)

        async def story() -> None:
            call = await self.open()
            call.take()
            call.reading.clear()
            self.client.close(FORCE_DISCONNECT)
            await self.task
            self.assertEqual(call.take(), [])

        self.run_in_loop(story())

    def test_stopping(self) -> None:
        """While the node stops, new clients are disconnected with 3001."""

        async def story() -> None:
            self.world.node.stop()
            call = await self.open()
            self.assertEqual([push.disconnect.code for push in call.take()], [3001])
            await self.task

        self.run_in_loop(story())

    def disconnects(self, code: str) -> float:
        """Return how many were counted with *code*."""
        counters = self.world.node.metrics.counters()
        return sum(c.value for _, labels, c in counters if ("code", code) in labels)
