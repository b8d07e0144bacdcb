"""A node inside FastAPI: uvicorn fastapi_app:app"""

import os
from typing import Any

from fastapi import FastAPI

from centrifugo_tx import AsyncNode, ChannelOptions, Policy, SubscribeOptions
from centrifugo_tx.asgi import Endpoints


class Open(Policy):
    """Everybody may connect, and subscribe to any channel."""

    def channel(self, name):
        return ChannelOptions(history_size=100, history_ttl=300)

    async def subscribe(self, client, request):
        return SubscribeOptions(recoverable=True, positioned=True)


node = AsyncNode(Open())
app = FastAPI(lifespan=node.lifespan)


@app.post("/messages")
async def create_message(message: dict[str, Any]):
    """Send a message to everybody in the channel "news"."""
    result = await node.publish("news", message)
    return {"offset": result.offset}


@app.get("/messages")
async def list_messages():
    """Return the last messages, newest first."""
    history = await node.history("news", limit=10, reverse=True)
    return [publication.data for publication in history.publications]


origins = os.environ.get("ORIGINS", "http://localhost:8000").split()
app.mount("/", Endpoints(node, allowed_origins=origins))
