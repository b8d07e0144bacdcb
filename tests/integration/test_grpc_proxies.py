"""Event proxies over gRPC: real backends of grpcio.

With ``CENTRIFUGO_REFERENCE`` naming the reference server, both servers are shown to
send the same requests.
"""

import contextlib
import os
import shutil
import signal
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, Queue
from typing import Any, ClassVar
from unittest import skipUnless

from google.protobuf.json_format import MessageToDict
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.protocol.proto import proxy_pb2 as p

from .certificates import Authority
from .consumer_case import until
from .grpc_backend import GRPCBackend
from .ports import free_port
from .server import PATIENCE, Server
from .test_redis_nodes import ReferenceServer
from .websocket import WebSocket

_CHANNEL_EVENTS = ("subscribe", "publish", "sub_refresh", "map_publish", "map_remove")
MAP = {"mode": "ephemeral", "key_ttl": "60s"}


def options(endpoint: str, **proxy: Any) -> dict[str, Any]:
    """Return the options of a server that asks about everything."""
    proxy = {"endpoint": endpoint, "timeout": "5s", **proxy}
    short = {**proxy, "timeout": "300ms"}
    return {
        "client": {
            "allowed_origins": ["*"],
            "proxy": {
                "connect": {"enabled": True, **proxy},
                "refresh": {"enabled": True, **proxy},
            },
        },
        "channel": {
            "proxy": dict.fromkeys(
                (
                    *("subscribe", "publish", "sub_refresh"),
                    *("map_publish", "map_remove"),
                ),
                proxy,
            ),
            "without_namespace": {
                "subscribe_proxy_enabled": True,
                "publish_proxy_enabled": True,
                "history_size": 10,
                "history_ttl": "60s",
            },
            "namespaces": [
                {
                    "name": "map",
                    "subscription_type": "map",
                    "allow_subscribe_for_client": True,
                    "map": {
                        **MAP,
                        "publish_proxy_enabled": True,
                        "remove_proxy_enabled": True,
                    },
                },
                {
                    "name": "short",
                    "publish_proxy_enabled": True,
                    "publish_proxy_name": "short",
                },
            ],
        },
        "rpc": {"proxy": proxy, "without_namespace": {"proxy_enabled": True}},
        "proxies": [{"name": "short", **short}],
        "prometheus": {"enabled": True},
    }


@skipUnless(find_spec("grpc"), "grpcio is not installed")
class GRPCProxyCase(SynchronousTestCase):
    """One backend, one server, and clients."""

    backend: ClassVar[GRPCBackend]
    server: ClassVar[Server]
    #: What is added to the options of the proxies.
    proxy: ClassVar[dict[str, Any]] = {}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.backend = GRPCBackend(authority=cls.authority())
        cls.addClassCleanup(cls.backend.stop)
        cls.backend.start()
        cls.server = cls.make_server()
        cls.addClassCleanup(cls.server.close)
        cls.server.start()

    @classmethod
    def authority(cls) -> Authority | None:
        """Return what signs the certificates, for a backend with TLS."""
        return None

    @classmethod
    def make_server(cls) -> Server:
        """Return a server that is not started."""
        return Server(options(cls.backend.target, **cls.proxy))

    def setUp(self) -> None:
        self.backend.handlers = {"Connect": self.accept}
        self.backend.asked.clear()

    @staticmethod
    def accept(request: Any, context: Any) -> Any:
        """Say who a client is."""
        return p.ConnectResponse(result=p.ConnectResult(user="42"))

    def answer(self, method: str, response: Any) -> None:
        """Let the backend answer all calls of a method so."""
        self.backend.handlers[method] = lambda request, context: response

    def client(
        self, server: Server | None = None, http: Any = None, **connect: Any
    ) -> tuple[WebSocket, Any]:
        """Return a client, and the reply to its connect."""
        socket = WebSocket((server or self.server).port, http or {})
        self.addCleanup(socket.close)
        return socket, socket.ask({"id": 1, "connect": connect})

    def ask(self, socket: WebSocket, **command: Any) -> Any:
        """Return the reply to a command, without its id."""
        socket.send({"id": 7, **command})
        while (reply := socket.receive()).get("id") != 7:
            pass
        return {name: value for name, value in reply.items() if name != "id"}


