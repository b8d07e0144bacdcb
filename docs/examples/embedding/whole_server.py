"""The server of a configuration file inside a Twisted application."""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, react

from centrifugo_tx import Node, server_from_file


async def main(reactor, path="config.json"):
    """Serve what the file says, and publish once a second."""
    server = server_from_file(path, reactor)
    server.startService()
    reactor.addSystemEventTrigger("before", "shutdown", server.stopService)
    await server.started

    node = Node.of(server)
    LoopingCall(node.publish, "news", {"text": "hello"}).start(1)
    await Deferred()


if __name__ == "__main__":
    react(lambda *args: Deferred.fromCoroutine(main(*args)), sys.argv[1:])
