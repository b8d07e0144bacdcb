"""Print what is published into the channel "news"."""

import asyncio
import sys

from centrifuge import Client, SubscriptionEventHandler


class Printer(SubscriptionEventHandler):
    """Prints publications."""

    async def on_publication(self, context):
        """Print one."""
        print(context.pub.data, flush=True)


async def main(address: str) -> None:
    """Listen for ever."""
    client = Client(address)
    await client.connect()
    subscription = client.new_subscription("news", Printer())
    await subscription.subscribe()
    await subscription.ready()
    print("listening", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:] or ["ws://localhost:8000/connection/websocket"]))
