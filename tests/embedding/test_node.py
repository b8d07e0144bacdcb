"""The node's verbs for applications."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx import (
    Admission,
    ChannelOptions,
    Client,
    ConnectRequest,
    Disconnect,
    Error,
    MapRules,
    Node,
    Policy,
    PollRules,
    PublishResult,
    ReplyError,
    StreamPosition,
    SubscribeOptions,
    SubscribeRequest,
    memory_engine,
    to_json,
)
from centrifugo_tx.protocol.codes import UNKNOWN_CHANNEL
from centrifugo_tx.testing import MemoryNode, result_of

CHANNELS = {
    "kept": ChannelOptions(
        history_size=3, history_ttl=60, presence=True, force_push_join_leave=True
    ),
    "proved": ChannelOptions(history_size=3, history_ttl=60, receipts=True),
    "plain": ChannelOptions(),
    "object": ChannelOptions(publication_data_format="json_object"),
    "map": ChannelOptions(map=MapRules()),
    "poll": ChannelOptions(
        subscription_type="shared_poll", poll=PollRules(publish=True)
    ),
}


class Rooms(Policy):
    """Admits everyone by the token as user id, into every channel."""

    def channel(self, name: str) -> ChannelOptions:
        if name not in CHANNELS:
            raise ReplyError(UNKNOWN_CHANNEL)
        return CHANNELS[name]

    def connect(self, client: Client, request: ConnectRequest) -> Admission:
        return Admission(user=request.token, info=to_json({"name": request.token}))

    def subscribe(self, client: Client, request: SubscribeRequest) -> SubscribeOptions:
        proved = request.channel == "proved"
        return SubscribeOptions(
            presence=True,
            info=to_json("chan"),
            positioned=proved,
            receipts_ttl=60.0 if proved else 0.0,
        )


class NodeCase(SynchronousTestCase):
    """A node with a subscriber of each kind of channel."""

    def setUp(self) -> None:
        self.world = MemoryNode(Rooms())
        self.node = self.world.node

    def code(self, refused: "Deferred[object]") -> int:
        """Return the code with which a call is refused."""
        error = self.failureResultOf(refused, ReplyError).value
        code: int = error.error.code
        return code


class PublishTests(NodeCase):
    """Publishing."""

    def test_json(self) -> None:
        """A JSON value arrives, and the channel's options say how it is kept."""
        ann = self.world.client("ann")
        ann.subscribe("kept")
        for number in range(4):
            result = result_of(self.node.publish("kept", {"n": number}))
        self.assertEqual(result.offset, 4)
        history = result_of(self.node.history("kept"))
        self.assertEqual([each.data["n"] for each in history.publications], [1, 2, 3])
        self.assertEqual(history.position, result.position)
        self.assertEqual(
            [each.data["n"] for each in ann.publications("kept")], [0, 1, 2, 3]
        )

    def test_null(self) -> None:
        """None is JSON's null; nothing at all is refused."""
        self.assertEqual(result_of(self.node.publish("kept", None)).offset, 1)
        (publication,) = result_of(self.node.history("kept")).publications
        self.assertEqual((publication.raw, publication.data), (b"null", None))
        self.assertEqual(self.code(self.node.publish("kept")), 107)

    def test_raw(self) -> None:
        """Bytes are published unchanged, JSON or not."""
        for raw in (b'{"a":  1}', b"\x00\xff"):
            result_of(self.node.publish("kept", raw=raw))
        first, second = result_of(self.node.history("kept")).publications
        self.assertEqual((first.raw, first.data), (b'{"a":  1}', {"a": 1}))
        self.assertEqual(second.raw, b"\x00\xff")
        with self.assertRaises(ValueError):
            _ = second.data

    def test_mistakes(self) -> None:
        """Bytes in place of a value, both, and what JSON lacks are type errors."""
        with self.assertRaises(TypeError):
            self.node.publish("kept", b"{}")
        with self.assertRaises(TypeError):
            self.node.publish("kept", {}, raw=b"{}")
        with self.assertRaises(TypeError):
            self.node.publish("kept", {"a": object()})

    def test_options(self) -> None:
        """Tags, idempotency and a skipped history."""
        result_of(self.node.publish("kept", 1, tags={"a": "b"}, idempotency_key="x"))
        again = result_of(self.node.publish("kept", 1, idempotency_key="x"))
        self.assertEqual(again.offset, 1)
        result = result_of(self.node.publish("kept", 1, skip_history=True))
        self.assertEqual(result, PublishResult())
        (publication,) = result_of(self.node.history("kept")).publications
        self.assertEqual(publication.tags, {"a": "b"})

    def test_refused(self) -> None:
        """What the channel's options forbid is an error."""
        self.assertEqual(self.code(self.node.publish("unknown", 1)), 102)
        self.assertEqual(self.code(self.node.publish("object", 1)), 107)
        self.assertEqual(self.code(self.node.publish("poll", 1)), 107)
        self.assertEqual(self.code(self.node.history("plain")), 108)

    def test_broadcast(self) -> None:
        """Each channel has its own result or error."""
        kept, unknown = result_of(self.node.broadcast(["kept", "unknown"], 1))
        assert isinstance(kept, PublishResult)
        assert isinstance(unknown, Error)
        self.assertEqual((kept.offset, unknown.code), (1, 102))


