"""Shared parts of the tests of the Redis engine."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from centrifugo_tx.engines import memory_engine
from centrifugo_tx.engines.redis.engine import redis_engine, redis_maps
from centrifugo_tx.engines.redis.map_broker import RedisMapBroker
from centrifugo_tx.engines.redis.options import (
    EngineRedisOptions,
    MapBrokerRedisOptions,
)
from centrifugo_tx.interfaces import Engine

from ..contracts.doubles import Mailbox, Receiver
from ..contracts.maps import MapReceiver
from .redis_servers import Server, shared, valkey

__all__ = ["RedisCase", "ShiftedReactor", "until"]

_numbers = count()

#: Shortens the life of all keys that begin with ARGV[1] by ARGV[2] milliseconds.
_AGE = """
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local left = redis.call('PTTL', key)
  if left > 0 then
    if left <= tonumber(ARGV[2]) then
      redis.call('DEL', key)
    else
      redis.call('PEXPIRE', key, left - tonumber(ARGV[2]))
      if redis.call('TYPE', key).ok == 'hash' and ARGV[3] == '1' then
        for _, field in ipairs(redis.call('HKEYS', key)) do
          local life = redis.call('HPTTL', key, 'FIELDS', '1', field)[1]
          if life > 0 and life <= tonumber(ARGV[2]) then
            redis.call('HDEL', key, field)
          elseif life > 0 then
            redis.call('HPEXPIRE', key, life - tonumber(ARGV[2]), 'FIELDS', '1', field)
          end
        end
      end
    end
  end
end
"""


@define(eq=False)
class ShiftedReactor:
    """The reactor, but with a clock that can be put forward, or stopped."""

    ahead: float = 0.0
    fixed: float = 0.0

    def seconds(self) -> float:
        """Return the time."""
        return self.fixed or float(self._reactor.seconds()) + self.ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    _reactor: Any = field(default=reactor, init=False)


class RedisCase(TestCase):
    """Makes engines on a server that the tests share, under a prefix of their own."""

    timeout = 120

    def setUp(self) -> None:
        """Take a new prefix."""
        self.server = self.make_server()
        self.prefix = f"t{next(_numbers)}"
        self.reactor = ShiftedReactor()

    def make_server(self) -> Server:
        """Return the server to use."""
        return shared(valkey())

    def options(self, **changes: Any) -> EngineRedisOptions:
        """Return options that lead to the server."""
        given = {"address": [self.server.address], "prefix": self.prefix, **changes}
        return EngineRedisOptions(**given)

    async def make_engine(
        self,
        receiver: Receiver | None = None,
        meta_ttl: float = 3600.0,
        mailbox: Mailbox | None = None,
        node: str = "n1",
        **changes: Any,
    ) -> Engine:
        """Return an engine that runs until the test ends."""
        clock: Any = self.reactor
        engine = redis_engine(clock, self.options(**changes), meta_ttl)
        engine.broker.listen(receiver or Receiver())
        if mailbox is not None:
            engine.controller.listen(mailbox, node)
        await engine.start()
        self.addCleanup(engine.stop)
        return engine

    async def make_maps(
        self, receiver: MapReceiver | None = None, **changes: Any
    ) -> RedisMapBroker:
        """Return a map broker that runs until the test ends."""
        clock: Any = self.reactor
        same = msgspec.structs.asdict(self.options(**changes))
        names = MapBrokerRedisOptions.__struct_fields__
        given = {name: same[name] for name in names if name in same}
        options = MapBrokerRedisOptions(**given)
        engine = redis_maps(clock, memory_engine(clock), options)
        assert isinstance(engine.maps, RedisMapBroker)
        engine.maps.listen(receiver or MapReceiver())
        await engine.start()
        self.addCleanup(engine.stop)
        return engine.maps

    async def pass_time(self, seconds: float) -> None:
        """Put the clock forward, and let what is stored grow older."""
        self.reactor.ahead += seconds
        milliseconds = str(int(seconds * 1000))
        for server in self.servers():
            server.call("EVAL", _AGE, 0, self.prefix, milliseconds, self.fields)

    def servers(self) -> Sequence[Server]:
        """Return the servers that hold what is stored."""
        return [self.server]

    #: "1" where fields of hashes can expire.
    fields = "0"


async def until(condition: Any, seconds: float = 60.0) -> None:
    """Wait until *condition* holds."""
    waited = 0.0
    while not condition():
        assert waited < seconds, "waited in vain"
        waited += 0.01
        pause: Deferred[None] = Deferred()
        reactor.callLater(0.01, pause.callback, None)
        await pause
