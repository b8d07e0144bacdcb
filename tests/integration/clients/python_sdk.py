"""The official Python client, controlled by JSON lines.

An order on standard input is an object with ``do``; events are objects with ``event``
on standard output.  The JavaScript counterpart uses the same format. With the argument
``protobuf`` the clients use Protobuf, and payloads are JSON as bytes.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from centrifuge import (  # type: ignore[import-untyped]
    Client,
    ClientEventHandler,
    DeltaType,
    StreamPosition,
    SubscriptionEventHandler,
)
from centrifuge.exceptions import (  # type: ignore[import-untyped]
    CentrifugeError,
    ReplyError,
)
from centrifuge.filter import FilterNode  # type: ignore[import-untyped]

Order = dict[str, Any]

PROTOBUF = "protobuf" in sys.argv[1:]


def inward(payload: Any) -> Any:
    """Return the data of a payload that the client got."""
    if not PROTOBUF or payload is None:
        return payload
    return json.loads(payload) if payload else None


def outward(data: Any) -> Any:
    """Return the payload that the client shall send."""
    return json.dumps(data).encode() if PROTOBUF else data


def tell(event: str, **fields: Any) -> None:
    """Print an event."""
    print(json.dumps({"event": event, **fields}), flush=True)


def person(info: Any) -> dict[str, Any] | None:
    """Return a client's info."""
    return info and {
        "user": info.user,
        "client": info.client,
        "conn_info": inward(info.conn_info),
        "chan_info": inward(info.chan_info),
    }


def message(pub: Any) -> dict[str, Any]:
    """Return the reported fields of a publication."""
    return {
        "data": inward(pub.data),
        "offset": pub.offset,
        "tags": pub.tags or {},
        "info": person(pub.info),
    }


def subscription(ctx: Any) -> dict[str, Any]:
    """Return the reported fields of a new subscription."""
    position = ctx.stream_position
    return {
        "channel": ctx.channel,
        "recoverable": ctx.recoverable,
        "positioned": ctx.positioned,
        "was_recovering": ctx.was_recovering,
        "recovered": ctx.recovered,
        "data": inward(ctx.data),
        "position": position and {"offset": position.offset, "epoch": position.epoch},
    }


class Connection(ClientEventHandler):  # type: ignore[misc]  # untyped
    """Tells of one client."""

    def __init__(self, name: str) -> None:
        self.name, self._generation = name, Session.generation

    def _tell(self, event: str, **fields: Any) -> None:
        if self._generation == Session.generation:
            tell(event, client=self.name, **fields)

    async def on_connecting(self, ctx: Any) -> None:
        self._tell("connecting", code=ctx.code, reason=ctx.reason)

    async def on_connected(self, ctx: Any) -> None:
        at = time.monotonic()
        self._tell("connected", id=ctx.client, data=inward(ctx.data), at=at)

    async def on_disconnected(self, ctx: Any) -> None:
        self._tell("disconnected", code=ctx.code, reason=ctx.reason)

    async def on_error(self, ctx: Any) -> None:
        self._tell("error", code=ctx.code)

    async def on_subscribed(self, ctx: Any) -> None:
        self._tell("server_subscribed", **subscription(ctx))

    async def on_unsubscribed(self, ctx: Any) -> None:
        self._tell("server_unsubscribed", channel=ctx.channel)

    async def on_publication(self, ctx: Any) -> None:
        self._tell("server_publication", channel=ctx.channel, **message(ctx.pub))

    async def on_join(self, ctx: Any) -> None:
        self._tell("server_join", channel=ctx.channel, info=person(ctx.info))

    async def on_leave(self, ctx: Any) -> None:
        self._tell("server_leave", channel=ctx.channel, info=person(ctx.info))


class Subscriber(SubscriptionEventHandler):  # type: ignore[misc]  # untyped
    """Tells of one subscription."""

    def __init__(self, name: str, channel: str) -> None:
        self.name, self.channel = name, channel
        self._generation = Session.generation

    def _tell(self, event: str, **fields: Any) -> None:
        if self._generation == Session.generation:
            tell(event, client=self.name, **{"channel": self.channel, **fields})

    async def on_subscribing(self, ctx: Any) -> None:
        self._tell("subscribing", code=ctx.code, reason=ctx.reason)

    async def on_subscribed(self, ctx: Any) -> None:
        self._tell("subscribed", **subscription(ctx))

    async def on_unsubscribed(self, ctx: Any) -> None:
        self._tell("unsubscribed", code=ctx.code, reason=ctx.reason)

    async def on_publication(self, ctx: Any) -> None:
        self._tell("publication", **message(ctx.pub))

    async def on_join(self, ctx: Any) -> None:
        self._tell("join", info=person(ctx.info))

    async def on_leave(self, ctx: Any) -> None:
        self._tell("leave", info=person(ctx.info))

    async def on_error(self, ctx: Any) -> None:
        self._tell("subscription_error", code=ctx.code)