class EventTests(GRPCProxyCase):
    """Each event, and what may come of it."""

    proxy: ClassVar[dict[str, Any]] = {
        "http_headers": ["Cookie", "X-Two"],
        "emulated_headers": ["Authorization", "X-Two"],
        "include_connection_meta": True,
        "grpc": {
            "static_metadata": {"X-Static": "s", "X-Two": "static"},
            "credentials_key": "app-key",
            "credentials_value": "secret",
            "compression": True,
        },
    }

    def test_connect(self) -> None:
        """The request describes the client; the result makes the connection."""
        result = p.ConnectResult(
            user="42",
            info=b'{"name":"Ada"}',
            data=b'{"hello": 1}',
            channels=["news"],
            meta=b'{"m":1}',
        )
        result.subs["room"].data = b'{"room":1}'
        self.answer("Connect", p.ConnectResponse(result=result))
        _, reply = self.client(
            http={"Cookie": "a=b", "X-Other": "o"},
            data={"k": 1},
            name="js",
            version="5",
        )
        connected = reply["connect"]
        self.assertEqual(connected["data"], {"hello": 1})
        self.assertEqual(set(connected["subs"]), {"news", "room"})
        self.assertEqual(connected["subs"]["room"]["data"], {"room": 1})
        asked = self.backend.take("Connect")
        self.assertEqual(asked.request.client, connected["client"])
        self.assertEqual(asked.request.transport, "websocket")
        self.assertEqual(asked.request.protocol, "json")
        self.assertEqual(asked.request.encoding, "json")
        self.assertEqual(asked.request.name, "js")
        self.assertEqual(asked.request.data, b'{"k": 1}')
        self.assertEqual(asked.metadata["cookie"], ["a=b"])
        self.assertEqual(asked.metadata["x-static"], ["s"])
        self.assertEqual(asked.metadata["app-key"], ["secret"])
        self.assertNotIn("x-other", asked.metadata)
        assert asked.remaining is not None
        self.assertLess(asked.remaining, 6)

    def test_metadata(self) -> None:
        """Emulated headers win over static metadata, and real ones over both."""
        frame = {"Authorization": "Bearer t", "x-two": "emulated", "x-no": "n"}
        self.client(headers=frame)
        metadata = self.backend.take("Connect").metadata
        self.assertEqual(metadata["authorization"], ["Bearer t"])
        self.assertEqual(metadata["x-two"], ["emulated"])
        self.assertNotIn("x-no", metadata)
        self.client(http={"X-Two": "header"}, headers=frame)
        metadata = self.backend.take("Connect").metadata
        self.assertEqual(metadata["x-two"], ["header"])

    def test_refused(self) -> None:
        """An error is the reply; a disconnect closes."""
        error = p.Error(code=1000, message="no", temporary=True)
        self.answer("Connect", p.ConnectResponse(error=error))
        _, reply = self.client()
        said = {"code": 1000, "message": "no", "temporary": True}
        self.assertEqual(reply, {"id": 1, "error": said})
        end = p.Disconnect(code=4500, reason="banned")
        self.answer("Connect", p.ConnectResponse(error=error, disconnect=end))
        socket = WebSocket(self.server.port)
        socket.send({"id": 1, "connect": {}})
        self.assertEqual(socket.closing(), (4500, "banned"))
        # Without a result there are no credentials.
        self.answer("Connect", p.ConnectResponse())
        socket = WebSocket(self.server.port)
        socket.send({"id": 1, "connect": {}})
        self.assertEqual(socket.closing()[0], 3501)

    def test_channels(self) -> None:
        """Subscribe, publish, RPC, and the connection's meta."""
        result = p.ConnectResult(user="42", meta=b'{"m":1}')
        self.answer("Connect", p.ConnectResponse(result=result))
        subscribed = p.SubscribeResult(data=b'{"s":1}')
        subscribed.override.force_recovery.value = True
        self.answer("Subscribe", p.SubscribeResponse(result=subscribed))
        published = p.PublishResult(b64data="eyJhIjoyfQ==", tags={"t": "1"})
        self.answer("Publish", p.PublishResponse(result=published))
        self.answer("RPC", p.RPCResponse(result=p.RPCResult(data=b'{"sum": 3}')))
        socket, _ = self.client()
        reply = self.ask(socket, subscribe={"channel": "news", "data": [1]})
        self.assertEqual(reply["subscribe"]["data"], {"s": 1})
        self.assertTrue(reply["subscribe"]["recoverable"])
        asked = self.backend.take("Subscribe").request
        self.assertEqual(
            (asked.user, asked.channel, asked.data, asked.meta),
            ("42", "news", b"[1]", b'{"m":1}'),
        )
        reply = self.ask(socket, publish={"channel": "news", "data": {"a": 1}})
        self.assertEqual(reply, {"publish": {}})
        [found] = self.server.api("history", channel="news", limit=-1)["publications"]
        self.assertEqual((found["data"], found["tags"]), ({"a": 2}, {"t": "1"}))
        self.assertEqual(self.backend.take("Publish").request.data, b'{"a": 1}')
        reply = self.ask(socket, rpc={"method": "sum", "data": [1, 2]})
        self.assertEqual(reply, {"rpc": {"data": {"sum": 3}}})
        asked = self.backend.take("RPC").request
        self.assertEqual((asked.method, asked.data), ("sum", b"[1, 2]"))

    def test_map(self) -> None:
        """The key of a map may be another than the client's."""
        self.answer(
            "MapPublish", p.MapPublishResponse(result=p.MapPublishResult(key="mine"))
        )
        socket, _ = self.client()
        self.ask(socket, subscribe={"channel": "map:m", "type": 1})
        change = {"channel": "map:m", "type": 1, "key": "k", "data": 1}
        self.assertEqual(self.ask(socket, publish=change), {"publish": {}})
        asked = self.backend.take("MapPublish").request
        self.assertEqual((asked.channel, asked.key, asked.data), ("map:m", "k", b"1"))
        [entry] = self.server.api("map_read_state", channel="map:m", limit=-1)[
            "entries"
        ]
        self.assertEqual(entry["key"], "mine")
        removal = {"channel": "map:m", "type": 1, "key": "mine", "removed": True}
        self.assertEqual(list(self.ask(socket, publish=removal)), ["publish"])
        self.assertEqual(self.backend.take("MapRemove").request.key, "mine")

    def test_refresh(self) -> None:
        """A connection that expires is refreshed, until the backend says no."""
        soon = int(time.time()) + 1
        result = p.ConnectResult(user="42", expire_at=soon)
        self.answer("Connect", p.ConnectResponse(result=result))
        self.answer("Refresh", p.RefreshResponse(result=p.RefreshResult(expired=True)))
        socket, _ = self.client()
        self.assertEqual(socket.closing()[0], 3005)
        self.assertEqual(self.backend.take("Refresh").request.user, "42")

    def test_failures(self) -> None:
        """A status, a timeout and an invalid response are error 100, and counted."""
        import grpc

        socket, _ = self.client()
        publish = {"channel": "news", "data": 1}
        internal = {"code": 100, "message": "internal server error", "temporary": True}

        def fail(request: Any, context: Any) -> Any:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")

        def sleep(request: Any, context: Any) -> Any:
            time.sleep(1)
            return p.PublishResponse()

        def malformed(request: Any, context: Any) -> Any:
            return p.PublishResponse(result=p.PublishResult(b64data="?"))

        for handler in (fail, malformed):
            self.backend.handlers["Publish"] = handler
            self.assertEqual(self.ask(socket, publish=publish), {"error": internal})
        self.backend.handlers["Publish"] = sleep
        reply = self.ask(socket, publish={"channel": "short:c", "data": 1})
        self.assertEqual(reply, {"error": internal})
        text = self.server.request("GET", "/metrics")[1].decode()
        for name, count in (("default", 1), ("short", 1)):
            line = (
                f'centrifugo_proxy_errors{{name="{name}",protocol="grpc",'
                f'type="publish"}} {count}'
            )
            found = [each for each in text.splitlines() if "proxy_errors" in each]
            self.assertTrue(
                any(_same_sample(line, each) for each in found), (line, found)
            )
        self.assertEqual(
            [line for line in self.server.complaints() if "Traceback" in line], []
        )
        self.assertIn("PERMISSION_DENIED: no", self.server.log())

    def test_restart(self) -> None:
        """A backend that is back is found again, and meanwhile calls fail at once."""
        socket, _ = self.client()
        publish = {"channel": "news", "data": 1}
        self.backend.stop()
        self.assertEqual(self.ask(socket, publish=publish)["error"]["code"], 100)
        self.backend.start()
        deadline = time.monotonic() + 60
        while "error" in self.ask(socket, publish=publish):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)


