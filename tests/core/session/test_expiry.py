"""Connections and subscriptions that the server refreshes by itself."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.errors import DisconnectClient
from centrifugo_tx.options import Admission, Expiry, NodeOptions, SubscribeOptions
from centrifugo_tx.protocol.codes import FORCE_DISCONNECT
from centrifugo_tx.protocol.messages import Raw

from ...support import Peer, World

NOW = 1_000_000_000


class ConnectionTests(SynchronousTestCase):
    """The policy's answers about expired connections."""

    def setUp(self) -> None:
        self.world = World(options=NodeOptions(ping_interval=-1))
        self.policy = self.world.policy
        self.policy.admission = Admission(
            user="u", expire_at=NOW + 60, server_side_refresh=True
        )

    def connected(self) -> Peer:
        """Return a client whose end is in a minute."""
        peer = self.world.open()
        self.assertNotIn("expires", peer.one(connect={})["connect"])
        return peer

    def test_prolonged(self) -> None:
        """A later end is taken over, with info and meta."""
        peer = self.connected()
        self.policy.expiry = Expiry(
            expire_at=NOW + 600, info=Raw(b'"new"'), meta=Raw(b'{"a":1}')
        )
        self.world.clock.advance(61)
        self.assertEqual(bytes(peer.client.info.conn_info), b'"new"')
        self.assertEqual(bytes(peer.client.meta), b'{"a":1}')
        self.world.clock.advance(500)
        self.assertEqual(peer.closed, 0)

    def test_over(self) -> None:
        """An answer of expired, or an end that has passed, closes with 3005."""
        for expiry in (Expiry(expired=True), Expiry(expire_at=NOW), Expiry()):
            self.policy.admission = Admission(
                expire_at=int(self.world.clock.seconds()) + 60,
                server_side_refresh=True,
            )
            peer = self.connected()
            self.policy.expiry = expiry
            self.world.clock.advance(61)
            self.assertEqual(peer.closed, 3005, expiry)

    def test_disconnected(self) -> None:
        """The policy may end the connection with a code of its own."""
        peer = self.connected()
        self.policy.expiry = DisconnectClient(FORCE_DISCONNECT)
        self.world.clock.advance(61)
        self.assertEqual(peer.closed, FORCE_DISCONNECT.code)

    def test_gone(self) -> None:
        """An answer that comes too late changes nothing."""
        for answer in (Expiry(expired=True), RuntimeError("away")):
            self.policy.admission = Admission(
                expire_at=int(self.world.clock.seconds()) + 60,
                server_side_refresh=True,
            )
            peer = self.connected()
            self.policy.expiry = asked = Deferred[Expiry]()
            self.world.clock.advance(61)
            peer.client.transport_lost()
            if isinstance(answer, Expiry):
                asked.callback(answer)
            else:
                asked.errback(answer)
            self.assertEqual(peer.transport.closed, [])


class SubscriptionTests(SynchronousTestCase):
    """The policy's answers about expired subscriptions."""

    def setUp(self) -> None:
        self.world = World(options=NodeOptions(ping_interval=-1))
        self.policy = self.world.policy
        self.policy.subscription = SubscribeOptions(
            expire_at=NOW + 60, server_side_refresh=True
        )
        self.peer = self.world.connected("u")
        self.assertEqual(self.peer.one(subscribe={"channel": "a"})["subscribe"], {})

    def asked(self) -> int:
        """Return how often the policy was asked."""
        return len([call for call, _ in self.policy.calls if call == "sub_refresh"])

    def wait(self, seconds: int) -> Any:
        """Advance the time; return the client's messages."""
        self.world.clock.pump([1] * seconds)
        return self.peer.take()

    def test_prolonged(self) -> None:
        """A later end is taken over, with info; none means for ever."""
        self.policy.sub_expiry = Expiry(expire_at=NOW + 200, info=Raw(b'"new"'))
        self.assertEqual(self.wait(120), [])
        self.assertEqual(self.asked(), 1)
        info = self.peer.client.channel_info("a")
        self.assertEqual(bytes(info), b'"new"')
        self.policy.sub_expiry = Expiry()
        self.assertEqual(self.wait(1000), [])
        self.assertEqual(self.asked(), 2)

    def test_over(self) -> None:
        """An answer of expired ends the subscription with 2501."""
        self.policy.sub_expiry = Expiry(expired=True)
        (message,) = self.wait(120)
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2501)

    def test_failed(self) -> None:
        """A failed call is repeated after a minute."""
        self.policy.sub_expiry = RuntimeError("away")
        self.assertEqual(self.wait(120), [])
        self.assertEqual((self.asked(), self.peer.closed), (1, 0))
        self.policy.sub_expiry = Expiry()
        self.assertEqual(self.wait(90), [])
        self.assertEqual(self.asked(), 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_not_twice(self) -> None:
        """While an answer is on its way nothing more is asked."""
        answer: Deferred[Expiry] = Deferred()
        self.policy.sub_expiry = answer
        self.assertEqual(self.wait(300), [])
        self.assertEqual(self.asked(), 1)
        self.peer.ask(unsubscribe={"channel": "a"})
        answer.callback(Expiry(expired=True))
        self.assertEqual(self.peer.take(), [])

    def test_client_asks(self) -> None:
        """A client that refreshes a server-refreshed subscription is disconnected."""
        self.peer.ask(sub_refresh={"channel": "a", "token": "t"})
        self.assertEqual(self.peer.closed, 3501)

    def test_server_side(self) -> None:
        """A server-side subscription that is over ends the connection with 3006."""
        subs = {"b": SubscribeOptions(expire_at=NOW + 60)}
        self.policy.admission = Admission(user="u", subs=subs)
        peer = self.world.open()
        peer.ask(connect={})
        self.world.clock.pump([1] * 120)
        self.assertEqual(peer.closed, 3006)
