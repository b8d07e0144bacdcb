"""Nodes of several processes that share Redis: run it twice, with different ports."""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, react
from twisted.web.resource import Resource
from twisted.web.server import Site

from centrifugo_tx import (
    BrokerUnavailable,
    ChannelOptions,
    Node,
    Policy,
    SubscribeOptions,
    redis_engine,
)
from centrifugo_tx.transports import websocket_resource


class Recoverable(Policy):
    """Every channel keeps its last 100 messages; clients recover what they miss."""

    def channel(self, name):
        return ChannelOptions(history_size=100, history_ttl=300)

    def subscribe(self, client, request):
        return SubscribeOptions(recoverable=True, positioned=True)


async def main(reactor, port="8080", redis="redis://127.0.0.1:6379"):
    """Serve until the process is stopped; start only if Redis answers."""
    node = Node(redis_engine(redis, reactor=reactor), Recoverable(), reactor)
    try:
        await node.start()
    except BrokerUnavailable as error:
        raise SystemExit(f"Redis is away: {error}") from None
    reactor.addSystemEventTrigger("before", "shutdown", node.stop)

    root = Resource()
    origins = [f"http://localhost:{port}"]
    root.putChild(b"connection", websocket_resource(node, origins))
    reactor.listenTCP(int(port), Site(root), interface="127.0.0.1")

    LoopingCall(publish, node, port).start(1)
    await Deferred()


async def publish(node, port):
    """Publish, unless Redis is away for the moment."""
    try:
        await node.publish("news", {"text": f"hello from port {port}"})
    except BrokerUnavailable as error:
        print("not published:", error)


if __name__ == "__main__":
    react(lambda *args: Deferred.fromCoroutine(main(*args)), sys.argv[1:])
