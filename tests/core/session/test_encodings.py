"""Clients of different encodings in one channel."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import PublishOptions, SubscribeOptions, TransportInfo
from centrifugo_tx.protocol.frames import delimited
from centrifugo_tx.protocol.messages import Publication
from centrifugo_tx.protocol.proto import client_pb2
from centrifugo_tx.protocol.wire import http_stream_protobuf, websocket_json

from ...support import MemoryTransport, Peer, World

_KEPT = PublishOptions(history_size=5, history_ttl=60.0)


class MixedTests(SynchronousTestCase):
    """JSON and Protobuf subscribers share a channel."""

    def setUp(self) -> None:
        self.world = World()
        self.json = self.world.subscribed("c")
        self.binary = self.open()

    def open(self) -> Peer:
        """Return a Protobuf client that has subscribed."""
        info = TransportInfo(protocol="protobuf")
        transport = MemoryTransport(http_stream_protobuf(), info)
        peer = Peer(self.world.node.connect(transport), transport)
        self.ask(peer, connect=client_pb2.ConnectRequest())
        self.ask(peer, subscribe=client_pb2.SubscribeRequest(channel="c"))
        return peer

    def ask(self, peer: Peer, **request: Any) -> list[Any]:
        """Send a request; return the messages received by then."""
        command = client_pb2.Command(id=1, **request)
        peer.client.receive(delimited(command.SerializeToString()))
        return self.replies(peer)

    def replies(self, peer: Peer) -> list[Any]:
        """Return the messages to a Protobuf client."""
        frames, peer.transport.frames = peer.transport.frames, []
        for frame in frames:
            self.assertEqual(frame[0], len(frame) - 1)
        return [client_pb2.Reply.FromString(frame[1:]) for frame in frames]

    def test_shared(self) -> None:
        """Both get the same payload, each in its encoding."""
        self.world.publish("c", {"n": 1}, tags={"k": "v"})
        (told,) = self.json.take()
        self.assertEqual(told["push"]["pub"], {"data": {"n": 1}, "tags": {"k": "v"}})
        (reply,) = self.replies(self.binary)
        self.assertEqual(reply.push.pub.data, b'{"n": 1}')
        self.assertEqual(dict(reply.push.pub.tags), {"k": "v"})

    def test_binary_payload(self) -> None:
        """A payload that is not JSON closes JSON clients with 3506, and no others."""
        self.world.node.publish("c", b"\xff\x00")
        self.assertEqual(self.json.closed, 3506)
        (reply,) = self.replies(self.binary)
        self.assertEqual(reply.push.pub.data, b"\xff\x00")
        self.assertEqual(self.binary.closed, 0)

    def test_binary_history(self) -> None:
        """A JSON client that reads such a payload is ended with 3506, too."""
        self.world.node.publish("d", b"\xff", _KEPT)
        reader = self.world.connected()
        reader.ask(history={"channel": "d", "limit": 10})
        self.assertEqual(reader.closed, 3506)

    def test_one_encoding_per_wire(self) -> None:
        """However many subscribers there are, each wire encodes once."""
        wires = {"json": websocket_json(), "protobuf": http_stream_protobuf()}
        counts = dict.fromkeys(wires, 0)
        for name, wire in wires.items():
            plain = wire.push

            def counted(push: Any, name: str = name, plain: Any = plain) -> bytes:
                counts[name] += isinstance(push.pub, Publication)
                return plain(push)

            self.patch(wire, "push", counted)
        for _ in range(20):
            self.world.subscribed("c")
            self.open()
        self.world.publish("c", {"n": 1})
        self.assertEqual(counts, {"json": 1, "protobuf": 1})

    def test_recovered(self) -> None:
        """Recovered publications come in the client's encoding, too."""
        self.world.policy.subscription = SubscribeOptions(
            positioned=True, recoverable=True
        )
        for data in (b"\x01", b"\x02"):
            self.world.node.publish("d", data, _KEPT)
        request = client_pb2.SubscribeRequest(channel="d", recover=True, offset=1)
        (reply,) = self.ask(self.binary, subscribe=request)
        self.assertTrue(reply.subscribe.recovered)
        (told,) = reply.subscribe.publications
        self.assertEqual((told.data, told.offset), (b"\x02", 2))
