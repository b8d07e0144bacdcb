"""The ASGI application, driven without a server."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import twisted.internet.reactor  # noqa: F401  # the one that runs trial's tests
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
    NodeOptions,
    Policy,
    SubscribeOptions,
    SubscribeRequest,
    TransportInfo,
)
from centrifugo_tx.asgi import Endpoints, Receive, Scope, Send, http
from centrifugo_tx.asgi.websocket import CLOSE_TIMEOUT

from .driver import Connection, http_scope, turns, websocket_scope

CONNECT = {"id": 1, "connect": {}}
SUBSCRIBE = {"id": 2, "subscribe": {"channel": "news"}}


class Open(Policy):
    """Permits everything; keeps what it learns about transports."""

    infos: list[TransportInfo]

    def __init__(self) -> None:
        self.infos = []

    def channel(self, name: str) -> ChannelOptions:
        return ChannelOptions(history_size=10, history_ttl=60)

    def connect(self, client: Client, request: ConnectRequest) -> Admission:
        self.infos.append(client.transport.info)
        news = {"news": SubscribeOptions()} if request.name == "uni" else {}
        return Admission(user=client.transport.peer_address, subs=news)

    def subscribe(self, client: Client, request: SubscribeRequest) -> SubscribeOptions:
        return SubscribeOptions()


class ASGICase(SynchronousTestCase):
    """A node on a loop of its own."""

    def run_app(
        self,
        test: Callable[[], Coroutine[Any, Any, None]],
        options: NodeOptions | None = None,
        **more: Any,
    ) -> None:
        """Run *test* while the node runs; time passes on ``self.clock``."""

        async def main() -> None:
            self.clock = Clock()
            self.policy = Open()
            self.node = AsyncNode(
                self.policy, options=options or NodeOptions(), clock=self.clock
            )
            self.app = Endpoints(self.node, **more)
            async with self.node.lifespan():
                await test()
            await turns()

        asyncio.run(asyncio.wait_for(main(), 60))

    async def turn(self) -> None:
        """Flush what the node has written, and let the loop turn."""
        self.clock.advance(0)
        await turns()

    async def open(
        self, path: str = "/connection/websocket", **scope: Any
    ) -> Connection:
        """Return a WebSocket that asked to connect."""
        connection = Connection(self.app, websocket_scope(path, **scope))
        await connection.give("websocket.connect")
        return connection

    async def request(
        self, method: str, path: str, body: bytes = b"", **scope: Any
    ) -> Connection:
        """Return a request whose body was sent."""
        connection = Connection(self.app, http_scope(method, path, **scope))
        await connection.give("http.request", body=body)
        await self.turn()
        return connection


class WebSocketTests(ASGICase):
    """Clients over WebSocket."""

    def test_use(self) -> None:
        """A client connects, subscribes, and hears what the application publishes."""

        async def test() -> None:
            socket = await self.open()
            self.assertEqual(socket.take()[0]["type"], "websocket.accept")
            await socket.say(CONNECT, SUBSCRIBE)
            await self.turn()
            first, second = socket.replies()
            self.assertEqual((first["id"], second["id"]), (1, 2))
            await self.node.publish("news", {"n": 1})
            await self.node.publish("news", {"n": 2})
            await self.turn()
            (message,) = socket.sent  # both, in one
            self.assertFalse(message["text"].endswith("\n"))
            numbers = [each["push"]["pub"]["data"]["n"] for each in socket.replies()]
            self.assertEqual(numbers, [1, 2])
            self.assertEqual((await self.node.info())[0].num_clients, 1)
            await socket.give("websocket.disconnect")
            await socket.task
            self.assertEqual((await self.node.info())[0].num_clients, 0)

        self.run_app(test)

    def test_protobuf(self) -> None:
        """The subprotocol, or the query, selects Protobuf."""

        async def test() -> None:
            offered = ["other", "centrifuge-protobuf"]
            socket = await self.open(subprotocols=offered)
            self.assertEqual(socket.take()[0]["subprotocol"], "centrifuge-protobuf")
            # A length, and a command with id 1 and an empty connect request.
            await socket.give("websocket.receive", bytes=b"\x04\x08\x01\x22\x00")
            await self.turn()
            (reply,) = socket.take()
            self.assertEqual(reply["bytes"][1:3], b"\x08\x01")
            await socket.give("websocket.disconnect")
            other = await self.open("/connection/websocket?format=protobuf")
            await other.give("websocket.receive", bytes=b"\x04\x08\x01\x22\x00")
            self.assertEqual(self.policy.infos[-1].protocol, "protobuf")
            await other.give("websocket.disconnect")

        self.run_app(test)

    def test_refused(self) -> None:
        """Foreign pages and clients over the limit are refused before they connect."""

        async def test() -> None:
            evil = await self.open(headers=[(b"origin", b"http://evil.example")])
            self.assertEqual(evil.sent, [{"type": "websocket.close"}])
            good = await self.open(headers=[(b"Origin", b"http://good.example")])
            self.assertEqual(good.take()[0]["type"], "websocket.accept")
            await good.say(CONNECT)
            extensions: Any = {"websocket.http.response": {}}
            full = await self.open(extensions=extensions)
            self.assertEqual(full.status, 503)
            await good.give("websocket.disconnect")

        self.run_app(test, allowed_origins=["http://good.*"], connection_limit=1)

    def test_headers(self) -> None:
        """The policy reads the headers that the application names, and the address."""

        async def test() -> None:
            headers = [(b"cookie", b"a=b"), (b"x-other", b"c")]
            socket = await self.open(headers=headers)
            await socket.say(CONNECT, SUBSCRIBE)
            self.assertEqual(self.policy.infos[0].headers, {"cookie": ("a=b",)})
            await self.node.disconnect("192.0.2.1")
            await turns()
            close = socket.sent[-1]
            self.assertEqual((close["type"], close["code"]), ("websocket.close", 3503))
            await socket.give("websocket.receive", text="ignored")
            await socket.give("websocket.disconnect")
            await socket.task

        self.run_app(test, headers=["Cookie"])

    def test_large_message(self) -> None:
        """A message over the limit ends in 1009."""

        async def test() -> None:
            socket = await self.open()
            await socket.give("websocket.receive", text="x" * 101)
            self.assertEqual(socket.sent[-1]["code"], 1009)
            await socket.give("websocket.disconnect")
            await socket.task

        self.run_app(test, message_size_limit=100)

    def test_slow_reader(self) -> None:
        """What a slow client does not read is bounded; then it is closed with 3008."""

        async def test() -> None:
            socket = await self.open()
            await socket.say(CONNECT, SUBSCRIBE)
            await self.turn()
            socket.take()
            socket.writable.clear()
            for _ in range(30):
                await self.node.publish("news", "x" * 10_000)
                await self.turn()
            (info,) = await self.node.info()
            self.assertEqual(info.num_subs, 0)  # it is closed, and has left
            self.assertFalse(socket.task.done())
            self.clock.advance(CLOSE_TIMEOUT)
            await turns()
            self.assertTrue(socket.task.done())
            self.assertIsNone(socket.task.exception())

        self.run_app(test, NodeOptions(queue_max_size=100_000))

    def test_reading_nothing(self) -> None:
        """A client that reads nothing for a second is given up."""

        async def test() -> None:
            socket = await self.open()
            await socket.say(CONNECT, SUBSCRIBE)
            await self.turn()
            socket.writable.clear()
            for _ in range(8):
                await self.node.publish("news", "x" * 10_000)
                await self.turn()
            self.clock.advance(1.1)
            await turns()
            self.assertTrue(socket.task.done())

        self.run_app(test)

    def test_resumed(self) -> None:
        """A client that reads again gets everything, in order."""

        async def test() -> None:
            socket = await self.open()
            await socket.say(CONNECT, SUBSCRIBE)
            await self.turn()
            socket.take()
            socket.writable.clear()
            for number in range(20):
                await self.node.publish("news", [number, "x" * 10_000])
                await self.turn()
            socket.writable.set()
            for _ in range(5):
                await self.turn()
            data = [each["push"]["pub"]["data"][0] for each in socket.replies()]
            self.assertEqual(data, list(range(20)))
            await socket.give("websocket.disconnect")

        self.run_app(test)

    def test_stop(self) -> None:
        """A node that stops says goodbye."""

        async def test() -> None:
            socket = await self.open()
            await socket.say(CONNECT)
            stopping = asyncio.ensure_future(self.node.stop())
            await turns()
            self.assertEqual(socket.sent[-1]["code"], 3001)
            await socket.give("websocket.disconnect")
            await stopping
            self.assertEqual((await self.request("GET", "/api")).status, 503)
            refused = await self.open()
            self.assertEqual(refused.sent, [{"type": "websocket.close"}])
            await self.node.stop()
            await self.node.start()
            again = await self.open()
            await again.say(CONNECT)
            await self.turn()
            self.assertEqual(again.replies()[0]["id"], 1)
            await again.give("websocket.disconnect")

        self.run_app(test)

    def test_cancelled(self) -> None:
        """A server that cancels the application leaves no client behind."""

        async def test() -> None:
            socket = await self.open()
            await socket.say(CONNECT)
            socket.task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await socket.task
            self.assertEqual((await self.node.info())[0].num_clients, 0)

        self.run_app(test)

    def test_unidirectional(self) -> None:
        """The connect request is in the URL, or in the first message."""

        async def test() -> None:
            path = "/connection/uni_websocket"
            given = await self.open(f"{path}?cf_connect=%7B%22name%22:%22uni%22%7D")
            first = await self.open(path)
            await first.give("websocket.receive", text='{"name": "uni"}')
            await first.give("websocket.receive", text="ignored")
            await self.node.publish("news", 1)
            await self.turn()
            for socket in (given, first):
                connect, publication = socket.replies()
                self.assertIn("connect", connect)
                self.assertEqual(publication["pub"]["data"], 1)
            await self.node.disconnect("192.0.2.1")
            await turns()
            push, close = given.sent
            self.assertEqual(json.loads(push["text"])["disconnect"]["code"], 3503)
            self.assertEqual(close["code"], 3503)
            for socket in (given, first):
                await socket.give("websocket.disconnect")

        self.run_app(test, unidirectional=True)


class HTTPTests(ASGICase):
    """Streams, their commands, and the server API."""

    def test_stream(self) -> None:
        """A stream carries replies and pushes until the client leaves."""

        async def test() -> None:
            body = json.dumps(CONNECT).encode()
            stream = await self.request("POST", "/connection/http_stream", body)
            self.assertEqual(stream.status, 200)
            reply = json.loads(stream.body)["connect"]
            stream.sent.clear()
            command = {
                "session": reply["session"],
                "node": reply["node"],
                "data": json.dumps(SUBSCRIBE),
            }
            sent = await self.request(
                "POST", "/emulation", json.dumps(command).encode()
            )
            self.assertEqual(sent.status, 204)
            await self.node.publish("news", "hi")
            await self.turn()
            lines = [json.loads(line) for line in stream.body.splitlines()]
            self.assertEqual(lines[1]["push"]["pub"]["data"], "hi")
            await stream.give("http.disconnect")
            await stream.task
            self.assertEqual((await self.node.info())[0].num_clients, 0)

        self.run_app(test)

    def test_refused_connect(self) -> None:
        """A stream ends with the reason, and the response with it."""

        async def test() -> None:
            stream = await self.request("POST", "/connection/http_stream", b"[]")
            await stream.task
            self.assertFalse(stream.sent[-1]["more_body"])
            code = json.loads(stream.body)["push"]["disconnect"]["code"]
            self.assertEqual(code, 3501)

        self.run_app(test)

    def test_sse(self) -> None:
        """Events have CORS headers for allowed pages."""

        async def test() -> None:
            path = "/connection/sse?cf_connect=" + json.dumps(CONNECT)
            headers = [(b"origin", b"http://good.example")]
            stream = await self.request("GET", path, headers=headers)
            names = dict(stream.sent[0]["headers"])
            self.assertEqual(
                names[b"access-control-allow-origin"], b"http://good.example"
            )
            self.assertIn(b"data: ", stream.body)
            await self.node.disconnect("192.0.2.1")
            await self.turn()
            await stream.task
            self.assertIn(b'"code":3503', stream.body)

        self.run_app(test, allowed_origins=["http://good.example"])

    def test_slow_stream(self) -> None:
        """A stream that is not read is bounded, and given up."""

        async def test() -> None:
            body = b"\n".join(
                json.dumps(each).encode() for each in (CONNECT, SUBSCRIBE)
            )
            stream = await self.request("POST", "/connection/http_stream", body)
            stream.writable.clear()
            for _ in range(30):
                await self.node.publish("news", "x" * 10_000)
                await self.turn()
            self.assertEqual((await self.node.info())[0].num_clients, 0)
            self.assertTrue(stream.task.done())

        self.run_app(test, NodeOptions(queue_max_size=100_000))

    def test_unidirectional(self) -> None:
        """Unidirectional streams need no commands, and exist if wanted."""

        async def test() -> None:
            for path in ("/connection/uni_sse", "/connection/uni_http_stream"):
                stream = await self.request("POST", path, b'{"name": "uni"}')
                await self.node.publish("news", "hi")
                await self.turn()
                self.assertIn(b'"data":"hi"', stream.body)
                await stream.give("http.disconnect")

        self.run_app(test, unidirectional=True)

    def test_api(self) -> None:
        """The server API wants its key; without one configured there is no API."""

        async def test() -> None:
            key = [(b"x-api-key", b"secret")]
            body = b'{"channel": "news", "data": 1}'
            done = await self.request("POST", "/api/publish", body, headers=key)
            self.assertEqual(json.loads(done.body)["result"]["offset"], 1)
            refused = Connection(self.app, http_scope("POST", "/api/publish"))
            await turns()  # before its body is sent
            self.assertEqual(refused.status, 401)
            self.assertEqual(len((await self.node.history("news")).publications), 1)

        self.run_app(test, api_key="secret")

    def test_bodies(self) -> None:
        """A body may come in parts; one that is too large or slow is refused."""

        async def test() -> None:
            parts = Connection(self.app, http_scope("POST", "/connection/http_stream"))
            text = json.dumps(CONNECT).encode()
            await parts.give("http.request", body=text[:5], more_body=True)
            await parts.give("http.request", body=text[5:], more_body=False)
            await self.turn()
            self.assertIn(b'"id":1', parts.body)
            await parts.give("http.disconnect")
            large = await self.request("POST", "/emulation", b"x" * 65537)
            self.assertEqual(large.status, 413)
            cut = Connection(self.app, http_scope("POST", "/emulation"))
            await cut.give("http.request", body=b"{", more_body=True)
            await cut.give("http.disconnect")
            await cut.task
            self.patch(http, "BODY_SECONDS", 0.0)
            slow = Connection(self.app, http_scope("POST", "/emulation"))
            await slow.task
            self.assertEqual(slow.status, 408)

        self.run_app(test)


class RoutingTests(ASGICase):
    """Paths, other applications, and the life of the server."""

    def test_unknown(self) -> None:
        """Without other applications, unknown paths do not exist."""

        async def test() -> None:
            self.assertEqual((await self.request("GET", "/none")).status, 404)
            self.assertEqual((await self.request("GET", "/api/info")).status, 404)
            socket = await self.open("/none")
            self.assertEqual(socket.sent, [{"type": "websocket.close"}])

        self.run_app(test)

    def test_mounted(self) -> None:
        """The application works below the path of another one."""

        async def test() -> None:
            found = await self.request(
                "POST", "/live/emulation", b"x" * 65537, root_path="/live"
            )
            self.assertEqual(found.status, 413)

        self.run_app(test)

    def test_others(self) -> None:
        """Another application has all other paths."""

        async def other(scope: Scope, receive: Receive, send: Send) -> None:
            start = {"type": "http.response.start", "status": 418, "headers": []}
            await send(start)

        async def test() -> None:
            self.assertEqual((await self.request("GET", "/none")).status, 418)
            options = await self.request("OPTIONS", "/emulation")
            self.assertEqual(options.status, 204)

        self.run_app(test, others=other)

    def test_origin_glob(self) -> None:
        """An origin that is no glob is refused at once."""
        with self.assertRaises(ValueError):
            Endpoints(AsyncNode(Open()), allowed_origins=["["])

    def live(self, engine: Any = None) -> list[str]:
        """Run the life of a server; return the types of the answers."""
        answers: list[str] = []

        async def main() -> None:
            node = AsyncNode(Open(), **({} if engine is None else {"engine": engine}))
            connection = Connection(Endpoints(node), {"type": "lifespan"})
            await connection.give("lifespan.startup")
            await connection.give("lifespan.shutdown")
            await connection.task
            answers.extend(each["type"] for each in connection.sent)

        asyncio.run(asyncio.wait_for(main(), 60))
        return answers

    def test_lifespan(self) -> None:
        """The node starts and stops with the server."""
        self.assertEqual(
            self.live(), ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        )

    def test_failed_start(self) -> None:
        """A node that cannot start stops the server's start."""

        def engine(reactor: Any) -> Engine:
            raise BrokerUnavailable("away")

        self.assertEqual(self.live(engine), ["lifespan.startup.failed"])
