"""A node that knows the users of its application."""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import Site

from centrifugo_tx import (
    Admission,
    Disconnect,
    DisconnectClient,
    Error,
    Node,
    Policy,
    PublishOptions,
    ReplyError,
    SubscribeOptions,
    from_json,
    memory_engine,
    to_json,
)
from centrifugo_tx.transports import websocket_resource

#: Who has logged in, by the secret of the session.  A real one is in a database.
SESSIONS = {"secret-of-ann": "ann", "secret-of-bob": "bob"}

#: Codes from 3500 to 3999 and from 4500 to 4999 keep a client from coming back.
NOT_LOGGED_IN = Disconnect(4501, "not logged in")
NOT_YOURS = Error(1001, "this room is somebody else's")


class Rooms(Policy):
    """A user's room is ``room:NAME``; others may read it, and only they write."""

    async def connect(self, client, request):
        """Find the session, whose secret the page gave as its token."""
        user = await find_user(request.token)
        if user is None:
            raise DisconnectClient(NOT_LOGGED_IN)
        return Admission(user=user, info=to_json({"name": user.title()}))

    def subscribe(self, client, request):
        """Let everybody read; say who is there."""
        return SubscribeOptions(presence=True, join_leave=True)

    def publish(self, client, request):
        """Let the owner write."""
        if request.channel != f"room:{client.user}":
            raise ReplyError(NOT_YOURS)
        return PublishOptions(history_size=10, history_ttl=60, info=client.info)

    def rpc(self, client, request):
        """Answer a call of the page."""
        if request.method != "shout":
            return super().rpc(client, request)
        return to_json(from_json(request.data).upper())


async def find_user(secret):
    """Return the user id of a session, as a query of a database would."""
    return SESSIONS.get(secret)


async def main(reactor, port="8080"):
    """Serve until the process is stopped."""
    node = Node(memory_engine(reactor), Rooms(), reactor)
    await node.start()
    reactor.addSystemEventTrigger("before", "shutdown", node.stop)
    root = Resource()
    origins = [f"http://localhost:{port}"]
    root.putChild(b"connection", websocket_resource(node, origins))
    reactor.listenTCP(int(port), Site(root), interface="127.0.0.1")
    await Deferred()


if __name__ == "__main__":
    react(lambda *args: Deferred.fromCoroutine(main(*args)), sys.argv[1:])
