"""A node under twistd: twistd --nodaemon --python service.tac"""

import os

from twisted.application.internet import StreamServerEndpointService, TimerService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Site

from centrifugo_tx import (
    Node,
    Policy,
    SubscribeOptions,
    memory_engine,
    node_service,
)
from centrifugo_tx.transports import websocket_resource


class Open(Policy):
    """Everybody may connect, and subscribe to any channel."""

    def subscribe(self, client, request):
        return SubscribeOptions()


port = os.environ.get("PORT", "8080")
node = Node(memory_engine(reactor), Open(), reactor)
root = Resource()
root.putChild(b"connection", websocket_resource(node, [f"http://localhost:{port}"]))
endpoint = serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")

application = Application("rooms")
node_service(node).setServiceParent(application)
StreamServerEndpointService(endpoint, Site(root)).setServiceParent(application)
publish = TimerService(1, node.publish, "news", {"text": "hello"})
publish.setServiceParent(application)