class StreamTests(GRPCProxyCase):
    """Subscription streams, one- and two-way."""

    server_type: ClassVar[type[Server]] = Server

    @classmethod
    def make_server(cls) -> Server:
        """Return a server with a namespace of each kind."""
        proxy = {"endpoint": cls.backend.target, "timeout": "2s"}
        base = options(cls.backend.target)
        base["channel"] = {
            "proxy": {"subscribe_stream": {**proxy, "include_connection_meta": True}},
            "namespaces": [
                {
                    "name": name,
                    "subscribe_stream_proxy_enabled": True,
                    "subscribe_stream_proxy_bidirectional": name == "two",
                    "force_recovery": True,
                    "history_size": 10,
                    "history_ttl": "60s",
                    "presence": True,
                }
                for name in ("one", "two")
            ],
        }
        return cls.server_type(base)

    def setUp(self) -> None:
        super().setUp()
        self.ended: Queue[str] = Queue()
        #: What a stream is to send, or an exception to end with; None completes it.
        self.feed: Queue[Any] = Queue()
        self.received: Queue[bytes] = Queue()
        self.backend.handlers["SubscribeUnidirectional"] = self.one_way
        self.backend.handlers["SubscribeBidirectional"] = self.two_way
        self.first = p.SubscribeResponse(result=p.SubscribeResult(data=b'{"s":1}'))

    def next(self, context: Any) -> Any:
        """Return what is to be sent next; None when the call has ended."""
        while context.is_active():
            with contextlib.suppress(Empty):
                return self.feed.get(timeout=0.05)
        return None

    def one_way(self, request: Any, context: Any) -> Any:
        """Send what the test feeds."""
        import grpc

        context.add_callback(lambda: self.ended.put("ended"))
        yield p.StreamSubscribeResponse(subscribe_response=self.first)
        while (item := self.next(context)) is not None:
            if isinstance(item, str):
                context.abort(grpc.StatusCode.INTERNAL, item)
            yield p.StreamSubscribeResponse(publication=item)

    def two_way(self, requests: Any, context: Any) -> Any:
        """Send the client's publications back, in brackets."""
        context.add_callback(lambda: self.ended.put("ended"))
        yield p.StreamSubscribeResponse(subscribe_response=self.first)
        for request in requests:
            data = b'{"echo":%b}' % request.publication.data
            tags = {"t": "1"}
            yield p.StreamSubscribeResponse(
                publication=p.Publication(data=data, tags=tags)
            )

    def subscribe(self, channel: str, **request: Any) -> tuple[WebSocket, Any]:
        """Return a client, and the reply to its subscribe."""
        socket, _ = self.client()
        reply = self.ask(socket, subscribe={"channel": channel, **request})
        return socket, reply

    def push(self, socket: WebSocket) -> Any:
        """Return the next push."""
        return socket.receive()["push"]

    def test_one_way(self) -> None:
        """Publications follow the reply, for this subscriber alone."""
        self.feed.put(p.Publication(data=b"1", tags={"a": "b"}))
        self.feed.put(p.Publication(data=b'{"n": 2}'))
        socket, reply = self.subscribe("one:a", data={"d": 1})
        result = reply["subscribe"]
        self.assertEqual(result["data"], {"s": 1})
        self.assertNotIn("recoverable", result)
        self.assertNotIn("positioned", result)
        asked = self.backend.take("SubscribeUnidirectional").request
        found = (asked.user, asked.channel, asked.data, asked.transport)
        self.assertEqual(found, ("42", "one:a", b'{"d": 1}', "websocket"))
        pub = {"data": 1, "tags": {"a": "b"}}
        self.assertEqual(self.push(socket), {"channel": "one:a", "pub": pub})
        self.assertEqual(self.push(socket)["pub"], {"data": {"n": 2}})
        # The channel itself still works.
        self.server.api("publish", channel="one:a", data="broker")
        self.assertEqual(self.push(socket)["pub"]["data"], "broker")
        found = self.server.api("presence_stats", channel="one:a")
        self.assertEqual(found["num_clients"], 1)
        reply = self.ask(socket, publish={"channel": "one:a", "data": 1})
        self.assertEqual(reply["error"]["code"], 108)

    def test_two_way(self) -> None:
        """What the client publishes goes into the stream."""
        socket, _ = self.subscribe("two:a")
        for number in range(3):
            socket.send({"id": 9, "publish": {"channel": "two:a", "data": number}})
        received = [socket.receive() for _ in range(6)]
        replies = [each for each in received if "id" in each]
        self.assertEqual(replies, [{"id": 9, "publish": {}}] * 3)
        pushes = [each["push"]["pub"]["data"] for each in received if "push" in each]
        self.assertEqual(pushes, [{"echo": number} for number in range(3)])
        history = self.server.api("history", channel="two:a")
        self.assertEqual(history["publications"], [])
        reply = self.ask(socket, publish={"channel": "two:other", "data": 1})
        self.assertEqual(reply["error"]["code"], 108)

    def test_completed(self) -> None:
        """A stream that the backend completes is an unsubscribe for good."""
        socket, _ = self.subscribe("one:b")
        self.feed.put(None)
        push = self.push(socket)["unsubscribe"]
        self.assertEqual(push, {"code": 2000, "reason": "server unsubscribe"})

    def test_failed(self) -> None:
        """After an error the client subscribes again."""
        socket, _ = self.subscribe("one:c")
        self.feed.put("broken")
        push = self.push(socket)["unsubscribe"]
        self.assertEqual(push, {"code": 2500, "reason": "insufficient state"})
        self.assertIn("subscribe", self.ask(socket, subscribe={"channel": "one:c"}))

    def test_client_leaves(self) -> None:
        """Unsubscribing and disconnecting cancel the stream."""
        socket, _ = self.subscribe("one:d")
        self.ask(socket, unsubscribe={"channel": "one:d"})
        self.assertEqual(self.ended.get(timeout=PATIENCE), "ended")
        self.ask(socket, subscribe={"channel": "two:d"})
        socket.close()
        self.assertEqual(self.ended.get(timeout=PATIENCE), "ended")

    def test_refused(self) -> None:
        """An error refuses, never as temporary; a disconnect closes."""
        error = p.Error(code=1000, message="no", temporary=True)
        self.first = p.SubscribeResponse(error=error)
        socket, reply = self.subscribe("one:e")
        self.assertEqual(reply, {"error": {"code": 1000, "message": "no"}})
        self.assertEqual(self.ended.get(timeout=PATIENCE), "ended")
        end = p.Disconnect(code=4500, reason="x")
        self.first = p.SubscribeResponse(disconnect=end)
        socket.send({"id": 3, "subscribe": {"channel": "two:e"}})
        self.assertEqual(socket.closing(), (4500, "x"))

    def test_no_response(self) -> None:
        """Without a first response in time it is error 100, and the stream ends."""

        def silent(request: Any, context: Any) -> Any:
            context.add_callback(lambda: self.ended.put("ended"))
            self.next(context)
            yield p.StreamSubscribeResponse()

        def wrong(request: Any, context: Any) -> Any:
            context.add_callback(lambda: self.ended.put("ended"))
            yield p.StreamSubscribeResponse(publication=p.Publication(data=b"1"))
            self.next(context)

        def empty(request: Any, context: Any) -> Any:
            context.add_callback(lambda: self.ended.put("ended"))
            yield from ()

        for handler in (silent, wrong, empty):
            self.backend.handlers["SubscribeUnidirectional"] = handler
            _, reply = self.subscribe("one:f")
            self.assertEqual(reply["error"]["code"], 100)
            self.assertEqual(self.ended.get(timeout=PATIENCE), "ended")
        text = self.server.request("GET", "/metrics")[1].decode()
        self.assertIn('type="subscribe_stream"', text)


