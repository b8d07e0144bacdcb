"""One event, put to a backend that the test answers for."""

import json
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from centrifugo_tx.errors import DisconnectClient, ReplyError
from centrifugo_tx.grpc.asyncio_bridge import AsyncioBridge
from centrifugo_tx.interfaces import IClient, IEventProxies, IEventProxy
from centrifugo_tx.metrics import Metrics
from centrifugo_tx.options import SubscriptionStream, TransportInfo
from centrifugo_tx.protocol.codes import Disconnect, Error
from centrifugo_tx.protocol.messages import EMPTY, ClientInfo, Raw
from centrifugo_tx.proxies import (
    BackendFailed,
    EventProxies,
    EventProxy,
    ProxyOptions,
)
from centrifugo_tx.proxy_messages import (
    CONNECT,
    MAP_REMOVE,
    RPC,
    ConnectEvent,
    MapRemoveEvent,
    ProxyResponse,
    RPCAnswer,
    RPCEvent,
)

from ..log_lines import LogTestCase
from ..support import MemoryTransport
from .scripted_client import ScriptedClient

OK: ProxyResponse[Any] = ProxyResponse(RPCAnswer(Raw(b"1")))


@implementer(IClient)
@define(eq=False)
class Caller:
    """A client, as a proxy sees it."""

    id: str = "c"
    user: str = "u"
    info: ClientInfo = ClientInfo("u", "c")
    meta: Raw = EMPTY
    transport: MemoryTransport = field(factory=MemoryTransport)
    closed: bool = False
    emulated_headers: dict[str, str] = field(factory=dict)
    calls: "list[Deferred[Any]]" = field(factory=list)

    def cancel_on_close(self, call: "Deferred[Any]") -> None:
        """Note it."""
        self.calls.append(call)

    def leave(self) -> None:
        """Close the connection."""
        self.closed = True
        for call in self.calls:
            call.cancel()

    def subscribed(self, channel: str) -> bool:
        """Return False."""
        return False

    def channel_info(self, channel: str) -> Raw:
        """Return nothing."""
        return EMPTY

    def stream_of(self, channel: str) -> SubscriptionStream | None:
        """Return none."""
        return None


def caller(protocol: str = "json", **headers: tuple[str, ...]) -> Caller:
    """Return a client that speaks *protocol*."""
    info = TransportInfo("websocket", protocol, headers=headers)  # type: ignore[arg-type]
    return Caller(transport=MemoryTransport(info=info))


def call(data: bytes = b'{"b": 2}') -> RPCEvent:
    """Return an event."""
    return RPCEvent(user="u", method="m", data=Raw(data) if data else EMPTY)


class EventProxyCase(LogTestCase):
    """Makes proxies."""

    def setUp(self) -> None:
        super().setUp()
        self.clock, self.metrics = Clock(), Metrics()
        self.backend = ScriptedClient()

    def proxy(self, event: Any = RPC, **options: Any) -> EventProxy:
        """Return a proxy of the backend."""
        return EventProxy(
            *(event, "own", self.backend, ProxyOptions(**options)),
            *(self.clock, self.metrics),
        )

    def counted(self, name: str) -> float:
        """Return a counter of the proxy."""
        labels = {"protocol": "http", "type": "rpc", "name": "own"}
        return self.metrics.counter(name, **labels).value

    def durations(self) -> int:
        """Return how many durations were observed."""
        labels = {"protocol": "http", "type": "rpc", "name": "own"}
        name = "proxy_duration_seconds_histogram"
        return sum(self.metrics.histogram(name, **labels).counts)

    def refused(self, asked: Any) -> None:
        """Make sure that a call failed with error 100."""
        error = self.failureResultOf(asked, ReplyError).value
        self.assertEqual(error.error.code, 100)


