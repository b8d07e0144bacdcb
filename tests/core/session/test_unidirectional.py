"""Clients that get no replies: what connect says to them.

See client protocol, "Unidirectional transports".
"""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.errors import DisconnectClient, ReplyError
from centrifugo_tx.options import (
    Admission,
    NodeOptions,
    SubscribeOptions,
    TransportInfo,
)
from centrifugo_tx.protocol.codes import (
    ERRORS,
    INVALID_TOKEN,
    TOKEN_EXPIRED,
    UNKNOWN_CHANNEL,
    Disconnect,
    Error,
)
from centrifugo_tx.protocol.wire import uni_http_stream

from ...support import MemoryTransport, Peer, World

NOW = 1_000_000_000
INFO = TransportInfo(name="uni_http_stream", unidirectional=True)
KEPT: dict[str, Any] = {"history_size": 10, "history_ttl": 60}
RECOVERABLE = SubscribeOptions(positioned=True, recoverable=True)


class UnidirectionalTestCase(SynchronousTestCase):
    """Has a node."""

    options = NodeOptions(version="1.2.3")

    def setUp(self) -> None:
        self.world = World(self.options)

    def connect(self, **request: Any) -> Peer:
        """Return a client that has sent a connect request."""
        transport = MemoryTransport(uni_http_stream(), INFO)
        peer = Peer(self.world.node.connect(transport), transport)
        peer.client.receive(json.dumps(request).encode())
        return peer

    def pushes(self, peer: Peer) -> list[Any]:
        """Return the pushes that came since the last look."""
        frames, peer.transport.frames = peer.transport.frames, []
        return [json.loads(frame) for frame in frames]


class ConnectTests(UnidirectionalTestCase):
    """The first push."""

    def test_push(self) -> None:
        """It equals the reply, with a session, and without node and pong."""
        self.world.policy.admission = Admission(user="u", expire_at=NOW + 60)
        peer = self.connect()
        (push,) = self.pushes(peer)
        session = push["connect"].pop("session")
        self.assertEqual(len(session), 36)
        self.assertEqual(
            push,
            {
                "connect": {
                    "client": peer.client.id,
                    "version": "1.2.3",
                    "expires": True,
                    "ttl": 60,
                    "ping": 25,
                }
            },
        )

    def test_expiry(self) -> None:
        """Only the server can refresh it: the connection ends 25 s late."""
        self.world.policy.admission = Admission(user="u", expire_at=NOW + 60)
        peer = self.connect()
        self.world.clock.advance(84)
        self.assertEqual(peer.closed, 0)
        self.world.clock.advance(2)
        self.assertEqual(peer.closed, 3005)

    def test_refreshed(self) -> None:
        """The server can move the expiry; a push tells."""
        self.world.policy.admission = Admission(user="u", expire_at=NOW + 60)
        peer = self.connect()
        self.pushes(peer)
        self.world.node.refresh(user="u", expire_at=NOW + 3600)
        refresh = {"expires": True, "ttl": 3600}
        self.assertEqual(self.pushes(peer), [{"refresh": refresh}])
        self.world.clock.advance(100)
        self.assertEqual(peer.closed, 0)

    def test_recovery(self) -> None:
        """Publications missed since a position come with the connect push."""
        for number in range(3):
            self.world.publish("news", number, **KEPT)
        self.world.policy.admission = Admission(user="u", subs={"news": RECOVERABLE})
        first = self.pushes(self.connect())[0]["connect"]["subs"]["news"]
        since = {"recover": True, "epoch": first["epoch"], "offset": 1}
        (push,) = self.pushes(self.connect(subs={"news": since}))
        news = push["connect"]["subs"]["news"]
        self.assertEqual([each["data"] for each in news["publications"]], [1, 2])
        self.assertEqual([each["offset"] for each in news["publications"]], [2, 3])
        self.assertTrue(news["recovered"])

    def test_pings(self) -> None:
        """Pings are empty pushes, and no pong is expected."""
        peer = self.connect()
        self.pushes(peer)
        self.world.clock.advance(26)
        self.assertEqual(self.pushes(peer), [{}])
        self.world.clock.advance(9)
        self.assertEqual(peer.closed, 0)


class RefusalTests(UnidirectionalTestCase):
    """Errors of connect, said as disconnects."""

    options = NodeOptions(
        disconnects={102: Disconnect(4102, "no such thing"), 400: Disconnect(4400, "x")}
    )

    def refused(self, refusal: Exception) -> Disconnect:
        """Return the disconnect of a client whose connect fails."""
        self.world.policy.admission = refusal
        peer = self.connect()
        self.assertEqual(self.pushes(peer), [])
        (disconnect,) = peer.transport.closed
        return disconnect

    def test_by_default(self) -> None:
        """Expired, too many and forbidden have a code of their own; others none."""
        codes = {109: 3005, 110: 3005, 111: 3013, 103: 3507}
        for error in ERRORS:
            if error.code != 102:
                expected = codes.get(error.code, 3004)
                self.assertEqual(self.refused(ReplyError(error)).code, expected)

    def test_by_configuration(self) -> None:
        """A table comes first, also for errors of applications."""
        self.assertEqual(
            self.refused(ReplyError(UNKNOWN_CHANNEL)),
            Disconnect(4102, "no such thing"),
        )
        self.assertEqual(self.refused(ReplyError(Error(400, "y"))).code, 4400)
        self.assertEqual(self.refused(ReplyError(TOKEN_EXPIRED)).code, 3005)

    def test_disconnect(self) -> None:
        """A disconnect is not converted."""
        self.assertEqual(self.refused(DisconnectClient(INVALID_TOKEN)), INVALID_TOKEN)

    def test_failure(self) -> None:
        """An unexpected error is logged, and closes the client with 3004."""
        self.assertEqual(self.refused(ValueError()).code, 3004)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
