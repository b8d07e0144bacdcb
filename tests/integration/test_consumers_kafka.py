"""Topics of Kafka, in a real broker."""

import json
import time
from typing import Any, ClassVar

from .consumer_case import ConsumerCase, blocks, lines_of, until
from .kafka_broker import PASSWORD, USER, KafkaBroker
from .server import Server


def command(channel: str, number: int) -> bytes:
    """Return a publication as a command."""
    payload = {"channel": channel, "data": number}
    return json.dumps({"method": "publish", "payload": payload}).encode()


class KafkaTests(ConsumerCase):
    """One broker, and nodes that share its topics."""

    broker: ClassVar[KafkaBroker]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.broker = KafkaBroker()
        cls.addClassCleanup(cls.broker.close)
        cls.broker.start()

    def setUp(self) -> None:
        self.topic = f"t{time.monotonic_ns()}"

    def kafka_node(self, **more: Any) -> Server:
        """Return a node that is not started."""
        options = {
            "brokers": [self.broker.address],
            "topics": [self.topic],
            "consumer_group": self.topic,
            **more,
        }
        return self.node({"type": "kafka", "kafka": options})

    def committed(self) -> int:
        """Return how many records are committed."""
        return sum(self.broker.committed(self.topic).values())

    def test_commands(self) -> None:
        """Partitions are in order; offsets are committed; bad records are skipped."""
        self.broker.create_topic(self.topic, 3)
        records = [(n % 3, command(f"c{n % 3}", n)) for n in range(300)]
        self.broker.produce(self.topic, *records, (0, b"{"), (1, command("no:c", 1)))
        node = self.kafka_node(partition_queue_max_size=50).start()
        until(lambda: self.committed() == 302, "all are committed")
        for number in range(3):
            expected = [*range(number, 300, 3)]
            self.assertEqual(self.published(node, f"c{number}"), expected)
        self.assertEqual(len(lines_of(node, "skip malformed consumed message")), 1)
        processed = self.counted(node, "consumers_messages_processed_total")
        self.assertEqual(processed, {'consumer_name="source"': 302.0})
        self.broker.produce(self.topic, (2, command("c2", 1000)))
        until(lambda: 1000 in self.published(node, "c2"), "it is there")
        self.assertEqual(node.stop(), 0)
        self.assertEqual(self.committed(), 303)
        self.broker.produce(self.topic, (2, command("c2", 1001)))
        node.start()
        until(lambda: self.published(node, "c2") == [1001], "it goes on from there")

    def test_publications(self) -> None:
        """A record may be the data, whose headers say where it goes."""
        self.broker.create_topic(self.topic, 1)
        node = self.kafka_node(publication_data_mode={"enabled": True}).start()
        headers = [
            ("centrifugo-channels", b"a,b"),
            ("centrifugo-tag-kind", b"k"),
            ("centrifugo-idempotency-key", b"1"),
        ]
        body = b'{"text":"Hello"}'
        self.broker.produce(self.topic, (0, body), (0, body), headers=headers)
        self.broker.produce(self.topic, (0, b"3"), headers=headers[:1])
        until(lambda: 3 in self.published(node, "b"), "the last is there")
        for channel in ("a", "b"):
            self.assertEqual(self.published(node, channel), [{"text": "Hello"}, 3])
        [first, _] = node.api("history", channel="a", limit=-1)["publications"]
        self.assertEqual(first["tags"], {"kind": "k"})

    def test_owners(self) -> None:
        """Nodes share the partitions; one that is killed is replaced."""
        self.broker.create_topic(self.topic, 2)
        nodes = [self.kafka_node().start() for _ in range(2)]

        def found(node: Server) -> set[int]:
            return {*self.published(node, "c0"), *self.published(node, "c1")}

        sent = 0
        while not all(map(found, nodes)):
            for partition in (0, 1):
                self.broker.produce(
                    self.topic, (partition, command(f"c{partition}", sent))
                )
                sent += 1
            until(
                lambda: len(set.union(*map(found, nodes))) == sent,  # noqa: B023
                "all have come",
            )
        nodes[0].kill()
        records = [(n % 2, command(f"c{n % 2}", n)) for n in range(1000, 1100)]
        self.broker.produce(self.topic, *records)
        until(lambda: found(nodes[1]) >= {*range(1000, 1100)}, "the other has all")
        for number in range(2):
            published = [n for n in self.published(nodes[1], f"c{number}") if n >= 1000]
            self.assert_in_order(published, [*range(1000 + number, 1100, 2)])

    def test_broker_killed(self) -> None:
        """After a crash of the broker nothing is lost or out of order."""
        self.broker.create_topic(self.topic, 1)
        node = self.kafka_node().start()
        self.broker.produce(self.topic, *[(0, command("c", n)) for n in range(100)])
        until(lambda: self.top(node, "c"), "some have come")
        self.broker.kill()
        until(lambda: lines_of(node, "consumer failed, trying again"), "it is away")
        self.broker.start()
        self.broker.produce(
            self.topic, *[(0, command("c", n)) for n in range(100, 200)]
        )
        until(lambda: 199 in self.published(node, "c"), "all have come")
        self.assert_in_order(self.published(node, "c"), [*range(200)])
        until(lambda: lines_of(node, "consumer works again"), "it is back")
        self.assertEqual(node.stop(), 0)
        self.assertEqual(self.committed(), 200)

    def test_login(self) -> None:
        """It logs in over TLS; a wrong password keeps the server from starting."""
        self.broker.create_topic(self.topic, 1)
        self.broker.add_scram_user()
        options = {
            "brokers": [self.broker.safe_address],
            "sasl_user": USER,
            "sasl_password": PASSWORD,
            "tls": {"enabled": True, "server_ca_pem": self.broker.authority.pem},
        }
        for number, mechanism in enumerate(("plain", "scram-sha-512")):
            node = self.kafka_node(sasl_mechanism=mechanism, **options).start()
            self.broker.produce(self.topic, (0, command("c", number)))
            until(lambda: self.published(node, "c") == [number], mechanism)  # noqa: B023
            node.stop()
        options["sasl_password"] = "another"
        said = self.kafka_node(sasl_mechanism="scram-sha-512", **options).refusal()
        [line] = [each for each in said.splitlines() if "cannot start" in each]
        self.assertIn("consumer 'source' cannot reach its source", line)
        self.assertNotIn("another", line)

    def test_page(self) -> None:
        """The example of the page on consumers."""
        [config] = blocks("Kafka", "json")
        [consumer] = json.loads(config)["consumers"]
        consumer["kafka"] |= {
            "brokers": [self.broker.address],
            "topics": [self.topic],
        }
        self.broker.create_topic(self.topic, 1)
        node = self.node(consumer).start()
        [send] = blocks("Kafka", "python")
        body = eval(send[send.index("b'") : send.index("}',") + 2])
        headers = eval(send[send.index("[(") : send.index(")]") + 2])
        self.broker.produce(self.topic, (0, body), headers=headers)
        until(
            lambda: self.published(node, "news") == [{"text": "Hello"}], "it is there"
        )
