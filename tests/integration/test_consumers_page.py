"""The unchanged examples of the page on consumers."""

import json
import shlex
from typing import Any

from .consumer_case import ConsumerCase, blocks, until
from .postgres import shared_postgresql
from .redis_servers import shared, valkey
from .server import Server


class PageTests(ConsumerCase):
    """Each example publishes as described."""

    def configured(self, block: str, **source: Any) -> Server:
        """Return a node with the consumer of an example and *source* in its options."""
        [consumer] = json.loads(block)["consumers"]
        consumer[consumer["type"]].update(source)
        return self.node(consumer).start()

    def assert_published(self, node: Server) -> None:
        """Fail unless the greeting comes."""
        until(
            lambda: self.published(node, "news") == [{"text": "Hello"}], "it is there"
        )

    def test_postgresql(self) -> None:
        """The outbox."""
        database = shared_postgresql()
        table, insert = blocks("PostgreSQL outbox", "sql")
        [config] = blocks("PostgreSQL outbox", "json")
        database.execute(*table.strip().rstrip(";").split(";\n"))
        node = self.configured(config, dsn=database.dsn)
        database.execute(insert)
        self.assert_published(node)

    def test_redis_streams(self) -> None:
        """Streams, with commands and with publications."""
        server = shared(valkey())
        configs = blocks("Redis Streams", "json")
        commands = blocks("Redis Streams", "console")
        self.assertEqual((len(configs), len(commands)), (2, 2))
        for config, command in zip(configs, commands, strict=True):
            node = self.configured(config, address=[server.address])
            server.call(*shlex.split(command.strip().removeprefix("> ")))
            self.assert_published(node)
