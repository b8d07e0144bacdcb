"""The node's special rules for clients of protocol v1.

See client protocol v1, "Differences".
"""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.channel.lanes import lose_positions
from centrifugo_tx.errors import ReplyError
from centrifugo_tx.options import SubscribeOptions, TransportInfo
from centrifugo_tx.protocol.codes import TOKEN_EXPIRED
from centrifugo_tx.protocol.wire import websocket_json_v1

from ...support import MemoryTransport, Peer, World


class OldClientTests(SynchronousTestCase):
    """One client that speaks protocol v1."""

    def setUp(self) -> None:
        self.world = World()
        info = TransportInfo(pings=False, version=1)
        transport = MemoryTransport(websocket_json_v1(), info)
        self.peer = Peer(self.world.node.connect(transport), transport)

    def ask(self, method: int, **params: Any) -> list[Any]:
        """Send a command; return the messages received by then."""
        command = {"method": method, "params": params, "id": 7}
        self.peer.client.receive(json.dumps(command).encode())
        return self.peer.take()

    def connect(self) -> None:
        (reply,) = self.ask(0)
        self.assertEqual(reply["result"]["client"], self.peer.client.id)

    def test_before_connect(self) -> None:
        """Anything but a connect, a ping too, is a bad request."""
        self.assertEqual(self.ask(7), [])
        self.assertEqual(self.peer.closed, 3501)

    def test_refused(self) -> None:
        """Whose connect failed is read on, so that it can say goodbye."""
        self.world.policy.admission = ReplyError(TOKEN_EXPIRED)
        error = {"code": 109, "message": "token expired"}
        self.assertEqual(self.ask(0), [{"id": 7, "error": error}])
        self.assertFalse(self.peer.transport.paused)
        self.assertEqual((self.ask(0), self.ask(7)), ([], []))
        self.assertEqual(self.peer.closed, 0)
        self.world.clock.pump([1] * 11)
        self.assertEqual(self.peer.closed, 3502)

    def test_no_id(self) -> None:
        """A command without an id is a message, not a pong."""
        self.connect()
        self.peer.client.receive(b'{"method":7}')
        self.assertEqual(self.peer.closed, 3501)

    def test_ping(self) -> None:
        """The client pings; the node never does."""
        self.connect()
        self.assertEqual(self.ask(7), [{"id": 7}])
        self.world.clock.pump([10] * 20)
        self.assertEqual(self.peer.take(), [])

    def test_unknown_method(self) -> None:
        """A method that there is not is error 104."""
        self.connect()
        error = {"code": 104, "message": "method not found"}
        self.assertEqual(self.ask(99), [{"id": 7, "error": error}])
        self.assertEqual(self.peer.closed, 0)

    def test_message(self) -> None:
        """A message without a receiver is ignored; in v2 it closes the connection."""
        self.connect()
        self.assertEqual(self.ask(8, data={}), [])
        self.assertEqual(self.peer.closed, 0)
        new = self.world.connected()
        new.ask(send={"data": {}})
        self.assertEqual(new.closed, 3508)

    def test_lost_place(self) -> None:
        """A client that missed publications is disconnected with 3010."""
        self.world.policy.subscription = SubscribeOptions(positioned=True)
        self.connect()
        self.ask(1, channel="c")
        where = self.world.publish("c", 1, history_size=9, history_ttl=60.0)
        self.assertEqual(len(self.peer.take()), 1)
        channel = self.world.node.hub.channel("c")
        lose_positions(channel.forget_position())
        self.assertEqual((self.peer.closed, where.offset), (3010, 1))

    def test_expired_subscription(self) -> None:
        """A client whose subscription expires is disconnected with 3006."""
        expire_at = int(self.world.clock.seconds()) + 10
        self.world.policy.subscription = SubscribeOptions(expire_at=expire_at)
        self.connect()
        (reply,) = self.ask(1, channel="c")
        self.assertEqual(reply["result"], {"expires": True, "ttl": 10})
        self.world.clock.pump([1] * 100)
        self.assertEqual(self.peer.closed, 3006)

    def test_unsubscribe_by_server(self) -> None:
        """A server's unsubscribe is a push without a reason."""
        self.connect()
        self.ask(1, channel="c")
        self.world.node.unsubscribe("c", client=self.peer.client.id)
        push = {"type": 3, "channel": "c", "data": {}}
        self.assertEqual(self.peer.take(), [{"result": push}])
