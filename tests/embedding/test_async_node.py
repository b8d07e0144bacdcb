"""The node for asyncio."""

import asyncio
import inspect
from collections.abc import Coroutine
from typing import Any, get_args, get_type_hints

import twisted.internet.reactor  # noqa: F401  # the one that runs trial's tests
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx import (
    Admission,
    AsyncNode,
    BrokerUnavailable,
    ChannelOptions,
    Client,
    ConnectRequest,
    Engine,
    MapRules,
    Node,
    Policy,
    ReplyError,
    SubscribeOptions,
    SubscribeRequest,
    memory_engine,
)
from centrifugo_tx.testing import FakeClient

#: What only one of the two has, because only there it makes sense.
OF_NODE = {"of", "id", "num_clients", "num_nodes", "answer_survey"}
OF_ASYNC_NODE = {"lifespan", "node", "clock", "started"}


class Slow(Policy):
    """Waits for the loop before each decision."""

    def channel(self, name: str) -> ChannelOptions:
        if name == "map":
            return ChannelOptions(map=MapRules())
        return ChannelOptions(history_size=10, history_ttl=60)

    async def connect(self, client: Client, request: ConnectRequest) -> Admission:
        await asyncio.sleep(0)
        return Admission(user=request.token)

    async def subscribe(
        self, client: Client, request: SubscribeRequest
    ) -> SubscribeOptions:
        await asyncio.sleep(0)
        return SubscribeOptions()


