"""A node inside a Twisted Web application: run it, and connect to port 8080."""

from twisted.internet import reactor
from twisted.internet.defer import succeed
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Site

from centrifugo_tx import Node, Policy, SubscribeOptions, memory_engine
from centrifugo_tx.transports import websocket_resource

log = Logger()


class MyPolicy(Policy):
    """Everybody may connect, and subscribe to anything."""

    def subscribe(self, client, request):
        return succeed(SubscribeOptions())


root = Resource()
node = Node(memory_engine(reactor), MyPolicy(), reactor)
root.putChild(b"connection", websocket_resource(node))
reactor.listenTCP(8080, Site(root), interface="127.0.0.1")
node.start()


def greet():
    """Publish once a second."""
    data = b'{"text": "hello"}'
    node.publish("news", data).addErrback(log.failure, "not published")
    reactor.callLater(1, greet)


greet()
reactor.run()
