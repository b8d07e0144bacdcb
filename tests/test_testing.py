"""The test kit for applications."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx import (
    Admission,
    ChannelOptions,
    Client,
    ConnectRequest,
    DisconnectClient,
    Policy,
    PublishOptions,
    PublishRequest,
    ReplyError,
    SubscribeOptions,
    SubscribeRequest,
    to_json,
)
from centrifugo_tx.protocol.codes import INVALID_TOKEN
from centrifugo_tx.testing import FakeClient, MemoryNode, StillWaiting, result_of


class Rooms(Policy):
    """A policy under test."""

    def channel(self, name: str) -> ChannelOptions:
        return ChannelOptions(history_size=10, history_ttl=60, presence=True)

    def connect(self, client: Client, request: ConnectRequest) -> Admission:
        if request.token == "wrong":
            raise DisconnectClient(INVALID_TOKEN)
        return Admission(user=request.token, info=to_json({"n": 1}), data=request.data)

    def subscribe(self, client: Client, request: SubscribeRequest) -> SubscribeOptions:
        return SubscribeOptions(
            presence=True, join_leave=True, push_join_leave=True, recoverable=True
        )

    def publish(self, client: Client, request: PublishRequest) -> PublishOptions:
        return PublishOptions(history_size=10, history_ttl=60, info=client.info)

    def presence(self, client: Client, channel: str) -> None:
        return None


class TestingTests(SynchronousTestCase):
    """A client and a node in one test."""

    def setUp(self) -> None:
        self.world = MemoryNode(Rooms())

    def test_messages(self) -> None:
        """Clients see what others publish, and who comes and goes."""
        ann, bob = self.world.client("ann"), self.world.client("bob")
        ann.subscribe("room")
        bob.subscribe("room")
        bob.publish("room", {"text": "hi"})
        (publication,) = ann.publications("room")
        assert publication.info is not None
        self.assertEqual((publication.data, publication.offset), ({"text": "hi"}, 1))
        self.assertEqual(publication.info.user, "bob")
        self.assertEqual(publication.info.conn_info, {"n": 1})
        self.assertIsNone(publication.info.chan_info)
        bob.unsubscribe("room")
        kinds = [push.kind for push in ann.pushes]
        self.assertEqual(kinds, ["join", "join", "pub", "leave"])
        self.assertEqual(list(ann.presence("room")["presence"]), [ann.id])

    def test_results(self) -> None:
        """Commands return the results of replies."""
        ann = FakeClient(self.world.node)
        self.assertEqual(ann.connect("ann", data={"a": 1})["data"], {"a": 1})
        result = ann.subscribe("room", recover=True)
        self.assertTrue(result["recoverable"])

    def test_errors(self) -> None:
        """Errors and disconnects are raised."""
        ann = self.world.client("ann")
        with self.assertRaises(ReplyError) as refused:
            ann.rpc("none")
        self.assertEqual(refused.exception.error.code, 108)
        bad = FakeClient(self.world.node)
        with self.assertRaises(DisconnectClient):
            bad.connect("wrong")
        self.assertEqual(bad.disconnected, INVALID_TOKEN)
        with self.assertRaises(DisconnectClient):
            bad.connect("again")

    def test_lost(self) -> None:
        """A lost connection leaves its channels."""
        ann = self.world.client("ann")
        ann.subscribe("room")
        ann.close()
        ann.close()
        self.assertEqual(result_of(self.world.node.presence("room")), {})
        self.assertEqual(self.world.node.num_clients, 0)

    def test_time(self) -> None:
        """Time passes when the test says so; pings are answered."""
        ann = self.world.client("ann")
        self.world.advance(100.5)
        self.assertEqual((ann.pings, ann.disconnected), (4, None))
        result_of(self.world.node.publish("room", 1))
        self.world.advance(61)
        self.assertEqual(result_of(self.world.node.history("room")).publications, [])

    def test_waiting(self) -> None:
        """A result that is not there is told from a failure."""
        waiting: Deferred[Any] = Deferred()
        with self.assertRaises(StillWaiting):
            result_of(waiting)
        failed: Deferred[Any] = Deferred()
        failed.errback(ZeroDivisionError())
        with self.assertRaises(ZeroDivisionError):
            result_of(failed)
