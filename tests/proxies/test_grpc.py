"""Requests, responses and metadata of calls over gRPC (event proxies, "gRPC form")."""

from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import SubscribeOverride
from centrifugo_tx.protocol.messages import EMPTY, KeyedItem, Raw
from centrifugo_tx.protocol.proto import proxy_pb2
from centrifugo_tx.proxies.client import BackendFailed
from centrifugo_tx.proxies.options import GRPCProxyOptions, ProxyOptions
from centrifugo_tx.proxy_messages import (
    CONNECT,
    EVENTS,
    MAP_PUBLISH,
    PUBLISH,
    RPC,
    SHARED_POLL_REFRESH,
    SUBSCRIBE,
    ConnectAnswer,
    ConnectEvent,
    MapPublishAnswer,
    PolledItem,
    PublishEvent,
    SharedPollRefreshAnswer,
    SharedPollRefreshEvent,
    SubscribeAnswer,
)

try:
    from centrifugo_tx.proxies.grpc_channel import GRPCChannel, target_of
    from centrifugo_tx.proxies.grpc_client import codec_of
except ImportError:
    raise SkipTest("grpcio is not installed") from None


class CodecTests(SynchronousTestCase):
    """Each event as Protobuf."""

    def test_requests(self) -> None:
        """Requests have the fields of the schema, without those that are empty."""
        event = PublishEvent(
            client="c",
            transport="websocket",
            protocol="json",
            encoding="json",
            user="42",
            channel="news",
            data=Raw(b'{"a": 1}'),
            meta=Raw(b"{}"),
        )
        sent = proxy_pb2.PublishRequest.FromString(codec_of(PUBLISH).encode(event))
        expected = proxy_pb2.PublishRequest(
            client="c",
            transport="websocket",
            protocol="json",
            encoding="json",
            user="42",
            channel="news",
            data=b'{"a": 1}',
            meta=b"{}",
        )
        self.assertEqual(sent, expected)
        connect = ConnectEvent(channels=["a", "b"], b64data="eA==")
        sent = proxy_pb2.ConnectRequest.FromString(codec_of(CONNECT).encode(connect))
        expected = proxy_pb2.ConnectRequest(channels=["a", "b"], b64data="eA==")
        self.assertEqual(sent, expected)

    def test_fields(self) -> None:
        """Every field of every event is one of the schema, by the same name."""
        for event in EVENTS:
            for struct, kind in ((event.request, "Request"), (event.answer, "Result")):
                message = getattr(proxy_pb2, f"{event.method}{kind}")
                names = {field.name for field in message.DESCRIPTOR.fields}
                self.assertLessEqual({*struct.__struct_fields__}, names, event.name)

    def test_results(self) -> None:
        """Results are decoded; omitted fields have their defaults."""
        response = proxy_pb2.ConnectResponse()
        response.result.user = "42"
        response.result.meta = b'{"m":1}'
        response.result.subs["a"].info = b"1"
        response.result.subs["a"].override.presence.value = False
        response.result.caps.add(channels=["x"])  # ignored
        found = codec_of(CONNECT).decode(response.SerializeToString()).result
        assert isinstance(found, ConnectAnswer)
        self.assertEqual((found.user, bytes(found.meta)), ("42", b'{"m":1}'))
        self.assertIs(found.data, EMPTY)
        subscription = found.subs["a"]
        assert subscription is not None
        override = subscription.override
        assert isinstance(override, SubscribeOverride)
        assert override.presence is not None
        self.assertFalse(override.presence.value)
        self.assertIsNone(override.join_leave)

    def test_polls(self) -> None:
        """Keys and versions are sent; values, versions and the epoch return."""
        codec = codec_of(SHARED_POLL_REFRESH)
        request = SharedPollRefreshEvent("p", [KeyedItem(key="a", version=7)])
        sent = proxy_pb2.SharedPollRefreshRequest.FromString(codec.encode(request))
        self.assertEqual([(i.key, i.version) for i in sent.items], [("a", 7)])
        response = proxy_pb2.SharedPollRefreshResponse()
        response.result.items.add(key="a", data=b"1", version=2**63)
        response.result.epoch = "e"
        found = codec.decode(response.SerializeToString()).result
        expected = PolledItem(key="a", data=Raw(b"1"), version=2**63)
        self.assertEqual(found, SharedPollRefreshAnswer([expected], "e"))

    def test_outcomes(self) -> None:
        """Errors and disconnects are read; so is a response without anything."""
        codec = codec_of(RPC)
        response = proxy_pb2.RPCResponse()
        found = codec.decode(response.SerializeToString())
        self.assertEqual((found.result, found.error, found.disconnect), (None,) * 3)
        response.error.code = 1000
        response.error.temporary = True
        response.disconnect.code = 4500
        response.disconnect.reason = "x"
        found = codec.decode(response.SerializeToString())
        assert found.error is not None and found.disconnect is not None
        self.assertEqual((found.error.code, found.error.temporary), (1000, True))
        self.assertEqual((found.disconnect.code, found.disconnect.reason), (4500, "x"))

    def test_empty_results(self) -> None:
        """A result without fields is a result."""
        response = proxy_pb2.SubscribeResponse()
        response.result.SetInParent()
        found = codec_of(SUBSCRIBE).decode(response.SerializeToString())
        self.assertEqual(found.result, SubscribeAnswer())
        maps = proxy_pb2.MapPublishResponse()
        maps.result.score = 5
        found = codec_of(MAP_PUBLISH).decode(maps.SerializeToString())
        self.assertEqual(found.result, MapPublishAnswer(score=5))

    def test_malformed(self) -> None:
        """A malformed message is a failure of the call."""
        for body in (b"\xff", b"\x0a\x05\x0a", b"\x0a\x02\x0a\x09"):
            with self.assertRaises(BackendFailed):
                codec_of(CONNECT).decode(body)


