"""Several processes with FastAPI that share Redis: uvicorn fastapi_redis:app"""

import os
from typing import Any

from fastapi import FastAPI, HTTPException

from centrifugo_tx import (
    AsyncNode,
    BrokerUnavailable,
    Policy,
    SubscribeOptions,
    redis_engine,
)
from centrifugo_tx.asgi import Endpoints

REDIS = os.environ.get("REDIS", "redis://127.0.0.1:6379")


class Open(Policy):
    """Everybody may connect, and subscribe to any channel."""

    def subscribe(self, client, request):
        return SubscribeOptions()


node = AsyncNode(Open(), lambda reactor: redis_engine(REDIS, reactor=reactor))
app = FastAPI(lifespan=node.lifespan)


@app.post("/messages")
async def create_message(message: dict[str, Any]):
    """Send a message to the clients of all processes."""
    try:
        await node.publish("news", message)
    except BrokerUnavailable:
        raise HTTPException(503, "Redis is away") from None
    return {"published": True}


app.mount("/", Endpoints(node, allowed_origins=["http://localhost:8000"]))
