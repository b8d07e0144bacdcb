"""Clients that only listen, on every transport, with a server as they meet it."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any
from unittest import SkipTest, skipUnless

from twisted.trial.unittest import SynchronousTestCase

import centrifugo_tx

from . import server
from .listeners import (
    CONSUME,
    EventStream,
    LineStream,
    Listener,
    RemoteCall,
    UniWebSocket,
)
from .ports import free_port
from .server import PATIENCE, Server, command, connection_token, shared_server

GRPC = find_spec("grpc") is not None
#: Prints its subscriptions when it has connected.
_GENERATED = """
import sys
import grpc, unistream_pb2 as messages, unistream_pb2_grpc as service
with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = service.CentrifugoUniStreamStub(channel)
    pushes = stub.Consume(messages.ConnectRequest(token=sys.argv[2]))
    print(*next(pushes).connect.subs)
    pushes.cancel()
"""
#: Streams that are open at the same time.
MANY = 1000

_KEPT = {"history_size": 10, "history_ttl": "60s", "force_recovery": True}
_OPTIONS: dict[str, Any] = {
    "client": {
        "expired_close_delay": "200ms",
        "allow_anonymous_connect_without_token": True,
        "connect_code_to_unidirectional_disconnect": {
            "enabled": True,
            "transforms": [{"code": 109, "to": {"code": 4109, "reason": "too old"}}],
        },
    },
    "channel": {
        "namespaces": [
            {"name": "news", **_KEPT},
            {
                "name": "open",
                "allow_subscribe_for_client": True,
                "allow_subscribe_for_anonymous": True,
                **_KEPT,
            },
        ]
    },
    "uni_websocket": {"enabled": True},
    "uni_sse": {"enabled": True},
    "uni_http_stream": {"enabled": True},
}


def started(name: str = "") -> Server:
    """Return a server; the one of that *name* serves several tests."""
    uni_grpc = {"enabled": GRPC, "address": "127.0.0.1", "port": free_port()}
    options = {**_OPTIONS, "uni_grpc": uni_grpc}
    return shared_server(name, options) if name else Server(options).start()


def grpc_port(server: Server) -> int:
    """Return where a server listens for gRPC."""
    found = re.search(r"unidirectional GRPC on 127\.0\.0\.1:(\d+)", server.log())
    assert found is not None, server.log()
    return int(found[1])


class ListenerTests:
    """Common behavior of all transports."""

    test: Any
    server: Server

    def setUp(self) -> None:
        self.server = started("uni")

    def listen(self, **request: Any) -> Listener:
        """Return a client that has sent a connect request."""
        raise AssertionError("a test case says")

    def ends_with(self, listener: Listener) -> None:
        """Make sure that nothing follows the disconnect push."""
        raise AssertionError("a test case says")

    def user(self, letter: str) -> str:
        """Return a user that no other class of tests knows."""
        return f"{type(self).__name__}-{letter}"

    def channel(self, letter: str, namespace: str = "news") -> str:
        """Return a channel likewise."""
        return f"{namespace}:{self.user(letter)}"

    def connected(self, user: str, **claims: Any) -> tuple[Listener, Any]:
        """Return a client of *user*, and its connect push."""
        token = connection_token(user, **claims)
        return self.welcomed(token=token)

    def welcomed(self, **request: Any) -> tuple[Listener, Any]:
        """Return a client, and its connect push."""
        listener = self.listen(**request)
        self.test.addCleanup(listener.close)
        return listener, listener.next()["connect"]

    def test_connect(self) -> None:
        """The first push has the client id and the ping interval."""
        _, connect = self.welcomed()
        self.test.assertEqual(len(connect["client"]), 36)
        self.test.assertEqual(len(connect["session"]), 36)
        self.test.assertEqual(connect["ping"], 300)
        self.test.assertEqual(
            set(connect), {"client", "version", "session", "ping"}, connect
        )

    def test_publications(self) -> None:
        """Channels of the token are subscribed, and their publications arrive."""
        listener, connect = self.connected(self.user("a"), channels=[self.channel("a")])
        self.test.assertIn(self.channel("a"), connect["subs"])
        self.test.assertTrue(connect["subs"][self.channel("a")]["recoverable"])
        for text in ("one", "zwei ä", "three"):
            self.server.api("publish", channel=self.channel("a"), data={"text": text})
            push = listener.next()
            self.test.assertEqual(push["channel"], self.channel("a"))
            self.test.assertEqual(push["pub"]["data"], {"text": text})

    def test_recovery(self) -> None:
        """Publications since a position come with the connect push."""
        listener, connect = self.connected(self.user("b"), channels=[self.channel("b")])
        known = connect["subs"][self.channel("b")]
        listener.close()
        for number in range(3):
            self.server.api("publish", channel=self.channel("b"), data={"n": number})
        since = {"recover": True, "epoch": known["epoch"], "offset": 1}
        token = connection_token(self.user("b"), channels=[self.channel("b")])
        _, connect = self.welcomed(token=token, subs={self.channel("b"): since})
        news = connect["subs"][self.channel("b")]
        self.test.assertTrue(news["recovered"])
        found = [each["data"]["n"] for each in news["publications"]]
        self.test.assertEqual(found, [1, 2])

    def test_asked_for(self) -> None:
        """Channels that anybody may join can be asked for, with a position."""
        channel = self.channel("a", "open")
        _, connect = self.welcomed(subs={channel: {}, self.channel("a"): {}})
        self.test.assertEqual(list(connect["subs"]), [channel])
        known = connect["subs"][channel]
        self.server.api("publish", channel=channel, data=1)
        since = {"recover": True, "epoch": known["epoch"]}
        _, connect = self.welcomed(subs={channel: since})
        news = connect["subs"][channel]
        self.test.assertTrue(news["recovered"])
        self.test.assertEqual([each["data"] for each in news["publications"]], [1])

    def test_subscribed_later(self) -> None:
        """The server subscribes and unsubscribes clients, and tells them."""
        listener, _ = self.connected(self.user("c"))
        self.server.api("subscribe", user=self.user("c"), channel=self.channel("c"))
        push = listener.next()
        self.test.assertEqual(push["channel"], self.channel("c"))
        self.test.assertIn("epoch", push["subscribe"])
        self.server.api("publish", channel=self.channel("c"), data=1)
        self.test.assertEqual(listener.next()["pub"]["data"], 1)
        self.server.api("unsubscribe", user=self.user("c"), channel=self.channel("c"))
        self.test.assertEqual(listener.next()["unsubscribe"]["code"], 2000)

    def test_refresh(self) -> None:
        """The server can move the end of a connection, and tells."""
        end = int(time.time()) + 60
        listener, connect = self.connected(self.user("d"), exp=end)
        self.test.assertTrue(connect["expires"])
        self.test.assertGreater(connect["ttl"], 50)
        self.server.api("refresh", user=self.user("d"), expire_at=end + 600)
        refresh = listener.next()["refresh"]
        self.test.assertGreater(refresh["ttl"], 600)

    def test_expiry(self) -> None:
        """A connection without a refresh ends with 3005."""
        ahead = 1
        while True:  # until one connects before its token expires
            token = connection_token(self.user("e"), exp=int(time.time()) + ahead)
            listener = self.listen(token=token)
            self.test.addCleanup(listener.close)
            if "connect" in listener.next():
                break
            ahead *= 2
        expected = {"code": 3005, "reason": "connection expired"}
        self.test.assertEqual(listener.next(), {"disconnect": expected})
        self.ends_with(listener)

    def test_disconnect(self) -> None:
        """The server API ends connections, with any code."""
        listener, _ = self.connected(self.user("f"), channels=[self.channel("f")])
        reason = {"code": 4444, "reason": "go"}
        self.server.api("disconnect", user=self.user("f"), disconnect=reason)
        self.test.assertEqual(listener.next(), {"disconnect": reason})
        self.ends_with(listener)
        self.wait_until_gone("f")

    def test_refused(self) -> None:
        """A failed connect is a disconnect, as the configuration has it."""
        wrong = {"code": 3500, "reason": "invalid token"}
        old = {"code": 4109, "reason": "too old"}
        for token, reason in (
            ("x", wrong),
            (connection_token(self.user("g"), exp=int(time.time()) - 10), old),
        ):
            listener = self.listen(token=token)
            self.test.assertEqual(listener.next(), {"disconnect": reason})
            self.ends_with(listener)

    def test_gone(self) -> None:
        """When the client goes, the server knows."""
        listener, _ = self.connected(self.user("h"), channels=[self.channel("h")])
        listener.close()
        self.wait_until_gone("h")

    def wait_until_gone(self, letter: str) -> None:
        """Wait until a channel has no subscriber any more."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            channels = self.server.api("channels")["channels"]
            if self.channel(letter) not in channels:
                return
            time.sleep(0.02)
        self.test.fail(f"{letter} is still there")

    def test_shutdown(self) -> None:
        """A server that ends tells its clients first."""
        self.server = started()
        self.test.addCleanup(self.server.close)
        listener, _ = self.connected(self.user("i"))
        self.server.signal(signal.SIGTERM)
        reason = {"code": 3001, "reason": "shutdown"}
        self.test.assertEqual(listener.next(), {"disconnect": reason})
        self.ends_with(listener)
        self.test.assertEqual(self.server.wait(), 0)
        self.test.assertEqual(self.server.complaints(), [])


