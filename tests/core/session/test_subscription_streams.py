"""Subscriptions with a backend stream (event proxies, "Subscription streams")."""

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.errors import ReplyError
from centrifugo_tx.options import SubscribeOptions
from centrifugo_tx.protocol.codes import INAPPROPRIATE_PROTOCOL, INTERNAL
from centrifugo_tx.protocol.payloads import Raw

from ...support import Peer, World


@define(eq=False)
class Stream:
    """A stream that the test feeds."""

    deliver: Callable[[bytes, dict[str, str]], None] | None = None
    ended: Callable[[bool], None] | None = None
    closed: int = 0
    sent: list[bytes] = field(factory=list)

    def follow(
        self,
        deliver: Callable[[bytes, dict[str, str]], None],
        ended: Callable[[bool], None],
    ) -> None:
        """Keep what delivers."""
        self.deliver, self.ended = deliver, ended

    def publish(self, data: Raw) -> "Deferred[None]":
        """Keep what is sent."""
        self.sent.append(bytes(data))
        return succeed(None)

    def close(self) -> None:
        """Count."""
        self.closed += 1


class StreamTests(SynchronousTestCase):
    """From the reply to the end of the subscription."""

    def setUp(self) -> None:
        self.world = World()
        self.stream = Stream()
        self.options = SubscribeOptions(stream=self.stream)
        self.world.policy.subscription = self.options

    def push(self, peer: Peer) -> dict[str, object]:
        """Return the only push that came."""
        [message] = peer.take()
        found: dict[str, object] = message["push"]
        return found

    def test_publications(self) -> None:
        """They come after the reply, to this subscriber alone."""
        decided: Deferred[SubscribeOptions] = Deferred()
        self.world.policy.subscription = decided
        peer = self.world.connected()
        self.assertEqual(peer.ask(subscribe={"channel": "a"}), [])
        self.assertIsNone(self.stream.deliver)
        decided.callback(self.options)
        [reply] = peer.take()
        self.assertIn("subscribe", reply)
        self.world.policy.subscription = SubscribeOptions()
        other = self.world.subscribed("a")
        assert self.stream.deliver is not None
        self.stream.deliver(b'{"n":1}', {"t": "1"})
        expected = {"channel": "a", "pub": {"data": {"n": 1}, "tags": {"t": "1"}}}
        self.assertEqual(self.push(peer), expected)
        self.assertEqual(other.take(), [])
        self.world.publish("a", 2)
        self.assertEqual(self.push(peer), {"channel": "a", "pub": {"data": 2}})

    def test_binary(self) -> None:
        """Data that the client's encoding cannot carry closes its connection."""
        peer = self.world.subscribed("a")
        assert self.stream.deliver is not None
        self.stream.deliver(b"\xff", {})
        self.assertEqual(peer.closed, INAPPROPRIATE_PROTOCOL.code)
        self.assertEqual(self.stream.closed, 1)

    def test_completed(self) -> None:
        """A completed stream ends the subscription for good."""
        peer = self.world.subscribed("a")
        assert self.stream.ended is not None
        self.stream.ended(True)
        reason = {"code": 2000, "reason": "server unsubscribe"}
        self.assertEqual(self.push(peer), {"channel": "a", "unsubscribe": reason})
        self.assertFalse(peer.client.subscribed("a"))

    def test_failed(self) -> None:
        """After an error the client is to subscribe again."""
        peer = self.world.subscribed("a")
        assert self.stream.ended is not None
        self.stream.ended(False)
        reason = {"code": 2500, "reason": "insufficient state"}
        self.assertEqual(self.push(peer), {"channel": "a", "unsubscribe": reason})

    def test_left(self) -> None:
        """Unsubscribing ends the stream; what it still brings is dropped."""
        peer = self.world.subscribed("a")
        self.assertEqual(self.stream.closed, 0)
        peer.ask(unsubscribe={"channel": "a"})
        self.assertEqual(self.stream.closed, 1)
        assert self.stream.deliver is not None and self.stream.ended is not None
        self.stream.deliver(b"1", {})
        self.stream.ended(True)
        self.assertEqual(peer.take(), [])

    def test_disconnected(self) -> None:
        """So does the end of the connection."""
        peer = self.world.subscribed("a")
        peer.client.transport_lost()
        self.assertEqual(self.stream.closed, 1)

    def test_gone_meanwhile(self) -> None:
        """A stream that is opened for a client that has gone is closed."""
        decided: Deferred[SubscribeOptions] = Deferred()
        self.world.policy.subscription = decided
        peer = self.world.connected()
        peer.ask(subscribe={"channel": "a"})
        peer.client.transport_lost()
        decided.callback(self.options)
        self.assertEqual(self.stream.closed, 1)
        self.assertIsNone(self.stream.deliver)

    def test_expired(self) -> None:
        """A subscription that is refused after all leaves no stream open."""
        self.world.policy.subscription = SubscribeOptions(
            stream=self.stream, expire_at=1
        )
        peer = self.world.connected()
        reply = peer.one(subscribe={"channel": "a"})
        self.assertEqual(reply["error"]["code"], 110)
        self.assertEqual(self.stream.closed, 1)

    def test_stream_of(self) -> None:
        """Policies find the stream of a channel, while there is one."""
        peer = self.world.subscribed("a")
        self.assertIs(peer.client.stream_of("a"), self.stream)
        self.assertIsNone(peer.client.stream_of("b"))
        peer.ask(unsubscribe={"channel": "a"})
        self.assertIsNone(peer.client.stream_of("a"))

    def test_published(self) -> None:
        """What a policy has put into a stream has an empty result."""
        peer = self.world.subscribed("a")
        self.world.policy.publication = succeed(None)
        reply = peer.one(publish={"channel": "a", "data": 1})
        self.assertEqual(reply["publish"], {})
        self.world.policy.publication = ReplyError(INTERNAL)
        reply = peer.one(publish={"channel": "a", "data": 1})
        self.assertEqual(reply["error"]["code"], 100)