class ReadingTests(NodeCase):
    """Reading channels and nodes."""

    def test_history(self) -> None:
        """A part of the stream is read forwards, backwards, or not at all."""
        for number in range(3):
            result_of(self.node.publish("kept", number))
        top = result_of(self.node.history("kept", limit=0))
        self.assertEqual((top.publications, top.offset), ([], 3))
        since = StreamPosition(1, top.epoch)
        after = result_of(self.node.history("kept", since=since, limit=1))
        self.assertEqual([each.offset for each in after.publications], [2])
        last = result_of(self.node.history("kept", limit=1, reverse=True))
        self.assertEqual([each.offset for each in last.publications], [3])
        other = StreamPosition(1, "other")
        self.assertEqual(self.code(self.node.history("kept", since=other)), 112)
        result_of(self.node.remove_history("kept"))
        self.assertEqual(result_of(self.node.history("kept")).publications, [])

    def test_presence(self) -> None:
        """The clients of a channel have decoded infos."""
        ann = self.world.client("ann")
        ann.subscribe("kept")
        ((id, info),) = result_of(self.node.presence("kept")).items()
        self.assertEqual((id, info.user, info.client), (ann.id, "ann", ann.id))
        self.assertEqual((info.conn_info, info.chan_info), ({"name": "ann"}, "chan"))
        self.assertEqual(info.raw_conn_info, b'{"name":"ann"}')
        stats = result_of(self.node.presence_stats("kept"))
        self.assertEqual((stats.num_clients, stats.num_users), (1, 1))
        self.assertEqual(result_of(self.node.channels("k*")), {"kept": 1})
        self.assertIsNotNone(self.failureResultOf(self.node.channels("["), ValueError))

    def test_receipts(self) -> None:
        """The node tells which users have received a publication."""
        self.world.client("ann").subscribe("proved")
        published = result_of(self.node.publish("proved", "hi", confirm=True))
        found = result_of(
            self.node.receipts("proved", published.offset, epoch=published.epoch)
        )
        self.assertEqual([each.user for each in found.users], ["ann"])
        self.assertEqual(sum(found.counts.values()), 1)
        self.assertEqual(self.code(self.node.receipts("kept", 1)), 108)
        self.assertEqual(self.code(self.node.publish("kept", "hi", confirm=True)), 108)
        (response,) = result_of(self.node.broadcast(["kept"], "hi", confirm=True))
        self.assertEqual(response.code, 108)

    def test_nodes(self) -> None:
        """The node knows itself, and answers surveys."""
        self.world.client("ann")
        (info,) = result_of(self.node.info())
        self.assertEqual((info.uid, info.num_clients), (self.node.id, 1))
        self.assertEqual((self.node.num_clients, self.node.num_nodes), (1, 1))
        self.node.answer_survey("echo", lambda data: self.answer(data))
        answers = result_of(self.node.survey("echo", b"x"))
        self.assertEqual(answers, {self.node.id: (0, b"x")})

    def answer(self, data: bytes) -> "Deferred[tuple[int, bytes]]":
        """Answer a survey with its data."""
        done: Deferred[tuple[int, bytes]] = Deferred()
        done.callback((0, data))
        return done


