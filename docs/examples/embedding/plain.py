"""A node inside a Twisted Web application; pages of port 8080 may connect to it."""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, react
from twisted.web.resource import Resource
from twisted.web.server import Site

from centrifugo_tx import Node, Policy, SubscribeOptions, memory_engine
from centrifugo_tx.transports import websocket_resource


class Open(Policy):
    """Everybody may connect, and subscribe to any channel."""

    def subscribe(self, client, request):
        return SubscribeOptions()


async def main(reactor, port="8080"):
    """Serve until the process is stopped, and publish once a second."""
    node = Node(memory_engine(reactor), Open(), reactor)
    await node.start()
    reactor.addSystemEventTrigger("before", "shutdown", node.stop)

    root = Resource()
    origins = [f"http://localhost:{port}"]
    root.putChild(b"connection", websocket_resource(node, origins))
    reactor.listenTCP(int(port), Site(root), interface="127.0.0.1")

    LoopingCall(node.publish, "news", {"text": "hello"}).start(1)
    await Deferred()  # react stops the reactor at SIGINT and SIGTERM


if __name__ == "__main__":
    react(lambda *args: Deferred.fromCoroutine(main(*args)), sys.argv[1:])