class RequestTests(EventProxyCase):
    """Requests to the backend."""

    def sent(self, proxy: EventProxy, client: Caller, event: Any) -> Any:
        """Return the JSON of the request."""
        proxy.ask(client, event)
        return json.loads(msgspec.json.encode(self.backend.asked[-1][1]))

    def test_interface(self) -> None:
        """One proxy, and all proxies together, provide the policy's interface."""
        bridge = AsyncioBridge(self.clock)
        verifyObject(IEventProxy, self.proxy())
        verifyObject(IEventProxies, EventProxies(self.clock, self.metrics, bridge))
        verifyObject(IClient, Caller())

    def test_common_fields(self) -> None:
        """Every event says which client it is about."""
        common = {"client": "c", "transport": "websocket", "encoding": "json"}
        self.assertEqual(
            self.sent(self.proxy(), caller(), call()),
            {
                **common,
                "protocol": "json",
                "user": "u",
                "method": "m",
                "data": {"b": 2},
            },
        )
        self.assertEqual(
            self.sent(self.proxy(CONNECT), caller("protobuf"), ConnectEvent(name="js")),
            {**common, "protocol": "protobuf", "name": "js"},
        )

    def test_user(self) -> None:
        """An empty user is sent, except where the reference leaves it out."""
        sent = self.sent(self.proxy(), caller(), RPCEvent(user=""))
        self.assertEqual(sent["user"], "")
        event = MapRemoveEvent(user="", channel="c")
        self.assertNotIn("user", self.sent(self.proxy(MAP_REMOVE), caller(), event))

    def test_binary(self) -> None:
        """Binary encoding sends base64, also of JSON."""
        proxy = self.proxy(binary_encoding=True)
        sent = self.sent(proxy, caller("protobuf"), call(b"\xff\xfe"))
        self.assertEqual((sent["encoding"], sent["b64data"]), ("binary", "//4="))
        self.assertNotIn("data", sent)
        sent = self.sent(proxy, caller(), call(b"1"))
        self.assertEqual(sent["b64data"], "MQ==")
        sent = self.sent(proxy, caller(), call(b""))
        self.assertNotIn("b64data", sent)

    def test_untouched(self) -> None:
        """JSON passes as the bytes it came in."""
        self.proxy().ask(caller(), call(b'{"b": 1e2,  "a":12345678901234567890}'))
        body = msgspec.json.encode(self.backend.asked[0][1])
        self.assertIn(b'"data":{"b": 1e2,  "a":12345678901234567890}', body)

    def test_not_json(self) -> None:
        """Binary data that would be sent as JSON fails before anything is sent."""
        for data in (b"\xff", b"{", b'1,"user":"root"', b"1 2"):
            self.refused(self.proxy().ask(caller("protobuf"), call(data)))
        self.assertEqual(self.backend.asked, [])
        sent = self.sent(self.proxy(), caller("protobuf"), call(b'{"a": 1}'))
        self.assertEqual(sent["data"], {"a": 1})

    def test_meta(self) -> None:
        """Meta is sent if the proxy includes it and the connection has it."""
        client = caller()
        self.assertNotIn(
            "meta", self.sent(self.proxy(include_connection_meta=True), client, call())
        )
        client.meta = Raw(b'{"a": 1}')
        self.assertNotIn("meta", self.sent(self.proxy(), client, call()))
        proxy = self.proxy(include_connection_meta=True)
        self.assertEqual(self.sent(proxy, client, call())["meta"], {"a": 1})
        client.meta = Raw(b"{")
        self.refused(proxy.ask(client, call()))
        event = ConnectEvent()
        proxy = self.proxy(CONNECT, include_connection_meta=True)
        self.assertNotIn("meta", self.sent(proxy, client, event))

    def test_headers(self) -> None:
        """A transport header comes before an emulated one of the same name."""
        proxy = self.proxy(
            http_headers=("Authorization", "X-Real"),
            emulated_headers=("authorization", "X-Emulated"),
            grpc_metadata=("meta",),
        )
        client = Caller()
        client.emulated_headers = {
            **{"authorization": "emulated", "x-emulated": "e", "x-real": "forged"},
            "other": "o",
        }
        proxy.ask(client, call())
        first = {"authorization": ("emulated",), "x-emulated": ("e",)}
        self.assertEqual(self.backend.asked[-1][2], first)
        kept = {"authorization": ("a", "b"), "x-real": ("r",), "meta": ("m",)}
        client.transport.info = TransportInfo(headers=kept)
        proxy.ask(client, call())
        both = {"authorization": ("a", "b"), "x-real": ("r",), "x-emulated": ("e",)}
        self.assertEqual(self.backend.asked[-1][2], both)
        client.transport.info = TransportInfo("uni_grpc", "protobuf", headers=kept)
        proxy.ask(client, call(b"1"))
        self.assertEqual(self.backend.asked[-1][2], {**first, "meta": ("m",)})

    def test_headers_of_connect(self) -> None:
        """The connect event has emulated headers before the client keeps them."""
        proxy = self.proxy(CONNECT, emulated_headers=("X-A",))
        proxy.ask(caller(), ConnectEvent(), {"x-a": "1"})
        self.assertEqual(self.backend.asked[0][2], {"x-a": ("1",)})


