"""The Redis engine does what every engine must do, on real servers."""

from collections.abc import Sequence
from typing import Any

from centrifugo_tx.engines.redis.map_broker import RedisMapBroker
from centrifugo_tx.engines.redis.options import EngineRedisOptions
from centrifugo_tx.interfaces import (
    IBroker,
    IController,
    IPresenceManager,
    IReceiptStore,
)
from centrifugo_tx.options import MapChange
from centrifugo_tx.protocol.messages import Raw

from ..contracts.broker import BrokerContract, StreamContract
from ..contracts.controller import ControllerContract
from ..contracts.doubles import Mailbox, Receiver
from ..contracts.maps import FADING, MapContract, MapReceiver
from ..contracts.presence import PresenceContract
from ..contracts.receipts import ReceiptStoreContract
from .redis_case import RedisCase
from .redis_servers import Server, debian_redis, shared, valkey


class OnRedis(RedisCase):
    """The same on Debian's Redis."""

    def make_server(self) -> Server:
        """Return the server to use."""
        return shared(debian_redis())


class BrokerOnValkey(RedisCase, StreamContract):
    """The broker with streams on Valkey."""

    async def make_broker(self, receiver: Receiver, meta_ttl: float) -> IBroker:
        """Return a broker on the shared server."""
        engine = await self.make_engine(receiver, meta_ttl)
        return engine.broker


class BrokerOnRedis(OnRedis, BrokerOnValkey):
    """The broker with streams on Redis."""


class ListBrokerOnValkey(RedisCase, BrokerContract):
    """The broker with lists on Valkey."""

    async def make_broker(self, receiver: Receiver, meta_ttl: float) -> IBroker:
        """Return a broker on the shared server."""
        engine = await self.make_engine(receiver, meta_ttl, history_use_lists=True)
        return engine.broker


class ReceiptStoreOnValkey(RedisCase, ReceiptStoreContract):
    """The receipt store on Valkey."""

    async def make_store(self) -> IReceiptStore:
        """Return a store on the shared server."""
        engine = await self.make_engine()
        assert engine.receipts is not None
        return engine.receipts


class ReceiptStoreOnRedis(OnRedis, ReceiptStoreOnValkey):
    """The receipt store on Redis."""


class PresenceOnValkey(RedisCase, PresenceContract):
    """The presence manager on Valkey."""

    mapping = False
    field_ttl = False

    async def make_presence(self, ttl: float) -> IPresenceManager:
        """Return a manager on the shared server."""
        engine = await self.make_engine(
            presence_ttl=ttl,
            presence_user_mapping=self.mapping,
            presence_hash_field_ttl=self.field_ttl,
        )
        return engine.presence


class PresenceOnRedis(OnRedis, PresenceOnValkey):
    """The presence manager on Redis."""


class CountingPresenceOnValkey(PresenceOnValkey):
    """The presence manager, with Redis counting the users."""

    mapping = True


class FieldPresenceOnValkey(PresenceOnValkey):
    """The presence manager, with fields that expire."""

    field_ttl = True
    fields = "1"


class CountingFieldPresenceOnValkey(FieldPresenceOnValkey):
    """The presence manager, with both."""

    mapping = True


class ControllerOnValkey(RedisCase, ControllerContract):
    """The controller on Valkey."""

    async def make_controller(self, mailbox: Mailbox, node: str) -> IController:
        """Return a controller on the shared server."""
        engine = await self.make_engine(mailbox=mailbox, node=node)
        return engine.controller


class MapsOnValkey(RedisCase, MapContract):
    """The map broker on Valkey."""

    broker: RedisMapBroker

    async def make_broker(self, receiver: MapReceiver) -> RedisMapBroker:
        """Return a broker on the shared server."""
        return await self.make_maps(receiver)

    async def pass_time(self, seconds: float) -> None:
        """Let what is stored grow older, and keys expire."""
        await super().pass_time(seconds)
        expiry = self.broker.expiry
        assert expiry is not None
        await expiry.search()


class MapsOnRedis(OnRedis, MapsOnValkey):
    """The map broker on Redis."""


class ShardedMapsOnValkey(MapsOnValkey):
    """The map broker on two servers that share the channels."""

    def servers(self) -> Sequence[Server]:
        """Return both."""
        return [self.server, shared(valkey(), ("maxmemory", "100mb"))]

    def options(self, **changes: Any) -> EngineRedisOptions:
        """Return options that lead to both."""
        addresses = [each.address for each in self.servers()]
        return super().options(**{"address": addresses, **changes})

    async def test_spread(self) -> None:
        """Every map is on the server where other nodes look for it."""
        await self.begin()
        change = MapChange(FADING)
        for channel in ("a", "chat:index"):
            await self.broker.subscribe(channel)
            await self.broker.publish(channel, "k", Raw(b"1"), change)
        await self.delivered(2)
        for number, channel in enumerate(("chat:index", "a")):
            for index, server in enumerate(self.servers()):
                name = f"{self.prefix}:state:{channel}"
                self.assertEqual(server.call("HLEN", name), int(index == number))
        await self.pass_time(12)
        await self.delivered(4)