class TLSTests(GRPCProxyCase):
    """A backend with TLS, which wants to see a certificate."""

    made: ClassVar[Authority]
    folder: ClassVar[Path]

    @classmethod
    def identify(cls, name: str) -> None:
        """Write a certificate of this name for the server."""
        certificate, key = cls.made.issue(name)
        (cls.folder / "certificate.pem").write_text(certificate)
        (cls.folder / "key.pem").write_text(key)

    def shown(self) -> bytes:
        """Return the name in the certificate that the backend sees."""
        _, reply = self.client()
        self.assertIn("connect", reply)
        context = self.backend.take("Connect").headers
        name: bytes = context.auth_context()["x509_common_name"][0]
        return name

    @classmethod
    def authority(cls) -> Authority | None:
        """Sign with this authority."""
        cls.made = Authority()
        return cls.made

    @classmethod
    def make_server(cls) -> Server:
        """Return a server with a certificate of its own."""
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.identify("centrifugo")
        tls = {
            "enabled": True,
            "server_ca_pem": cls.made.pem,
            "server_name": "backend.test",
            "cert_pem": str(cls.folder / "certificate.pem"),
            "key_pem": str(cls.folder / "key.pem"),
        }
        return Server(
            options(f"grpc://{cls.backend.target}/ignored", grpc={"tls": tls})
        )

    def test_connect(self) -> None:
        """Both sides trust each other; the backend knows the server's name."""
        self.assertEqual(self.shown(), b"centrifugo")

    def test_renewed(self) -> None:
        """A new certificate is shown without a restart."""
        self.assertEqual(self.shown(), b"centrifugo")
        self.identify("renewed")
        self.server.signal(signal.SIGHUP)
        until(lambda: self.shown() == b"renewed", "the new certificate is shown")