class Session:
    """The clients of one process, by the names that orders give them."""

    #: Counts the tests: events of clients of earlier tests are not reported.
    generation = 0

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def obey(self, order: Order) -> None:
        """Begin to carry out an order."""
        task = asyncio.create_task(self._carry_out(order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, order: Order) -> None:
        call: Callable[[Order], Awaitable[Any]] = getattr(self, order["do"])
        try:
            result = await call(order)
        except ReplyError as error:
            tell("answer", call=order["call"], error=error.code)
        except CentrifugeError as error:
            tell("answer", call=order["call"], error=str(error))
        else:
            tell("answer", call=order["call"], result=result)

    async def connect(self, order: Order) -> None:
        """Make a client, and connect it."""
        name = order["client"]
        shortest, longest = order.get("reconnect_delays", (0.05, 0.3))
        client = Client(
            order["url"],
            Connection(name),
            token=order.get("token", ""),
            get_token=self._tokens(order, "token", client=name),
            min_reconnect_delay=shortest,
            max_reconnect_delay=longest,
            proxy=None,
            use_protobuf=PROTOBUF,
        )
        self.clients[name] = client
        await client.connect()

    async def reset(self, order: Order) -> None:
        """Let go of all clients."""
        Session.generation += 1
        clients, self.clients = self.clients, {}
        for client in clients.values():
            await client.disconnect()

    async def disconnect(self, order: Order) -> None:
        """Disconnect a client."""
        await self.clients[order["client"]].disconnect()

    async def subscribe(self, order: Order) -> None:
        """Subscribe a client to a channel."""
        name, channel = order["client"], order["channel"]
        made = self.clients[name].new_subscription(
            channel,
            Subscriber(name, channel),
            token=order.get("token", ""),
            get_token=self._tokens(
                order, "subscription_token", client=name, channel=channel
            ),
            min_resubscribe_delay=0.05,
            max_resubscribe_delay=0.3,
            positioned=order.get("positioned", False),
            recoverable=order.get("recoverable", False),
            join_leave=order.get("join_leave", False),
            delta=DeltaType.FOSSIL if order.get("delta") else None,
            tags_filter=FilterNode(order["filter"]) if "filter" in order else None,
        )
        await made.subscribe()

    async def unsubscribe(self, order: Order) -> None:
        """End a subscription."""
        made = self.clients[order["client"]].get_subscription(order["channel"])
        assert made is not None
        await made.unsubscribe()

    @staticmethod
    def _tokens(order: Order, event: str, **fields: Any) -> Any:
        """Return what hands out the fresh tokens of an order, one after the other."""
        tokens = order.get("fresh_tokens")
        if tokens is None:
            return None

        async def fresh_token(*_: Any) -> str:
            tell(event, **fields)
            return str(tokens.pop(0))

        return fresh_token

    async def publish(self, order: Order) -> None:
        """Publish data into a channel."""
        client = self.clients[order["client"]]
        await client.publish(order["channel"], outward(order["data"]))

    async def history(self, order: Order) -> Any:
        """Return a part of a channel's history."""
        since = order.get("since")
        found = await self.clients[order["client"]].history(
            order["channel"],
            limit=order.get("limit", 0),
            since=since and StreamPosition(**since),
            reverse=order.get("reverse", False),
        )
        return {
            "publications": [message(each) for each in found.publications],
            "offset": found.offset,
            "epoch": found.epoch,
        }

    async def presence(self, order: Order) -> Any:
        """Return the clients in a channel."""
        found = await self.clients[order["client"]].presence(order["channel"])
        return {id: person(info) for id, info in found.clients.items()}

    async def presence_stats(self, order: Order) -> Any:
        """Return how many are in a channel."""
        found = await self.clients[order["client"]].presence_stats(order["channel"])
        return {"clients": found.num_clients, "users": found.num_users}

    async def rpc(self, order: Order) -> Any:
        """Call a procedure of the server."""
        client = self.clients[order["client"]]
        return inward((await client.rpc(order["method"], outward(order["data"]))).data)


async def main() -> None:
    """Obey until standard input ends."""
    session = Session()
    orders = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    while line := await orders.readline():
        session.obey(json.loads(line))
    for client in session.clients.values():
        await client.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
