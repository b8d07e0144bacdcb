"""The example of the documentation, as an application would run it."""

import json
import sys
from pathlib import Path

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "embed.py"


class Subscriber(WebSocketClientProtocol):  # type: ignore[misc]  # untyped
    """Waits for a publication."""

    def onOpen(self) -> None:
        """Connect and subscribe in one message."""
        self.sendMessage(
            b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}'
        )

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Look for the push."""
        for line in payload.splitlines():
            message = json.loads(line)
            if "push" in message and not self.factory.heard.called:
                self.factory.heard.callback(message["push"])


class Example(ProcessProtocol):
    """The running example."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def processEnded(self, reason: object) -> None:
        """Say that it is over."""
        self.ended.callback(None)


class EmbeddingTests(TestCase):
    """A node runs in another application."""

    timeout = 120

    async def test_example(self) -> None:
        """A subscriber of the example receives its publications."""
        example = Example()
        command = [sys.executable, str(EXAMPLE)]
        process = reactor.spawnProcess(  # type: ignore[attr-defined]
            example, sys.executable, command, env=None
        )
        factory = WebSocketClientFactory("ws://127.0.0.1:8080/connection")
        factory.protocol = Subscriber
        factory.heard = Deferred()
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", 8080)
        try:
            for _ in range(100):
                try:
                    protocol = await endpoint.connect(factory)
                    break
                except Exception:
                    await deferLater(reactor, 0.1)
            push = await factory.heard
            self.assertEqual(push["pub"]["data"], {"text": "hello"})
            protocol.dropConnection(abort=True)
            await protocol.is_closed
        finally:
            process.signalProcess("KILL")
            await example.ended
