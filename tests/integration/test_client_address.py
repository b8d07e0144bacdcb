"""Headers with client addresses have no effect on the server."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .server import Server, connection_token
from .websocket import Refused, WebSocket

_FORGED = "203.0.113.7"
_LIES = {
    "X-Forwarded-For": f"{_FORGED}, 127.0.0.1",
    "X-Real-IP": _FORGED,
    "Forwarded": f"for={_FORGED};host=root.example;proto=https",
    "X-Forwarded-Host": "root.example",
    "X-Forwarded-Proto": "https",
}
_OPTIONS: dict[str, Any] = {
    "log": {"level": "debug"},
    "prometheus": {"enabled": True},
    "uni_http_stream": {"enabled": True},
    "client": {"allowed_origins": ["https://good.example"]},
    "channel": {
        "without_namespace": {
            "presence": True,
            "join_leave": True,
            "force_push_join_leave": True,
            "allow_subscribe_for_client": True,
            "allow_publish_for_subscriber": True,
        }
    },
}


class AddressTests(SynchronousTestCase):
    """Headers of proxies are not believed."""

    def setUp(self) -> None:
        self.server = Server(_OPTIONS)
        self.addCleanup(self.server.close)
        self.server.start()

    def life(self, headers: dict[str, str]) -> list[Any]:
        """Return the messages to a client, without the ids of its connection."""
        client = WebSocket(self.server.port, headers)
        self.addCleanup(client.close)
        connected = client.ask({"id": 1, "connect": {"token": connection_token("ada")}})
        told = [connected]
        channel = {"channel": "news"}
        for command in (
            {"id": 2, "subscribe": channel},
            {"id": 3, "publish": {**channel, "data": 1}},
            {"id": 4, "presence": channel},
        ):
            told.append(client.ask(command))
        told.append(client.receive())
        self.server.api("disconnect", user="ada")
        told.append(client.closing())
        text = json.dumps(told)
        self.assertNotIn(_FORGED, text)
        text = text.replace(connected["connect"]["client"], "ID")
        for name in ("session", "node"):
            text = text.replace(connected["connect"].get(name) or "-", "-")
        found: list[Any] = json.loads(text)
        return found

    def test_clients(self) -> None:
        """A client receives the same messages with and without them."""
        self.assertEqual(self.life({}), self.life(_LIES))

    def test_refusals(self) -> None:
        """They admit no client that is refused without them."""
        origin = {"Origin": "https://root.example"}
        for lies in ({}, _LIES):
            with self.assertRaises(Refused) as refused:
                WebSocket(self.server.port, {**origin, **lies})
            self.assertEqual(refused.exception.status, 403)
            status, _ = self.server.request("POST", "/api/info", b"{}", lies)
            self.assertEqual(status, 401)
            client = WebSocket(self.server.port, lies)
            self.addCleanup(client.close)
            client.send({"id": 1, "connect": {}})
            self.assertEqual(client.closing()[0], 3501)

    def test_traces(self) -> None:
        """Neither log nor metrics have them."""
        self.life(_LIES)
        self.server.request("GET", "/nowhere", headers=_LIES)
        self.server.request("POST", "/connection/uni_http_stream", b"x", _LIES)
        stranger = WebSocket(self.server.port, _LIES)
        self.addCleanup(stranger.close)
        stranger.send({"id": 1, "connect": {"token": connection_token("eve") + "x"}})
        self.assertEqual(stranger.closing()[0], 3500)
        status, metrics = self.server.request("GET", "/metrics", headers=_LIES)
        self.assertEqual(status, 200)
        self.assertNotIn(_FORGED, metrics.decode())
        self.assertIn("invalid connection token", self.server.log())
        self.assertNotIn(_FORGED, self.server.log())