class LazyTests(SynchronousTestCase):
    """A backend that is not there yet."""

    @skipUnless(find_spec("grpc"), "grpcio is not installed")
    def test_start(self) -> None:
        """The server starts without it, and fails calls until it is there."""
        server = Server(options(f"127.0.0.1:{free_port()}")).start()
        self.addCleanup(server.close)
        socket = WebSocket(server.port)
        self.addCleanup(socket.close)
        reply = socket.ask({"id": 1, "connect": {}})
        self.assertEqual(reply["error"]["code"], 100)
        socket.close()
        self.assertEqual(server.stop(), 0)


def _same_sample(expected: str, found: str) -> bool:
    """Compare samples of metrics, whose labels may be in any order."""

    def parts(line: str) -> tuple[str, frozenset[str], float]:
        name, _, rest = line.partition("{")
        labels, _, value = rest.rpartition("} ")
        return name, frozenset(labels.split(",")), float(value or 0)

    return parts(expected) == parts(found)


@skipUnless(os.environ.get("CENTRIFUGO_REFERENCE"), "CENTRIFUGO_REFERENCE is not set")
class ReferenceTests(GRPCProxyCase):
    """The reference sends the same requests."""

    proxy: ClassVar[dict[str, Any]] = EventTests.proxy

    def both(self, talk: Any) -> tuple[list[Any], list[Any]]:
        """Return what each server asked while *talk* had a client."""
        found = []
        reference = ReferenceServer(options(self.backend.target, **self.proxy))
        self.addCleanup(reference.close)
        for server in (self.server, reference.start()):
            self.backend.asked.clear()
            talk(server)
            found.append(
                [
                    (each.method, _comparable(each.request), _own(each.metadata))
                    for each in self.backend.asked
                ]
            )
        return found[0], found[1]

    def test_requests(self) -> None:
        """Field by field and key by key, for the same commands of a client."""
        result = p.ConnectResult(user="42", meta=b'{"m":1}')
        self.answer("Connect", p.ConnectResponse(result=result))

        def talk(server: Server) -> None:
            socket, _ = self.client(
                server,
                http={"Cookie": "a=b"},
                data={"k": [1, 2]},
                name="js",
                version="5",
                headers={"Authorization": "Bearer t", "X-Two": "e"},
            )
            self.ask(socket, subscribe={"channel": "news", "data": {"d": 1}})
            self.ask(socket, publish={"channel": "news", "data": {"a": 1}})
            self.ask(socket, rpc={"method": "sum", "data": [1]})
            self.ask(socket, rpc={"method": ""})

        ours, theirs = self.both(talk)
        self.assertEqual(ours, theirs)
        self.assertEqual(len(ours), 5)


@skipUnless(os.environ.get("CENTRIFUGO_REFERENCE"), "CENTRIFUGO_REFERENCE is not set")
class ReferenceStreamTests(StreamTests):
    """The reference does the same."""

    server_type: ClassVar[type[Server]] = ReferenceServer


def _comparable(request: Any) -> dict[str, Any]:
    fields: dict[str, Any] = MessageToDict(request)
    return {**fields, "client": bool(fields.get("client"))}


def _own(metadata: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the metadata but for what names the library."""
    return {
        name: values
        for name, values in metadata.items()
        if name != "user-agent" and not name.startswith("grpc-")
    }
