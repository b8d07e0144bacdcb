"""How many connections a user may have on two nodes together."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .pair import Pair
from .server import Server, connection_token
from .websocket import WebSocket

OPTIONS: dict[str, Any] = {
    "client": {
        "subscribe_to_user_personal_channel": {
            "enabled": True,
            "personal_channel_namespace": "personal",
            "single_connection": True,
        }
    },
    "channel": {"namespaces": [{"name": "personal", "presence": True}]},
}


class SingleConnectionTests(SynchronousTestCase):
    """Nodes that let a user keep the newest connection only."""

    pair: Pair

    @classmethod
    def setUpClass(cls) -> None:
        """Start both."""
        cls.pair = Pair("limits", OPTIONS)
        cls.addClassCleanup(cls.pair.close)

    def connected(self, node: Server, user: str) -> WebSocket:
        """Return a connection to one of the nodes."""
        websocket = WebSocket(node.port)
        self.addCleanup(websocket.close)
        reply = websocket.ask({"id": 1, "connect": {"token": connection_token(user)}})
        self.assertIn(f"personal:#{user}", reply["connect"]["subs"])
        return websocket

    def test_newest_stays(self) -> None:
        """A connection ends the user's other one, on whichever node that is."""
        here, there = self.pair.nodes
        stranger = self.connected(here, "eve")
        latest = self.connected(here, "ada")
        for node in (there, here, there):
            latest, before = self.connected(node, "ada"), latest
            self.assertEqual(before.closing()[0], 3504)
        for websocket in (latest, stranger):
            websocket.send({"id": 2, "rpc": {"method": "nothing", "data": {}}})
            self.assertEqual(websocket.receive()["error"]["code"], 108)
