"""An ASGI server in memory: one connection of it at a time."""

import asyncio
import json
from typing import Any

from attrs import define, field

from centrifugo_tx.asgi import ASGIApp, Message

__all__ = ["Connection", "http_scope", "turns", "websocket_scope"]


async def turns(count: int = 10) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


def http_scope(method: str, path: str, **more: Any) -> dict[str, Any]:
    """Return the scope of a request."""
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [],
        "client": ("192.0.2.1", 4000),
        **more,
    }


def websocket_scope(path: str, **more: Any) -> dict[str, Any]:
    """Return the scope of a WebSocket."""
    scope = http_scope("GET", path, **more)
    return {**scope, "type": "websocket", "subprotocols": more.get("subprotocols", [])}


@define(eq=False)
class Connection:
    """One run of the application."""

    app: ASGIApp
    scope: dict[str, Any]
    #: What the application has sent.
    sent: list[Message] = field(factory=list, init=False)
    #: Cleared while the peer reads nothing.
    writable: asyncio.Event = field(factory=asyncio.Event, init=False)
    _arriving: "asyncio.Queue[Message]" = field(factory=asyncio.Queue, init=False)
    task: "asyncio.Task[None]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.writable.set()
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        await self.app(self.scope, self._arriving.get, self._send)

    async def _send(self, message: Message) -> None:
        await self.writable.wait()
        self.sent.append(message)

    async def give(self, type: str, **fields: Any) -> None:
        """Give the application a message, and let it work."""
        self._arriving.put_nowait({"type": type, **fields})
        await turns()

    async def say(self, *commands: Any) -> None:
        """Send commands in one text message."""
        text = "\n".join(json.dumps(each) for each in commands)
        await self.give("websocket.receive", text=text)

    def take(self) -> list[Message]:
        """Return what was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent

    def replies(self) -> list[Any]:
        """Return the JSON of the text messages since the last call."""
        return [
            json.loads(line)
            for message in self.take()
            if "text" in message
            for line in message["text"].split("\n")
        ]

    @property
    def body(self) -> bytes:
        """Return the body of the response so far."""
        return b"".join(each.get("body", b"") for each in self.sent)

    @property
    def status(self) -> int:
        """Return the status of the response."""
        status: int = self.sent[0]["status"]
        return status
