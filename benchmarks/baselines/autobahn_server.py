"""Plain Autobahn: python -m benchmarks.baselines.autobahn_server PORT

A message that is a number is answered to all clients with a text of that size.  Any
other message is decoded as a command, and answered with a reply as short as ours.
"""

import json
import sys
from typing import Any

from autobahn.twisted.websocket import (
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from twisted.internet import reactor

__all__: list[str] = []

connections: "dict[Connection, None]" = {}


class Connection(WebSocketServerProtocol):  # type: ignore[misc]  # untyped
    """Sends with `sendMessage`, as in Autobahn's documentation."""

    def onOpen(self) -> None:
        connections[self] = None

    def onClose(self, *reason: object) -> None:
        connections.pop(self, None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        command = json.loads(payload)
        if isinstance(command, int):
            text = b"x" * command
            for connection in connections:
                connection.sendMessage(text)
        else:
            reply = {"id": command["id"], "publish": {}}
            self.sendMessage(json.dumps(reply).encode())


def main() -> None:
    """Serve until the process is terminated."""
    factory = WebSocketServerFactory()
    factory.protocol = Connection
    broker_subscriptions: Any = reactor
    broker_subscriptions.listenTCP(int(sys.argv[1]), factory, 4096, "127.0.0.1")
    broker_subscriptions.run()


if __name__ == "__main__":
    main()