class ChannelTests(SynchronousTestCase):
    """Targets, and the metadata of calls."""

    def metadata(self, forwarded: Any, **options: Any) -> list[tuple[str, Any]]:
        """Return the metadata of a call."""
        grpc = GRPCProxyOptions(**options)
        channel = GRPCChannel(ProxyOptions(endpoint="x:1", grpc=grpc))
        return list(channel._metadata(forwarded))

    def test_targets(self) -> None:
        """Of a URL only host and port count; anything else is gRPC's own matter."""
        for endpoint, target in (
            ("grpc://host:1", "host:1"),
            ("grpc://host:1/path?query", "host:1"),
            ("host:1", "host:1"),
            ("unix:/run/x", "unix:/run/x"),
            ("dns:///host:1", "dns:///host:1"),
        ):
            self.assertEqual(target_of(endpoint), target)

    def test_static(self) -> None:
        """Names are sent in lower case; binary values as bytes."""
        found = self.metadata({}, static_metadata={"X-One": "1", "x-bin": "b"})
        self.assertEqual(found, [("x-one", "1"), ("x-bin", b"b")])

    def test_forwarded(self) -> None:
        """Metadata from the client replaces static metadata, with all values."""
        found = self.metadata(
            {"x-one": ("a", "b"), "cookie": ("c",)},
            static_metadata={"X-One": "1", "x-two": "2"},
        )
        expected = [("x-two", "2"), ("x-one", "a"), ("x-one", "b"), ("cookie", "c")]
        self.assertEqual(found, expected)
        again = self.metadata({}, static_metadata={"x-two": "2"})
        self.assertEqual(again, [("x-two", "2")])

    def test_credentials(self) -> None:
        """The credentials are always sent; a client cannot replace them."""
        found = self.metadata(
            {"key": ("client",)}, credentials_key="Key", credentials_value="own"
        )
        self.assertEqual(found, [("key", "own")])

    def test_own(self) -> None:
        """The headers of the client's own connection are not passed on."""
        names = ("host", "connection", "content-type", "grpc-timeout", ":path", "te")
        self.assertEqual(self.metadata(dict.fromkeys(names, ("x",))), [])
