"""Streams of a real Valkey: entries, publications, crashes, owners of entries."""

import json
from itertools import count
from typing import Any

from .consumer_case import ConsumerCase, lines_of, until
from .ports import free_port
from .redis_servers import Server as Valkey
from .redis_servers import shared, valkey
from .server import Server

_numbers = count()


class StreamCase(ConsumerCase):
    """Has a stream of its own."""

    def setUp(self) -> None:
        self.valkey = self.database()
        self.stream = f"stream_{next(_numbers)}"

    def database(self) -> Valkey:
        """Return the server to use."""
        return shared(valkey())

    def stream_node(self, engine: bool = False, **more: Any) -> Server:
        """Return a node that is not started.

        :param engine: whether its channels are on the same server, too.
        """
        options = {
            "address": self.valkey.address,
            "streams": [self.stream],
            "consumer_group": "group",
            **more,
        }
        rest: dict[str, Any] = {}
        if engine:
            redis = {"address": self.valkey.address, "prefix": self.stream}
            rest["engine"] = {"type": "redis", "redis": redis}
        return self.node({"type": "redis_stream", "redis_stream": options}, **rest)

    def add(self, **fields: str) -> None:
        """Add an entry."""
        flat = [part for pair in fields.items() for part in pair]
        self.valkey.call("XADD", self.stream, "*", *flat)

    def publish(self, data: Any, channel: str = "c") -> None:
        """Add an entry that publishes."""
        payload = json.dumps({"channel": channel, "data": data})
        self.add(method="publish", payload=payload)

    def pending(self) -> int:
        """Return how many entries are read and not acknowledged."""
        return int(self.valkey.call("XPENDING", self.stream, "group")[0])

    def read(self) -> int:
        """Return how many entries were read, or skipped."""
        [group] = self.valkey.call("XINFO", "GROUPS", self.stream)
        found = dict(zip(group[::2], group[1::2], strict=True))
        return int(found[b"entries-read"] or 0)

    def until_done(self, entries: int) -> None:
        """Wait until so many entries are read and acknowledged."""
        until(
            lambda: self.read() >= entries and not self.pending(),
            "all entries are acknowledged",
        )


class StreamTests(StreamCase):
    """One node."""

    def test_commands(self) -> None:
        """Commands run in order, with their method beside or inside."""
        node = self.stream_node().start()
        for number in range(200):
            if number % 2:
                self.publish(number)
            else:
                request = {"channel": "c", "data": number}
                self.add(payload=json.dumps({"method": "publish", "payload": request}))
        self.until_done(200)
        self.assertEqual(self.published(node, "c"), [*range(200)])
        self.assertEqual(
            self.counted(node, "consumers_messages_processed_total"),
            {'consumer_name="source"': 200.0},
        )

    def test_poison(self) -> None:
        """A command that can never succeed is logged and acknowledged."""
        node = self.stream_node().start()
        self.add(other="field")
        self.add(payload="{")
        self.add(method="publish", payload='{"channel": "unknown:c", "data": 1}')
        self.publish("last")
        self.until_done(4)
        self.assertEqual(self.published(node, "c"), ["last"])
        for message in (
            "payload value not found in redis stream message",
            "skip malformed consumed message",
            "non retryable error during consuming, skip message",
        ):
            self.assertEqual(len(lines_of(node, message)), 1, message)

    def test_publications(self) -> None:
        """In publication data mode, fields say where the payload goes."""
        node = self.stream_node(
            publication_data_mode={"enabled": True, "tags_value_prefix": "t-"}
        ).start()
        for _ in range(2):
            self.add(
                **{
                    "payload": '{"x": 1}',
                    "centrifugo-channels": "a,b",
                    "centrifugo-idempotency-key": "once",
                    "t-color": "red",
                }
            )
        self.add(payload="1")
        self.until_done(3)
        for channel in ("a", "b"):
            [each] = node.api("history", channel=channel, limit=-1)["publications"]
            self.assertEqual(each["data"], {"x": 1})
            self.assertEqual(each["tags"], {"color": "red"})
        self.assertEqual(len(lines_of(node, "no channels found, skipping message")), 1)

    def test_group_gone(self) -> None:
        """A destroyed group is created again."""
        node = self.stream_node().start()
        self.publish(1)
        self.until_done(1)
        self.valkey.call("XGROUP", "DESTROY", self.stream, "group")
        until(
            lambda: self.valkey.call("XINFO", "GROUPS", self.stream),
            "there is a group again",
        )
        self.publish(2)
        until(lambda: self.published(node, "c") == [1, 2], "it goes on")

    def test_stop(self) -> None:
        """A stop under load is quick, and leaves nothing half done."""
        node = self.stream_node(engine=True, num_workers=4)
        node.start()
        for number in range(1000):
            self.publish(number)
            if number == 300:
                self.assertEqual(node.stop(), 0)
                self.assertLessEqual(self.pending(), 4)
        node.start()
        until(lambda: self.read() == 1000, "all are read")
        published = self.published(node, "c")
        self.assertEqual(len(published), len(set(published)))

    def test_unreachable(self) -> None:
        """A Redis that is away keeps the server from starting, in one line."""
        node = self.stream_node(address=f"127.0.0.1:{free_port()}")
        said = node.refusal()
        [line] = [each for each in said.splitlines() if "cannot start" in each]
        self.assertIn("consumer 'source' cannot reach its source", line)
        self.assertNotIn("Traceback", said)


class CrashTests(StreamCase):
    """Valkey ends as by a power cut, under load."""

    def database(self) -> Valkey:
        server = Valkey(valkey(), {"appendonly": "yes", "appendfsync": "always"})
        self.addCleanup(server.stop)
        return server.start()

    def test_killed(self) -> None:
        """Nothing is lost, and the log tells of it once."""
        node = self.stream_node(visibility_timeout="1s").start()
        for number in range(400):
            self.publish(number)
            if number == 150:
                self.valkey.kill()
                until(lambda: "lost the connection" in node.log(), "it is noticed")
                self.valkey.start()
        self.until_done(400)
        published = self.published(node, "c")
        self.assertEqual(set(published), set(range(400)))
        self.assertLess(len(lines_of(node, "consumer failed, trying again")), 4)


class TwoNodes(StreamCase):
    """Two nodes share the entries, and one of them is killed."""

    def test_owner_killed(self) -> None:
        """The other node takes over its unacknowledged entries."""
        # As a node that was killed between reading and acknowledging leaves it.
        group = ("XGROUP", "CREATE", self.stream, "group", "$", "MKSTREAM")
        self.valkey.call(*group)
        self.publish("left behind")
        self.valkey.call(
            *("XREADGROUP", "GROUP", "group", "killed", "COUNT", "1"),
            *("STREAMS", self.stream, ">"),
        )
        self.assertEqual(self.pending(), 1)
        nodes = [
            self.stream_node(True, num_workers=4, visibility_timeout="1s").start()
            for _ in range(2)
        ]
        for number in range(500):
            self.publish(number)
            if number == 200:
                nodes[0].kill()
        self.until_done(501)
        published = self.published(nodes[1], "c")
        self.assertEqual(set(published), {*range(500), "left behind"})