class ClientTests(NodeCase):
    """Commands to clients."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.world.client("ann")

    def test_subscribe(self) -> None:
        """A subscription follows the channel's options, unless a value is given."""
        result_of(self.node.subscribe("ann", "kept", data={"welcome": 1}))
        (push,) = self.ann.pushes
        self.assertEqual(
            (push.kind, push.content["data"]), ("subscribe", {"welcome": 1})
        )
        self.assertEqual(len(result_of(self.node.presence("kept"))), 1)
        result_of(self.node.unsubscribe("ann", "kept"))
        self.assertEqual(self.ann.pushes[-1].kind, "unsubscribe")
        result_of(self.node.subscribe("ann", "kept", presence=False))
        self.assertEqual(result_of(self.node.presence("kept")), {})

    def test_refresh(self) -> None:
        """An expiry reaches the client."""
        soon = int(self.world.clock.seconds()) + 10
        result_of(self.node.refresh("ann", expire_at=soon))
        (push,) = self.ann.pushes
        self.assertEqual(push.content, {"expires": True, "ttl": 10})
        result_of(self.node.refresh("ann", expired=True))
        assert self.ann.disconnected is not None
        self.assertEqual(self.ann.disconnected.code, 3005)

    def test_disconnect(self) -> None:
        """A client is disconnected with the given code."""
        other = self.world.client("ann")
        done = self.node.disconnect(
            "ann", disconnect=Disconnect(4500, "banned"), whitelist=[other.id]
        )
        result_of(done)
        self.assertEqual(self.ann.disconnected, Disconnect(4500, "banned"))
        self.assertIsNone(other.disconnected)


class KeyTests(NodeCase):
    """Maps and shared poll keys."""

    def test_map(self) -> None:
        """Keys are set, read and removed; a suppressed change says why."""
        first = result_of(self.node.map_publish("map", "a", {"x": 1}))
        self.assertEqual((first.offset, first.suppressed), (1, ""))
        again = result_of(self.node.map_publish("map", "a", 2, key_mode="if_new"))
        self.assertEqual(again.suppressed, "key_exists")
        result_of(self.node.map_publish("map", "b", raw=b"7"))
        state = result_of(self.node.map_state("map"))
        self.assertEqual(
            {each.key: each.data for each in state.entries}, {"a": {"x": 1}, "b": 7}
        )
        self.assertEqual(result_of(self.node.map_size("map")), 2)
        (entry,) = result_of(self.node.map_state("map", key="b")).entries
        self.assertEqual((entry.raw, entry.time), (b"7", self.world.clock.seconds()))
        result_of(self.node.map_remove("map", "a"))
        changes = result_of(self.node.map_changes("map", limit=1, reverse=True))
        (change,) = changes.entries
        self.assertEqual((change.key, change.removed, changes.offset), ("a", True, 3))
        since = StreamPosition(2, changes.epoch)
        after = result_of(self.node.map_changes("map", since=since))
        self.assertEqual([each.offset for each in after.entries], [3])
        result_of(self.node.map_clear("map"))
        self.assertEqual(result_of(self.node.map_size("map")), 0)
        self.assertEqual(self.code(self.node.map_size("kept")), 107)

    def test_poll(self) -> None:
        """A shared poll key needs a channel of that kind."""
        result_of(self.node.shared_poll_publish("poll", "a", 1, version=1))
        refused = self.node.shared_poll_publish("kept", "a", 1, version=1)
        self.assertEqual(self.code(refused), 107)


class LifeTests(SynchronousTestCase):
    """Start, stop, and a new policy."""

    def test_policy(self) -> None:
        """A new policy decides from the next command on."""
        world = MemoryNode(Rooms())
        ann = world.client("ann")
        world.node.policy = Policy()
        self.assertIsInstance(world.node.policy, Policy)
        with self.assertRaises(ReplyError):
            ann.subscribe("kept")

    def test_stop(self) -> None:
        """A node that stops closes its clients with 3001."""
        world = MemoryNode(Rooms())
        ann = world.client("ann")
        result_of(world.node.stop())
        assert ann.disconnected is not None
        self.assertEqual(ann.disconnected.code, 3001)

    def test_default_clock(self) -> None:
        """Without a clock, the node uses the global reactor."""
        from twisted.internet import reactor

        node = Node(memory_engine(), Policy())
        self.assertIs(node.core.clock, reactor)  # type: ignore[attr-defined]
        given = Clock()
        node = Node(memory_engine(given), Policy(), given)
        self.assertIs(node.core.clock, given)  # type: ignore[attr-defined]
