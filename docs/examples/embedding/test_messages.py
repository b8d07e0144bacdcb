"""Tests of a policy for asyncio: run them with pytest."""

import asyncio

from fastapi_app import Open

from centrifugo_tx import AsyncNode
from centrifugo_tx.testing import FakeClient


async def publish_and_read():
    """A client that has subscribed hears what is published."""
    node = AsyncNode(Open())
    async with node.lifespan():
        client = FakeClient(node)
        await client.ask(connect={})
        await client.ask(subscribe={"channel": "news"})
        await node.publish("news", {"text": "hello"})
        assert [each.data["text"] for each in client.publications("news")] == ["hello"]


def test_publish_and_read():
    """Each test has a node and a loop of its own."""
    asyncio.run(publish_and_read())
