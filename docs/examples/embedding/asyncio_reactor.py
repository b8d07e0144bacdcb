"""A node in a program that runs asyncio and Twisted on one loop."""

import asyncio
import sys

from twisted.internet import asyncioreactor

loop = asyncio.new_event_loop()
asyncioreactor.install(loop)

# Imported late, because Twisted's own modules may install another reactor.
from twisted.internet import reactor  # noqa: E402
from twisted.web.resource import Resource  # noqa: E402
from twisted.web.server import Site  # noqa: E402

from centrifugo_tx import AsyncNode, Policy, SubscribeOptions  # noqa: E402
from centrifugo_tx.transports import websocket_resource  # noqa: E402


class Open(Policy):
    """Everybody may connect, and subscribe to any channel."""

    async def subscribe(self, client, request):
        await asyncio.sleep(0.01)  # any library of asyncio
        return SubscribeOptions()


async def main(port="8080"):
    """Serve by Twisted Web, and publish from a task of asyncio."""
    node = AsyncNode(Open())
    await node.start()
    reactor.addSystemEventTrigger("before", "shutdown", node.node.stop)
    root = Resource()
    root.putChild(b"connection", websocket_resource(node, [f"http://localhost:{port}"]))
    reactor.listenTCP(int(port), Site(root), interface="127.0.0.1")
    while True:
        await node.publish("news", {"text": "hello"})
        await asyncio.sleep(1)


if __name__ == "__main__":
    task = loop.create_task(main(*sys.argv[1:]))
    task.add_done_callback(lambda failed: reactor.stop())
    reactor.run()
