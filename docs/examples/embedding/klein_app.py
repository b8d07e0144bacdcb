"""A node inside a Klein application; pages of port 8080 may connect to it."""

import json
import sys

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.web.server import Site

from centrifugo_tx import Node, Policy, SubscribeOptions, memory_engine
from centrifugo_tx.transports import websocket_resource


class Open(Policy):
    """Everybody may connect, and subscribe to any channel."""

    def subscribe(self, client, request):
        return SubscribeOptions()


class Application:
    """Views that use the node."""

    views = Klein()

    def __init__(self, node, origin):
        self.node = node
        self.socket = websocket_resource(node, [origin])

    @views.route("/connection")
    def connect(self, request):
        """Serve WebSockets."""
        return self.socket

    @views.route("/messages", methods=["POST"])
    async def create_message(self, request):
        """Send a message to everybody in the channel "news"."""
        await self.node.publish("news", json.load(request.content))
        return b"published\n"


async def main(reactor, port="8080"):
    """Serve until the process is stopped."""
    node = Node(memory_engine(reactor), Open(), reactor)
    await node.start()
    reactor.addSystemEventTrigger("before", "shutdown", node.stop)
    application = Application(node, f"http://localhost:{port}")
    site = Site(application.views.resource())
    reactor.listenTCP(int(port), site, interface="127.0.0.1")
    await Deferred()


if __name__ == "__main__":
    react(lambda *args: Deferred.fromCoroutine(main(*args)), sys.argv[1:])
