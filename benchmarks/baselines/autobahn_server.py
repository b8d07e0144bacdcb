"""Plain Autobahn: python -m benchmarks.baselines.autobahn_server PORT

A message that is a number is answered to all clients with a text of that size.  Any
other message is decoded as commands, one a line, and each is answered with a reply as
short as ours.  A client that recovers gets 100 publications.
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

#: The payload of each publication that is recovered.
DATA = {"user": "alice", "text": "hello world, this is a message", "ts": 1700000000000}

connections: "dict[Connection, None]" = {}


class Connection(WebSocketServerProtocol):  # type: ignore[misc]  # untyped
    """Sends with `sendMessage`, as in Autobahn's documentation."""

    def onOpen(self) -> None:
        connections[self] = None

    def onClose(self, *reason: object) -> None:
        connections.pop(self, None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        for line in payload.splitlines():
            command = json.loads(line)
            if isinstance(command, int):
                text = b"x" * command
                for connection in connections:
                    connection.sendMessage(text)
            else:
                self.sendMessage(json.dumps(_reply(command)).encode())


def _reply(command: dict[str, Any]) -> dict[str, Any]:
    method = next(name for name in command if name != "id")
    result: dict[str, Any] = {}
    if method == "subscribe" and command[method].get("recover"):
        result["publications"] = [
            {"data": DATA, "offset": offset} for offset in range(1, 101)
        ]
    return {"id": command["id"], method: result}


def main() -> None:
    """Serve until the process is terminated."""
    factory = WebSocketServerFactory()
    factory.protocol = Connection
    broker_subscriptions: Any = reactor
    broker_subscriptions.listenTCP(int(sys.argv[1]), factory, 4096, "127.0.0.1")
    broker_subscriptions.run()


if __name__ == "__main__":
    main()
