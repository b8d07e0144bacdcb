"""A node as a service of a Twisted application, and its engines."""

import json
from pathlib import Path

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx import (
    BrokerUnavailable,
    ConfigError,
    ConfiguredServer,
    Engine,
    Node,
    Policy,
    ReplyError,
    memory_engine,
    node_service,
    redis_engine,
    server_from_file,
)
from centrifugo_tx.engines.redis.options import EngineRedisOptions


class StoppableClock(Clock):
    """A reactor that can be stopped."""

    stopped = False

    def stop(self) -> None:
        """Note it."""
        self.stopped = True


class ServiceTests(SynchronousTestCase):
    """The life of the service is that of the node."""

    def setUp(self) -> None:
        self.clock = StoppableClock()
        self.starting: Deferred[None] = Deferred()
        self.ends = 0
        self.engine: Engine = evolve(
            memory_engine(self.clock), start=lambda: self.starting, stop=self.end
        )
        node = Node(self.engine, Policy(), self.clock)
        self.service = node_service(node, self.clock)

    def end(self) -> "Deferred[None]":
        """Count the stops of the engine."""
        self.ends += 1
        return succeed(None)

    def test_life(self) -> None:
        """It starts and stops the node."""
        self.service.startService()
        self.starting.callback(None)
        self.successResultOf(self.service.stopService())
        self.assertEqual((self.ends, self.clock.stopped), (1, False))

    def test_stopped_while_starting(self) -> None:
        """A stop waits for the start to end."""
        self.service.startService()
        stopping = self.service.stopService()
        self.assertNoResult(stopping)
        self.starting.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.ends, 1)

    def test_failed_start(self) -> None:
        """A node that cannot start is logged, and ends the process."""
        self.starting = fail(BrokerUnavailable("away"))
        self.service.startService()
        self.assertEqual(len(self.flushLoggedErrors(BrokerUnavailable)), 1)
        self.clock.advance(0)
        self.assertTrue(self.clock.stopped)
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.ends, 0)


class ServerTests(SynchronousTestCase):
    """The server of a configuration file."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.path = self.mktemp()

    def server(self, config: object) -> ConfiguredServer:
        """Return the server of a file with *config*."""
        Path(f"{self.path}.json").write_text(json.dumps(config))
        return server_from_file(f"{self.path}.json", self.reactor)

    def test_node(self) -> None:
        """Its node has the verbs, and the policy of the configuration."""
        namespace = {"name": "chat", "history_size": 10, "history_ttl": "60s"}
        server = self.server({"channel": {"namespaces": [namespace]}})
        server.startService()
        self.successResultOf(server.started)
        node = Node.of(server)
        result = self.successResultOf(node.publish("chat:a", {"n": 1}))
        self.assertEqual(result.offset, 1)
        refused = self.failureResultOf(node.publish("none:a", 1), ReplyError)
        self.assertEqual(refused.value.error.code, 102)
        self.assertEqual(node.policy.channel("chat:a").history_size, 10)
        self.assertEqual(node.num_clients, 0)
        stopped = server.stopService()
        self.reactor.advance(10)
        self.successResultOf(stopped)

    def test_mistake(self) -> None:
        """A wrong option is named."""
        with self.assertRaisesRegex(ConfigError, "history_ttl"):
            self.server({"channel": {"without_namespace": {"history_size": 10}}})


class EngineTests(SynchronousTestCase):
    """The engines of applications."""

    def test_redis(self) -> None:
        """An engine with Redis has maps; addresses may be part of the options."""
        clock = Clock()
        self.assertIsNotNone(redis_engine("redis://localhost:1", reactor=clock).maps)
        options = EngineRedisOptions(address=("redis://localhost:1",), prefix="app")
        self.assertIsNotNone(redis_engine(reactor=clock, options=options).broker)

    def test_malformed(self) -> None:
        """A malformed address is named."""
        with self.assertRaisesRegex(ConfigError, "ftp"):
            redis_engine("ftp://localhost", reactor=Clock())
