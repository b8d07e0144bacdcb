"""The outbox in a real PostgreSQL: order, poison, crashes, owners of partitions."""

import json
from itertools import count
from typing import Any

from .consumer_case import ConsumerCase, lines_of, until
from .postgres import PostgreSQL, shared_postgresql
from .redis_servers import shared, valkey
from .server import Server

_numbers = count()

#: Messages into as many channels as there are partitions, each in its own.
_FILL = """
INSERT INTO {table} (method, payload, partition)
SELECT 'publish', jsonb_build_object('channel', 'c' || n % {partitions}, 'data', n),
       n % {partitions}
FROM generate_series(0, {last}) n
"""


class OutboxCase(ConsumerCase):
    """Has a table of its own."""

    def setUp(self) -> None:
        self.postgresql = self.database()
        self.table = self.postgresql.outbox(f"outbox_{next(_numbers)}")

    def database(self) -> PostgreSQL:
        """Return the server to use."""
        return shared_postgresql()

    def outbox_node(self, engine: dict[str, Any] | None = None, **more: Any) -> Server:
        """Return a node that is not started."""
        options = {
            "dsn": self.postgresql.dsn,
            "outbox_table_name": self.table,
            "partition_poll_interval": "20ms",
            **more,
        }
        rest = {} if engine is None else {"engine": engine}
        return self.node({"type": "postgresql", "postgresql": options}, **rest)

    def fill(self, rows: int, partitions: int) -> None:
        """Insert messages with the data 0, 1, 2, ..."""
        statement = _FILL.format(table=self.table, partitions=partitions, last=rows - 1)
        self.postgresql.execute(statement)

    def insert(self, method: str, payload: Any, partition: int = 0) -> None:
        """Insert one message."""
        text = json.dumps(payload).replace("'", "''")
        self.postgresql.execute(
            f"INSERT INTO {self.table} (method, payload, partition)"
            f" VALUES ('{method}', '{text}', {partition})"
        )

    def left(self) -> int:
        """Return how many rows are in the table."""
        [(rows,)] = self.postgresql.execute(f"SELECT count(*) FROM {self.table}")
        return int(rows)

    def until_empty(self) -> None:
        """Wait until all rows are worked off."""
        until(lambda: self.left() == 0, "all rows are worked off")

    def assert_all_in_order(self, node: Server, rows: int, partitions: int) -> int:
        """Fail unless all came, in order per partition; return how many came again."""
        return sum(
            self.assert_in_order(
                self.published(node, f"c{partition}"),
                [*range(partition, rows, partitions)],
            )
            for partition in range(partitions)
        )