class UniWebSocketTests(ListenerTests, SynchronousTestCase):
    """Over WebSocket, with the request in the URL."""

    in_url = True

    def setUp(self) -> None:
        self.test = self
        ListenerTests.setUp(self)

    def listen(self, **request: Any) -> Listener:
        return UniWebSocket(self.server.port, request, self.in_url)

    def ends_with(self, listener: Listener) -> None:
        code = listener.end()
        assert isinstance(code, int)
        self.assertGreaterEqual(code, 3000)


class UniWebSocketMessageTests(UniWebSocketTests):
    """Over WebSocket, with the request in the first message."""

    in_url = False


class UniHTTPStreamTests(ListenerTests, SynchronousTestCase):
    """Over HTTP streaming."""

    def setUp(self) -> None:
        self.test = self
        ListenerTests.setUp(self)

    def listen(self, **request: Any) -> Listener:
        return LineStream(self.server.port, request)

    def ends_with(self, listener: Listener) -> None:
        self.assertEqual(listener.end(), b"")


class UniSSETests(UniHTTPStreamTests):
    """Over server-sent events."""

    def listen(self, **request: Any) -> Listener:
        return EventStream(self.server.port, request)


class UniSSEInURLTests(UniHTTPStreamTests):
    """Over server-sent events, with the request in the URL, as browsers do it."""

    def listen(self, **request: Any) -> Listener:
        return EventStream(self.server.port, request, in_url=True)