class BoundTests(EventProxyCase):
    """Time, number, and the end of the client."""

    def test_answer(self) -> None:
        """A valid response is returned, and its duration observed."""
        asked = self.proxy().ask(caller(), call())
        self.assertEqual(self.counted("proxy_inflight_requests"), 1)
        self.clock.advance(0.5)
        self.backend.waiting[0].callback(OK)
        self.assertIs(self.successResultOf(asked), OK)
        self.assertEqual(self.counted("proxy_inflight_requests"), 0)
        self.assertEqual((self.durations(), self.counted("proxy_errors")), (1, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_backend_error(self) -> None:
        """An error that the backend returns is not a failure of the call."""
        asked = self.proxy().ask(caller(), call())
        response: ProxyResponse[Any] = ProxyResponse(error=Error(400, "no"))
        self.backend.waiting[0].callback(response)
        self.assertIs(self.successResultOf(asked), response)
        self.assertEqual(self.counted("proxy_errors"), 0)

    def test_bad_codes(self) -> None:
        """A code that the protocol cannot carry is a failure."""
        for code in (0, -1, 2**32):
            for response in (
                ProxyResponse[Any](error=Error(code, "x")),
                ProxyResponse[Any](disconnect=Disconnect(code, "x")),
            ):
                asked = self.proxy().ask(caller(), call())
                self.backend.waiting[-1].callback(response)
                self.refused(asked)
        self.assertEqual(self.counted("proxy_errors"), 6)

    def test_timeout(self) -> None:
        """The call ends when its time is up."""
        asked = self.proxy(timeout=2.0).ask(caller(), call())
        self.clock.advance(1.9)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.refused(asked)
        self.assertEqual(self.backend.cancelled, 1)
        self.assertEqual((self.durations(), self.counted("proxy_errors")), (1, 1))

    def test_failed(self) -> None:
        """A failed call is error 100, and a line with its reason."""
        asked = self.proxy().ask(caller(), call())
        self.backend.waiting[0].errback(BackendFailed("status 500"))
        self.refused(asked)
        self.assertEqual((self.durations(), self.counted("proxy_errors")), (1, 1))
        fields = ("event", "proxy", "client", "user", "error")
        line = ("error", "proxy call failed", "rpc", "own", "c", "u", "status 500")
        self.assertEqual(self.lines(*fields), [line])

    def test_many_failures(self) -> None:
        """Only some of many failures are lines."""
        proxy = self.proxy()
        for _ in range(50):
            proxy.ask(caller(), call()).addErrback(lambda _: None)
            self.backend.waiting[-1].errback(BackendFailed("status 500"))
        self.assertEqual(len(self.lines()), 5)
        self.successResultOf(proxy.stop())
        [(level, text)] = self.lines()
        self.assertEqual(level, "error")
        self.assertIn("log lines left out", text)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_queue(self) -> None:
        """Calls above the limit wait in order; a full queue refuses at once."""
        proxy = self.proxy(max_concurrent_calls=2, max_queued_calls=2)
        asked = [proxy.ask(caller(), call(b"%d" % each)) for each in range(5)]
        self.assertEqual(len(self.backend.asked), 2)
        self.refused(asked[4])
        self.assertEqual(self.counted("proxy_inflight_requests"), 4)
        self.backend.waiting[1].callback(OK)
        self.backend.waiting[0].errback(BackendFailed("gone"))
        self.assertEqual(
            [bytes(request.data) for _, request, _ in self.backend.asked],
            [b"0", b"1", b"2", b"3"],
        )
        self.refused(asked[0])
        for waiting in self.backend.waiting[2:]:
            waiting.callback(OK)
        for each in asked[1:4]:
            self.assertIs(self.successResultOf(each), OK)
        self.assertEqual((proxy.limiter.running, proxy.limiter.waiting), (0, 0))

    def test_timeout_in_queue(self) -> None:
        """Time in the queue counts."""
        proxy = self.proxy(max_concurrent_calls=1, timeout=1.0)
        first = proxy.ask(caller(), call())
        self.clock.advance(0.5)
        second = proxy.ask(caller(), call())
        self.clock.advance(0.4)
        third = proxy.ask(caller(), call())
        self.clock.advance(0.1)
        self.refused(first)
        self.assertEqual(len(self.backend.asked), 2)
        self.clock.advance(0.5)
        self.refused(second)
        self.clock.advance(0.4)
        self.refused(third)
        self.assertEqual((proxy.limiter.running, proxy.limiter.waiting), (0, 0))

    def test_client_gone(self) -> None:
        """When the client goes, its call ends, and counts as no error."""
        client, proxy = caller(), self.proxy(max_concurrent_calls=1)
        running, waiting = (proxy.ask(client, call()) for _ in range(2))
        client.leave()
        for asked in (running, waiting):
            gone = self.failureResultOf(asked, DisconnectClient).value
            self.assertEqual(gone.disconnect.code, 3000)
        self.assertEqual(self.backend.cancelled, len(self.backend.asked))
        self.assertEqual(self.counted("proxy_errors"), 0)
        self.assertEqual(self.counted("proxy_inflight_requests"), 0)
        self.assertEqual((proxy.limiter.running, proxy.limiter.waiting), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answer_too_late(self) -> None:
        """A response for a client that has gone is dropped."""
        client = caller()
        asked = self.proxy().ask(client, call())
        client.closed = True
        self.backend.waiting[0].callback(OK)
        self.failureResultOf(asked, DisconnectClient)


class EmulatedHeaderTests(LogTestCase):
    """Headers of connect commands."""

    def test_kept(self) -> None:
        """Only what some proxy forwards is kept."""
        proxies = EventProxies(Clock(), Metrics(), AsyncioBridge(Clock()))
        self.assertEqual(proxies.keep_headers({"A": "1"}), {})
        options = ProxyOptions(
            endpoint="http://localhost/",
            http_headers=("X-Real",),
            emulated_headers=("X-A",),
        )
        proxies.add_all([(RPC, "default", options)])
        given = {"x-a": "1", "X-REAL": "2", "other": "3"}
        self.assertEqual(proxies.keep_headers(given), {"x-a": "1"})
        self.assertEqual(proxies.keep_headers({}), {})
        self.assertIsNotNone(proxies.find(RPC))
        self.assertIsNone(proxies.find(RPC, "other"))

    def test_hint(self) -> None:
        """A header that only real requests may have is a line, once a minute."""
        clock = Clock()
        proxies = EventProxies(clock, Metrics(), AsyncioBridge(clock))
        options = ProxyOptions(
            endpoint="http://localhost/",
            http_headers=("X-Real", "Both"),
            emulated_headers=("both",),
        )
        proxies.add_all([(RPC, "default", options)])
        proxies.keep_headers({"both": "1", "other": "2"})
        self.assertEqual(self.lines(), [])
        for _ in range(3):
            proxies.keep_headers({"x-REAL": "1"})
        [(level, text, headers)] = self.lines("headers")
        self.assertEqual((level, headers), ("info", "x-real"))
        self.assertIn("not forwarded", text)
        self.successResultOf(proxies.stop())
        self.assertEqual(clock.getDelayedCalls(), [])