class AsyncNodeTests(SynchronousTestCase):
    """Each test has a loop of its own."""

    def run_on_loop(self, main: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine."""
        asyncio.run(asyncio.wait_for(main, 60))

    def test_verbs(self) -> None:
        """It has the verbs of `Node`, with the same parameters and results."""
        mine = {name for name in vars(AsyncNode) if not name.startswith("_")}
        theirs = {name for name in vars(Node) if not name.startswith("_")}
        self.assertEqual(mine - OF_ASYNC_NODE, theirs - OF_NODE)
        for name in mine - OF_ASYNC_NODE:
            verb, twin = getattr(AsyncNode, name), getattr(Node, name)
            if not inspect.iscoroutinefunction(verb):
                continue
            given = inspect.signature(verb).parameters
            wanted = inspect.signature(twin).parameters
            self.assertEqual(str(list(given.values())), str(list(wanted.values())))
            returned = get_type_hints(verb)["return"]
            (wrapped,) = get_args(get_type_hints(twin)["return"])
            # In a type's arguments None stands for itself.
            self.assertEqual(returned, type(None) if wrapped is None else wrapped)

    def test_use(self) -> None:
        """Verbs are awaited in tasks; decisions of the policy are coroutines."""

        async def main() -> None:
            node = AsyncNode(Slow())
            async with node.lifespan():
                client = FakeClient(node)
                reply = await client.ask(connect={"token": "ann"})
                self.assertEqual(reply["client"], client.id)
                await client.ask(subscribe={"channel": "news"})
                result = await node.publish("news", {"text": "hi"})
                self.assertEqual(result.offset, 1)
                history = await node.history("news")
                self.assertEqual(
                    [each.data for each in history.publications], [{"text": "hi"}]
                )
                (publication,) = client.publications("news")
                self.assertEqual(publication.data, {"text": "hi"})
                await node.disconnect("ann")
                assert client.disconnected is not None
                self.assertEqual(client.disconnected.code, 3503)

        self.run_on_loop(main())

    def test_each_verb(self) -> None:
        """Each verb calls that of `Node`, and returns its result."""

        async def main() -> None:
            node = AsyncNode(Slow())
            async with node.lifespan():
                client = FakeClient(node)
                await client.ask(connect={"token": "ann"})
                await node.subscribe("ann", "news", data=1)
                self.assertEqual(await node.channels(), {"news": 1})
                await node.unsubscribe("ann", "news")
                first, second = await node.broadcast(["a", "b"], 1)
                self.assertEqual((first.offset, second.offset), (1, 1))
                await node.remove_history("a")
                self.assertEqual((await node.history("a")).publications, [])
                await node.map_publish("map", "key", {"n": 1})
                (entry,) = (await node.map_state("map")).entries
                self.assertEqual(entry.data, {"n": 1})
                self.assertEqual(await node.map_size("map"), 1)
                await node.map_remove("map", "key")
                self.assertEqual(len((await node.map_changes("map")).entries), 2)
                await node.map_clear("map")
                for refused in (
                    node.presence("news"),
                    node.presence_stats("news"),
                    node.shared_poll_publish("news", "key", 1, version=1),
                ):
                    with self.assertRaises(ReplyError):
                        await refused
                (info,) = await node.info()
                self.assertEqual(await node.survey("none", b""), {info.uid: (3, b"")})
                policy = Slow()
                node.policy = policy
                self.assertIs(node.node.policy, policy)
                await node.refresh("ann", expired=True)
                assert client.disconnected is not None
                self.assertEqual(client.disconnected.code, 3005)

        self.run_on_loop(main())

    def test_errors(self) -> None:
        """Failures are exceptions."""

        async def main() -> None:
            node = AsyncNode(Slow())
            with self.assertRaises(RuntimeError):
                await node.publish("news", 1)
            await node.start()
            with self.assertRaises(RuntimeError):
                await node.start()
            with self.assertRaises(TypeError):
                await node.publish("news", b"1")
            with self.assertRaises(ReplyError):
                await node.map_size("news")
            await node.stop()

        self.run_on_loop(main())

    def test_timers(self) -> None:
        """The loop keeps the node's time."""

        async def main() -> None:
            passed = asyncio.Event()
            node = AsyncNode(Slow())
            await node.start()
            clock = node.node.core.clock  # type: ignore[attr-defined]
            clock.callLater(0.001, passed.set)
            await passed.wait()
            await node.stop()

        self.run_on_loop(main())

    def test_two_nodes(self) -> None:
        """Nodes of one loop share its reactor, and a node may start again."""

        async def main() -> None:
            first, second = AsyncNode(Slow()), AsyncNode(Slow())
            await first.start()
            await second.start()
            one, other = first.node.core, second.node.core
            self.assertIs(one.clock, other.clock)  # type: ignore[attr-defined]
            await first.stop()
            await first.start()
            await first.stop()
            await second.stop()

        self.run_on_loop(main())

    def test_failed_start(self) -> None:
        """A start that fails leaves a node that has not started."""
        away = True

        def engine(reactor: Any) -> Engine:
            parts = memory_engine(reactor)
            return Engine(parts.broker, parts.presence, parts.controller, start)

        def start() -> "Deferred[None]":
            done: Deferred[None] = Deferred()
            if away:
                done.errback(BrokerUnavailable("away"))
            else:
                done.callback(None)
            return done

        async def main() -> None:
            nonlocal away
            node = AsyncNode(Slow(), engine)
            with self.assertRaises(BrokerUnavailable):
                await node.start()
            with self.assertRaises(RuntimeError):
                _ = node.node
            away = False
            await node.start()
            await node.stop()

        self.run_on_loop(main())

    def test_cancelled(self) -> None:
        """A cancelled call is given up, and the policy's task is cancelled with it."""

        async def main() -> None:
            never: Deferred[Any] = Deferred(lambda _: cancelled.append(True))
            cancelled: list[bool] = []
            node = AsyncNode(Slow(), clock=Clock())
            await node.start()
            waiting = asyncio.ensure_future(node._wait(never))
            await asyncio.sleep(0)
            waiting.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await waiting
            await asyncio.sleep(0)
            self.assertEqual(cancelled, [True])
            await node.stop()

        self.run_on_loop(main())

    def test_given_clock(self) -> None:
        """With a test's clock no time passes by itself."""

        async def main() -> None:
            clock = Clock()
            node = AsyncNode(Slow(), clock=clock)
            await node.start()
            client = FakeClient(node)
            await client.ask(connect={})
            clock.advance(26)
            self.assertEqual(client.pings, 1)
            await node.stop()

        self.run_on_loop(main())