@skipUnless(which("curl"), "curl is not installed")
class CurlTests(SynchronousTestCase):
    """The streams with curl."""

    def setUp(self) -> None:
        self.server = started("uni")

    def curl(self, *arguments: str) -> str:
        """Return what curl prints in half a second of a stream."""
        command = ["curl", "-sNi", "--max-time", "0.5", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout

    def test_stream(self) -> None:
        """Head and first push come at once."""
        url = f"http://127.0.0.1:{self.server.port}/connection/uni_http_stream"
        head, _, body = self.curl("-d", "{}", url).partition("\n\n")
        self.assertIn("200 OK", head.split("\n")[0])
        self.assertIn("connect", json.loads(body.splitlines()[0]))

    def test_events(self) -> None:
        """So they do as events."""
        url = f"http://127.0.0.1:{self.server.port}/connection/uni_sse"
        head, _, body = self.curl(url).partition("\n\n")
        self.assertIn("text/event-stream", head)
        event = body.strip().removeprefix("data: ")
        self.assertIn("connect", json.loads(event))


@skipUnless(GRPC, "grpcio is not installed")
class UniGRPCTests(ListenerTests, SynchronousTestCase):
    """Over gRPC."""

    def setUp(self) -> None:
        self.test = self
        ListenerTests.setUp(self)

    def listen(self, **request: Any) -> Listener:
        return RemoteCall(grpc_port(self.server), request)

    def ends_with(self, listener: Listener) -> None:
        self.assertEqual(listener.end(), "OK")

    def test_asyncio_reactor(self) -> None:
        """Where the reactor has a loop, gRPC lives on that."""

        def with_loop(config: Path) -> list[str]:
            twistd, *others = command(config)
            return [twistd, "--reactor=asyncio", *others]

        self.patch(server, "command", with_loop)
        self.server = started()
        self.addCleanup(self.server.close)
        listener, _ = self.connected("j", channels=["news:j"])
        self.server.api("publish", channel="news:j", data=1)
        self.assertEqual(listener.next()["pub"]["data"], 1)
        self.assertEqual(self.server.stop(), 0)

    def test_generated_client(self) -> None:
        """So do clients that gRPC's own compiler makes of the ``.proto`` file."""
        if find_spec("grpc_tools") is None:
            raise SkipTest("grpcio-tools is not installed")
        source = Path(centrifugo_tx.__file__).parent / "protocol/proto/unistream.proto"
        with tempfile.TemporaryDirectory() as made:
            kinds = [f"--{kind}_out={made}" for kind in ("python", "grpc_python")]
            protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{source.parent}"]
            subprocess.run([*protoc, *kinds, source.name], check=True)
            target = f"127.0.0.1:{grpc_port(self.server)}"
            token = connection_token("generated", channels=["news:generated"])
            done = subprocess.run(
                [sys.executable, "-c", _GENERATED, target, token],
                cwd=made,
                capture_output=True,
                text=True,
                check=True,
                timeout=server.PATIENCE,
            )
        self.assertEqual(done.stdout, "news:generated\n")

    def test_many(self) -> None:
        """A thousand streams take no threads of their own, and all get all."""
        count, seconds = asyncio.run(self.measure_deliveries(MANY))
        self.assertEqual(count, MANY)
        self.assertLess(seconds, 10)

    def threads(self) -> int:
        """Return how many threads the server has."""
        return len(list(Path(f"/proc/{self.server.pid}/task").iterdir()))

    async def measure_deliveries(self, many: int) -> tuple[int, float]:
        """Let many streams hear one publication; return how many did, and when."""
        import grpc

        began = time.monotonic()
        target = f"127.0.0.1:{grpc_port(self.server)}"
        request = self.request_of(connection_token("many", channels=["news:many"]))
        async with grpc.aio.insecure_channel(target) as channel:
            consume = channel.unary_stream(CONSUME)
            calls = [consume(request) for _ in range(many)]
            await asyncio.gather(*(call.read() for call in calls))
            self.assertLess(self.threads(), 40)
            self.server.api("publish", channel="news:many", data="hello")
            heard = await asyncio.gather(*(call.read() for call in calls))
            for call in calls:
                call.cancel()
        return sum(b"hello" in each for each in heard), time.monotonic() - began

    def request_of(self, token: str) -> bytes:
        """Return a serialized connect request."""
        from centrifugo_tx.protocol.proto import unistream_pb2

        request: Any = unistream_pb2.ConnectRequest(token=token)
        data: bytes = request.SerializeToString()
        return data
