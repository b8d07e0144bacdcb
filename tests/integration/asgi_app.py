"""An ASGI application with a node that has the policy of a configuration file.

The environment variable ``CONFIG`` names the file.
"""

import os
from typing import Any

from centrifugo_tx import AsyncNode, Engine, Policy, memory_engine
from centrifugo_tx.asgi import Endpoints, Receive, Scope, Send
from centrifugo_tx.config.load import load
from centrifugo_tx.configured_node import node_options
from centrifugo_tx.configured_policy import access_policy

config: Any = load(os.environ["CONFIG"], {}).config


def engine(reactor: Any) -> Engine:
    """Return an engine, and give the node its policy, which needs the reactor."""
    policy: Any = access_policy(reactor, config)
    node.policy = policy
    return memory_engine(reactor)


async def healthy(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer everything else."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


node = AsyncNode(Policy(), engine, node_options(config))
app = Endpoints(
    node,
    allowed_origins=["http://localhost:*"],
    api_key=config.http_api.key,
    unidirectional=True,
    headers=["X-User"],
    message_size_limit=config.websocket.message_size_limit,
    others=healthy,
)
