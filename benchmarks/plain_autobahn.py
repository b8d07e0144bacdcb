"""What one would write with Autobahn alone: ``plain_autobahn.py PORT``.

A text message that begins with ``go`` is sent on to everybody by ``sendMessage``; any
other is a command in JSON, answered in JSON.
"""

import json
import resource
import sys

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
clients: dict[WebSocketServerProtocol, None] = {}


class Plain(WebSocketServerProtocol):  # type: ignore[misc]  # untyped
    """The stock protocol."""

    def onOpen(self) -> None:
        """Remember who is there."""
        clients[self] = None

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Forget who is gone."""
        clients.pop(self, None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Send on, or answer."""
        if payload.startswith(b"go"):
            message = payload[2:]
            for client in list(clients):
                client.sendMessage(message)
        else:
            reply = {"id": json.loads(payload)["id"], "publish": {}}
            self.sendMessage(json.dumps(reply, separators=(",", ":")).encode())


factory = WebSocketServerFactory()
factory.protocol = Plain
reactor.listenTCP(int(sys.argv[1]), factory, backlog=4096, interface="127.0.0.1")
reactor.run()
