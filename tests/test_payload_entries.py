"""Every place where payloads enter checks them.

`ENTRIES` is the whole table: on each of these ways, a payload that is JSON arrives at a
JSON client as itself.  Any other never leaves its field: the client is closed instead.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.access.tokens import payload_of
from centrifugo_tx.api import Api
from centrifugo_tx.api.api_json import decode
from centrifugo_tx.api.dispatch import Dispatcher
from centrifugo_tx.api.methods import METHODS
from centrifugo_tx.engines.redis import envelope, map_envelope
from centrifugo_tx.options import (
    Admission,
    ChannelOptions,
    MapChange,
    MapRules,
    Polled,
    PollRules,
    PublishOptions,
    SubscribeOptions,
    TransportInfo,
)
from centrifugo_tx.protocol import control
from centrifugo_tx.protocol.frames import delimited
from centrifugo_tx.protocol.messages import ClientInfo, Publication
from centrifugo_tx.protocol.payloads import EMPTY, Raw, is_json
from centrifugo_tx.protocol.proto import broker_pb2, client_pb2, client_v1_pb2
from centrifugo_tx.protocol.wire import (
    http_stream_protobuf,
    websocket_protobuf_v1,
)
from centrifugo_tx.proxies.polling import Polling
from centrifugo_tx.proxy_messages import (
    PolledItem,
    ProxyResponse,
    SharedPollRefreshAnswer,
)

from .support import MemoryTransport, Peer, Permissive, World, unframed

FINE = b'{"fine": [1]}'
#: A payload that would break out of its field, and others that are no JSON.
HOSTILE = (b'1},"evil":{"a":1', b'{"evil":1', b"\x00\xff", b'"\xff"', b"[" * 3000)

#: Brings a payload in; returns the JSON client that it is meant for.
Entry = Callable[["House", bytes], Peer]

ENTRIES: dict[str, Entry] = {}


def entry(function: Entry) -> Entry:
    """Put an entry into the table."""
    ENTRIES[function.__name__] = function
    return function


@define(eq=False)
class Rules(Permissive):
    """``m:`` are maps, ``v:`` are polled; all others are streams."""

    def channel(self, name: str) -> ChannelOptions:
        if name.startswith("m:"):
            return ChannelOptions(subscription_type="map", map=_MAP)
        if name.startswith("v:"):
            return ChannelOptions(poll=PollRules(versioned=True, publish=True))
        return ChannelOptions(publication_data_format="binary")


_MAP = MapRules(stream_size=0)
_TELLING = SubscribeOptions(join_leave=True, push_join_leave=True, presence=True)


@define(eq=False)
class House(World):
    """A node, with one JSON client in the channel ``c``."""

    policy: Permissive = field(factory=Rules)

    def observer(self) -> Peer:
        """Return the JSON client."""
        return self.subscribed("c")

    def protobuf(self) -> Peer:
        """Return a connected client that speaks Protobuf."""
        transport = MemoryTransport(
            http_stream_protobuf(), TransportInfo(protocol="protobuf")
        )
        peer = Peer(self.node.connect(transport), transport)
        self.send_command(peer, connect=client_pb2.ConnectRequest())
        return peer

    def send_command(self, peer: Peer, **request: Any) -> None:
        """Send a command in Protobuf."""
        command = client_pb2.Command(id=1, **request).SerializeToString()
        peer.client.receive(delimited(command))

    def call(self, method: str, **request: object) -> None:
        """Call a method of the server API."""
        self.post(method, json.dumps(request).encode())

    def post(self, method: str, body: bytes) -> None:
        """Send a request to the server API, as over HTTP; ignore the answer."""
        called = METHODS[method]
        try:
            request = decode(body, called.request)
        except ValueError:
            return
        Api(self.node).call(called, request)

    def map_reader(self) -> Peer:
        """Return a JSON client that follows the map ``m:a``."""
        peer = self.connected()
        peer.ask(subscribe={"channel": "m:a", "type": 1, "phase": 2})
        peer.ask(subscribe={"channel": "m:a", "type": 1, "phase": 0})
        return peer

    def tracker(self) -> Peer:
        """Return a JSON client that tracks the key ``k`` of ``v:a``."""
        peer = self.subscribed("v:a", type=4)
        batch = {"signature": "s", "items": [{"key": "k"}]}
        peer.ask(sub_refresh={"channel": "v:a", "type": 1, "track": [batch]})
        return peer


def encoded(payload: bytes) -> str:
    """Return *payload* in base64."""
    return b64encode(payload).decode()


# --- The embedding application ----------------------------------------------------


@entry
def publish_of_node(house: House, payload: bytes) -> Peer:
    peer = house.observer()
    house.node.publish("c", payload)
    return peer


@entry
def raw_publish_of_node(house: House, payload: bytes) -> Peer:
    peer = house.observer()
    house.node.publish("c", Raw(payload))
    return peer


@entry
def publisher_info_of_node(house: House, payload: bytes) -> Peer:
    peer = house.observer()
    info = ClientInfo("u", "c", EMPTY, Raw(payload))  # type: ignore[arg-type]
    house.node.publish("c", b"1", PublishOptions(info=info))
    return peer


@entry
def subscribe_of_node(house: House, payload: bytes) -> Peer:
    peer = house.connected("u")
    house.node.subscribe("c", SubscribeOptions(data=Raw(payload)), "u")
    return peer


@entry
def refresh_of_node(house: House, payload: bytes) -> Peer:
    peer = house.subscribed("c", "u")
    later = int(house.clock.seconds()) + 60
    house.node.refresh("u", expire_at=later, info=Raw(payload))
    house.policy.publication = PublishOptions()
    peer.take()
    peer.send({"id": 9, "publish": {"channel": "c", "data": 1}})
    return peer


# --- Policies: tokens, proxies, applications --------------------------------------


@entry
def connect_data(house: House, payload: bytes) -> Peer:
    peer = house.open()
    house.policy.admission = Admission(data=Raw(payload))
    peer.send({"id": 1, "connect": {}})
    return peer


@entry
def connect_info(house: House, payload: bytes) -> Peer:
    house.policy.subscription = _TELLING
    peer = house.observer()
    house.policy.admission = Admission(user="u", info=Raw(payload))
    other = house.open()
    other.send({"id": 1, "connect": {}})
    other.send({"id": 2, "subscribe": {"channel": "c"}})
    return peer


@entry
def base64_of_token(house: House, payload: bytes) -> Peer:
    peer = house.open()
    house.policy.admission = Admission(data=payload_of(EMPTY, encoded(payload)))
    peer.send({"id": 1, "connect": {}})
    return peer


@entry
def data_of_server_side_subscription(house: House, payload: bytes) -> Peer:
    peer = house.open()
    subs = {"c": SubscribeOptions(data=Raw(payload))}
    house.policy.admission = Admission(subs=subs)
    peer.send({"id": 1, "connect": {}})
    return peer


@entry
def data_of_subscription(house: House, payload: bytes) -> Peer:
    peer = house.connected()
    house.policy.subscription = SubscribeOptions(data=Raw(payload))
    peer.send({"id": 2, "subscribe": {"channel": "c"}})
    return peer


@entry
def data_of_map_subscription(house: House, payload: bytes) -> Peer:
    house.policy.subscription = SubscribeOptions(data=Raw(payload))
    peer = house.connected()
    request = {"channel": "m:a", "type": 1}
    peer.send({"id": 2, "subscribe": {**request, "phase": 2}})
    peer.send({"id": 3, "subscribe": {**request, "phase": 0}})
    return peer


@entry
def info_of_subscription(house: House, payload: bytes) -> Peer:
    house.policy.subscription = _TELLING
    peer = house.observer()
    house.policy.subscription = SubscribeOptions(join_leave=True, info=Raw(payload))
    house.subscribed("c")
    return peer


@entry
def presence_of_subscription(house: House, payload: bytes) -> Peer:
    peer = house.observer()
    house.policy.subscription = SubscribeOptions(presence=True, info=Raw(payload))
    house.subscribed("c")
    peer.send({"id": 9, "presence": {"channel": "c"}})
    return peer


@entry
def answer_of_rpc(house: House, payload: bytes) -> Peer:
    peer = house.connected()
    house.policy.answer = Raw(payload)
    peer.send({"id": 2, "rpc": {"method": "m"}})
    return peer


@entry
def data_of_publish_policy(house: House, payload: bytes) -> Peer:
    peer = house.observer()
    house.policy.publication = PublishOptions(data=Raw(payload))
    house.connected().send({"id": 2, "publish": {"channel": "c", "data": 1}})
    return peer


@entry
def info_of_publish_policy(house: House, payload: bytes) -> Peer:
    peer = house.observer()
    info = ClientInfo("u", "c", Raw(payload))  # type: ignore[arg-type]
    house.policy.publication = PublishOptions(info=info)
    house.connected().send({"id": 2, "publish": {"channel": "c", "data": 1}})
    return peer


@entry
def info_of_map_policy(house: House, payload: bytes) -> Peer:
    peer = house.map_reader()
    info = ClientInfo("u", "c", Raw(payload))  # type: ignore[arg-type]
    house.policy.change = "k", MapChange(_MAP, info=info)
    request = {"channel": "m:a", "type": 1, "key": "k", "data": 1}
    house.connected().send({"id": 2, "publish": request})
    return peer


@entry
def value_of_polling_policy(house: House, payload: bytes) -> Peer:
    peer = house.tracker()
    value = Publication(data=Raw(payload), key="k", version=1)  # type: ignore[arg-type]
    house.policy.polled = Polled([value])
    house.clock.advance(10)
    return peer


# --- Clients ----------------------------------------------------------------------


@entry
def publish_in_protobuf(house: House, payload: bytes) -> Peer:
    peer = house.observer()
    request = client_pb2.PublishRequest(channel="c", data=payload)
    house.send_command(house.protobuf(), publish=request)
    return peer


@entry
def publish_in_protobuf_v1(house: House, payload: bytes) -> Peer:
    peer = house.observer()
    transport = MemoryTransport(
        websocket_protobuf_v1(), TransportInfo(protocol="protobuf", version=1)
    )
    client = house.node.connect(transport)
    request = client_v1_pb2.PublishRequest(channel="c", data=payload)
    for method, params in ((0, b""), (3, request.SerializeToString())):
        command = client_v1_pb2.Command(id=1, method=method, params=params)
        client.receive(delimited(command.SerializeToString()))
    return peer


@entry
def publish_into_map_in_protobuf(house: House, payload: bytes) -> Peer:
    peer = house.map_reader()
    house.policy.change = "k", MapChange(_MAP)
    request = client_pb2.PublishRequest(channel="m:a", key="k", type=1, data=payload)
    house.send_command(house.protobuf(), publish=request)
    return peer


@entry
def echo_in_json(house: House, payload: bytes) -> Peer:
    """Payloads of a JSON client are JSON, or the command is malformed."""
    peer = house.connected()
    house.policy.rpc = lambda client, request: succeed(  # type: ignore[method-assign]
        request.data
    )
    peer.client.receive(b'{"id":2,"rpc":{"data":' + payload + b"}}")
    return peer


# --- The server API and consumers -------------------------------------------------


@entry
def publish_of_api(house: House, payload: bytes) -> Peer:
    peer = house.observer()
    house.call("publish", channel="c", b64data=encoded(payload))
    return peer


@entry
def broadcast_of_api(house: House, payload: bytes) -> Peer:
    peer = house.observer()
    house.call("broadcast", channels=["c"], b64data=encoded(payload))
    return peer


@entry
def subscribe_of_api(house: House, payload: bytes) -> Peer:
    peer = house.connected("u")
    house.call("subscribe", channel="c", user="u", b64data=encoded(payload))
    return peer


@entry
def info_of_subscribe_of_api(house: House, payload: bytes) -> Peer:
    house.policy.subscription = _TELLING
    house.policy.options = ChannelOptions(join_leave=True)
    peer = house.observer()
    house.connected("u")
    info = encoded(payload)
    house.policy.channel = lambda name: ChannelOptions(  # type: ignore[method-assign]
        join_leave=True
    )
    house.call("subscribe", channel="c", user="u", b64info=info)
    return peer


@entry
def map_publish_of_api(house: House, payload: bytes) -> Peer:
    peer = house.map_reader()
    house.call("map_publish", channel="m:a", key="k", b64data=encoded(payload))
    return peer


@entry
def json_of_api(house: House, payload: bytes) -> Peer:
    """The body of a request is JSON, or the request is malformed."""
    peer = house.observer()
    body = b'{"channel":"c","data":' + payload + b"}"
    house.post("publish", body)
    return peer


@entry
def publication_of_consumer(house: House, payload: bytes) -> Peer:
    peer = house.observer()
    Dispatcher(Api(house.node), "test").publication(["c"], payload)
    return peer


# --- Other nodes, storage, backends -----------------------------------------------


@entry
def publication_of_redis(house: House, payload: bytes) -> Peer:
    peer = house.observer()
    message = broker_pb2.Publication(data=payload).SerializeToString()
    found = envelope.parse(message)
    assert found.publication is not None
    house.node.streams.handle_publication("c", found.publication, found.position, None)
    return peer


@entry
def join_of_redis(house: House, payload: bytes) -> Peer:
    house.policy.subscription = _TELLING
    peer = house.observer()
    info = broker_pb2.ClientInfo(user="u", client="c", conn_info=payload)
    found = envelope.parse(envelope.JOIN + info.SerializeToString())
    assert found.join is not None
    house.node.streams.handle_join("c", found.join)
    return peer


@entry
def change_of_redis(house: House, payload: bytes) -> Peer:
    peer = house.map_reader()
    message = broker_pb2.Publication(data=payload, key="k").SerializeToString()
    found = map_envelope.parse_change(message)
    assert found.publication is not None and house.node.maps is not None
    house.node.maps.handle_change("m:a", found.publication, found.position, None)
    return peer


@entry
def subscribe_of_other_node(house: House, payload: bytes) -> Peer:
    peer = house.connected("u")
    subscribe = control.Subscribe(user="u", channel="c", data=Raw(payload))
    command = control.ControlCommand(uid="other", subscribe=subscribe)
    house.node.peers.handle_control(control.encode(command))
    return peer


@define(eq=False)
class PollBackend:
    """Answers each poll with one item."""

    payload: bytes
    name: str = "backend"

    async def call(
        self, request: object, headers: object
    ) -> ProxyResponse[SharedPollRefreshAnswer]:
        """Return the answer."""
        item = PolledItem(key="k", version=1, data=Raw(self.payload))
        return ProxyResponse(result=SharedPollRefreshAnswer(items=[item]))


@entry
def value_of_polled_backend(house: House, payload: bytes) -> Peer:
    peer = house.tracker()
    backend: Any = PollBackend(payload)
    house.policy.poll = Polling(  # type: ignore[method-assign]
        backend, house.node.metrics
    )
    house.clock.advance(10)
    return peer


def received(peer: Peer) -> bytes:
    """Return everything that was written to *peer* so far, unframed."""
    return b"\n".join(
        part for frame in peer.transport.frames for part in unframed(frame)
    )


class EntryTests(SynchronousTestCase):
    """The table, entry by entry."""

    def test_json(self) -> None:
        """JSON arrives, so every entry leads to its client."""
        for name, bring in ENTRIES.items():
            with self.subTest(entry=name):
                peer = bring(House(), FINE)
                self.assertIn(b'"fine"', received(peer))
                self.assertEqual(peer.closed, 0)
                peer.take()  # it is JSON

    def test_hostile(self) -> None:
        """Nothing else arrives: its receiver is closed, or its sender is refused."""
        for name, bring in ENTRIES.items():
            for payload in HOSTILE:
                with self.subTest(entry=name, payload=payload[:20]):
                    peer = bring(House(), payload)
                    written = received(peer)
                    self.assertNotIn(b'"evil"', written)
                    self.assertNotIn(payload, written)
                    written.decode()
                    for message in peer.take():
                        self.assertNotIn("evil", message)
                    if not name.endswith(("_json", "json_of_api")):
                        self.assertEqual(peer.closed, 3506)

    @settings(deadline=None, max_examples=40)
    @given(
        st.sampled_from([publish_in_protobuf, publish_of_api, publication_of_redis]),
        st.binary(max_size=12) | st.text('[]{}",:1 \n', max_size=9).map(str.encode),
    )
    def test_any(self, bring: Entry, payload: bytes) -> None:
        """Any payload arrives as itself, or closes the client."""
        peer = bring(House(), payload)
        if payload and not is_json(payload):
            self.assertEqual((peer.take(), peer.closed), ([], 3506))
            return
        (message,) = peer.take()
        publication = message["push"]["pub"]
        self.assertEqual("data" in publication, bool(payload))
        if payload:
            self.assertEqual(publication["data"], json.loads(payload))