class OutboxTests(OutboxCase):
    """One node."""

    def test_order(self) -> None:
        """Rows are published in order, once, and deleted."""
        node = self.outbox_node(num_partitions=3).start()
        self.fill(1000, 3)
        self.until_empty()
        self.assertEqual(self.assert_all_in_order(node, 1000, 3), 0)
        self.assertEqual(
            self.counted(node, "consumers_messages_processed_total"),
            {'consumer_name="source"': 1000.0},
        )

    def test_notified(self) -> None:
        """A notification brings a row long before the next poll."""
        node = self.outbox_node(
            num_partitions=2,
            partition_poll_interval="1h",
            partition_notification_channel="News of the outbox",
        ).start()
        listens = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN %'"
        until(lambda: self.postgresql.execute(listens), "the node listens")
        for number in range(3):
            self.insert("publish", {"channel": "c1", "data": number}, 1)
            self.postgresql.execute(
                "SELECT pg_notify('News of the outbox', '1')",
            )
            until(lambda: self.left() == 0, "the row is worked off")
        for payload in ("7", "-1", "x"):
            self.postgresql.execute(f"NOTIFY \"News of the outbox\", '{payload}'")
        message = "outbox notification names no partition"
        until(lambda: len(lines_of(node, message)) == 3, "they are logged")
        self.assertEqual(self.published(node, "c1"), [0, 1, 2])

    def test_poison(self) -> None:
        """A command that can never succeed is logged, counted and skipped."""
        node = self.outbox_node().start()
        self.insert("publish", {"channel": 1})
        self.insert("fly", {})
        self.insert("publish", {"channel": "unknown:c", "data": 1})
        self.insert("", {"method": "publish", "payload": [1]})
        self.insert("", [])
        text = json.dumps({"channel": "c", "data": "in a string"})
        self.insert("", {"method": "publish", "payload": text})
        self.insert("publish", {"channel": "c", "data": "last"})
        self.until_empty()
        self.assertEqual(self.published(node, "c"), ["in a string", "last"])
        errors = self.counted(node, "api_command_errors_total")
        self.assertEqual(
            errors,
            {
                f'error="{error}",method="{method}",protocol="consuming"': number
                for error, method, number in (
                    ("unmarshal", "publish", 2),
                    ("unmarshal", "unknown", 1),
                    ("104", "unknown", 1),
                    ("102", "publish", 1),
                )
            },
        )
        malformed = lines_of(node, "skip malformed consumed message")
        self.assertEqual(len(malformed), 3, node.log())
        self.assertEqual(len(lines_of(node, "skip unsupported API command method")), 1)
        [refused] = lines_of(node, "non retryable error during consuming, skip message")
        for part in ('"consumer": "source"', '"method": "publish"', "102"):
            self.assertIn(part, refused)

    def test_no_table(self) -> None:
        """A table that comes later is worked off then; the log says it once."""
        table, self.table = self.table, f"late_{next(_numbers)}"
        node = self.outbox_node(num_partitions=2).start()
        failed = "consumer failed, trying again"
        errors = "consumers_errors_total"
        until(
            lambda: self.counted(node, errors)['consumer_name="source"'] > 3,
            "it has tried some times",
        )
        self.postgresql.execute(f"ALTER TABLE {table} RENAME TO {self.table}")
        self.fill(10, 2)
        self.until_empty()
        self.assertEqual(self.assert_all_in_order(node, 10, 2), 0)
        [line] = lines_of(node, failed)
        self.assertIn(f'relation \\"{self.table}\\" does not exist', line)
        until(lambda: lines_of(node, "consumer works again"), "it says so")

    def test_stop(self) -> None:
        """A stop under load is quick, loses nothing, and publishes nothing twice."""
        redis = {
            "type": "redis",
            "redis": {"address": shared(valkey()).address, "prefix": self.table},
        }
        node = self.outbox_node(redis, num_partitions=2, partition_select_limit=10)
        self.fill(6000, 2)
        node.start()
        until(lambda: self.top(node, "c0") > 50, "it works")
        self.assertEqual(node.stop(), 0)
        self.assertGreater(self.left(), 0)
        node.start()
        self.until_empty()
        self.assertEqual(self.assert_all_in_order(node, 6000, 2), 0)

    def test_unreachable(self) -> None:
        """A database that is away keeps the server from starting, in one line."""
        node = self.node(
            {
                "type": "postgresql",
                "postgresql": {
                    "dsn": "postgresql://u:secret@127.0.0.1:1/x",
                    "outbox_table_name": "outbox",
                },
            }
        )
        said = node.refusal()
        [line] = [each for each in said.splitlines() if "cannot start" in each]
        self.assertIn("consumer 'source' cannot reach its source", line)
        self.assertIn("port 1 failed: Connection refused", line)
        self.assertNotIn("secret", said)
        self.assertNotIn("Traceback", said)

    def test_pool_parameters(self) -> None:
        """A DSN for the reference's driver is taken."""
        node = self.outbox_node(
            dsn=f"{self.postgresql.dsn}?pool_max_conns=4"
            "&default_query_exec_mode=simple_protocol"
        ).start()
        self.fill(300, 1)
        self.until_empty()
        self.assertEqual(self.assert_all_in_order(node, 300, 1), 0)


class CrashTests(OutboxCase):
    """PostgreSQL ends as by a power cut, under load."""

    def database(self) -> PostgreSQL:
        server = PostgreSQL().start()
        self.addCleanup(server.stop)
        return server

    def test_killed(self) -> None:
        """Nothing is lost, nothing out of order, and the log tells of it once."""
        node = self.outbox_node(
            num_partitions=4,
            partition_select_limit=10,
            partition_notification_channel="outbox",
        )
        self.fill(4000, 4)
        node.start()
        until(lambda: self.top(node, "c0") > 100, "it works")
        self.postgresql.kill()
        failed = "consumer failed, trying again"
        until(lambda: lines_of(node, failed), "the log tells of it")
        self.postgresql.start()
        self.assertGreater(self.left(), 0)
        self.until_empty()
        self.assert_all_in_order(node, 4000, 4)
        until(lambda: lines_of(node, "consumer works again"), "and of its end")
        reasons = {json.loads(line)["error"] for line in lines_of(node, failed)}
        self.assertEqual(len(reasons), len(lines_of(node, failed)), node.log())
        self.assertLess(len(reasons), 6)


class TwoNodes(OutboxCase):
    """Two nodes share the partitions, and one of them is killed."""

    try_lock = False

    def test_owner_killed(self) -> None:
        """The other takes its partitions over; nothing is lost or out of order."""
        redis = {
            "type": "redis",
            "redis": {"address": shared(valkey()).address, "prefix": self.table},
        }
        options = {
            "num_partitions": 4,
            "partition_select_limit": 10,
            "use_try_lock": self.try_lock,
        }
        nodes = [self.outbox_node(redis, **options).start() for _ in range(2)]
        self.fill(4000, 4)
        processed = "consumers_messages_processed_total"
        for node in nodes:
            until(
                lambda node=node: self.counted(node, processed)[  # type: ignore[misc]
                    'consumer_name="source"'
                ],
                "both have work",
            )
        nodes[0].kill()
        self.assertGreater(self.left(), 0)
        self.until_empty()
        again = self.assert_all_in_order(nodes[1], 4000, 4)
        # At most the batches under way.
        self.assertLessEqual(again, 4 * 10)


class TwoNodesTryLock(TwoNodes):
    """Likewise, and neither waits for a lock."""

    try_lock = True
