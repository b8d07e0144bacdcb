"""Checks of consumers before the start."""

from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.check import problems
from centrifugo_tx.config.unsupported import refused

from .test_check import config_of


def found(type: str, enabled: bool = True, **options: Any) -> list[str]:
    """Return the problems of one consumer."""
    consumer = {"name": "cc", "enabled": enabled, "type": type, type: options}
    return problems(config_of({"consumers": [consumer]}))


class ConsumerTests(SynchronousTestCase):
    """Each option that is wrong has a line."""

    def test_disabled(self) -> None:
        """A disabled consumer is not checked."""
        self.assertEqual(found("postgresql", enabled=False), [])
        self.assertEqual(found("redis_stream", enabled=False), [])

    def test_postgresql(self) -> None:
        """The database and the table are named, and numbers are possible."""
        path = "consumers.[0].postgresql"
        self.assertEqual(
            found("postgresql"),
            [f"{path}.dsn: must be set", f"{path}.outbox_table_name: must be set"],
        )
        given = {"dsn": "postgresql://u:p@h/d", "outbox_table_name": "t"}
        self.assertEqual(found("postgresql", **given), [])
        for name, value, message in (
            ("dsn", "postgresql://u:secret@[h/d", "must be a URL or key=value"),
            ("dsn", "hots=h", "must be a URL or key=value pairs for libpq"),
            ("partition_notification_dsn", "x", "must be a URL or key=value"),
            ("num_partitions", -1, "-1 must not be negative"),
            ("partition_select_limit", -5, "-5 must not be negative"),
            ("partition_poll_interval", "-1s", "-1s must not be negative"),
            ("tls", {"enabled": True, "cert_pem": PEM}, "needs both"),
        ):
            [line] = found("postgresql", **{**given, name: value})
            self.assertTrue(line.startswith(f"{path}.{name}: {message}"), line)
            self.assertNotIn("secret", line)

    def test_foreign_parameters(self) -> None:
        """Parameters of the reference's driver are accepted in both forms of a DSN."""
        for dsn in (
            "postgres://u@h/d?sslmode=disable&pool_max_conns=9&pool_min_conns=1",
            "host=h pool_max_conns=9 default_query_exec_mode='exec' dbname=d",
        ):
            self.assertEqual(found("postgresql", dsn=dsn, outbox_table_name="t"), [])

    def test_no_library(self) -> None:
        """A missing extra is named."""
        where = "centrifugo_tx.config.check_consumers.find_spec"
        with patch(where, lambda name: None):
            self.assertEqual(
                found("postgresql"),
                [
                    'consumers.[0].type: "postgresql" needs psycopg: '
                    "pip install centrifugo-tx[postgresql]"
                ],
            )

    def test_redis_stream(self) -> None:
        """Streams, group and one shard are named."""
        path = "consumers.[0].redis_stream"
        self.assertEqual(
            found("redis_stream"),
            [f"{path}.streams: must be set", f"{path}.consumer_group: must be set"],
        )
        given: dict[str, Any] = {"streams": ["s"], "consumer_group": "g"}
        self.assertEqual(found("redis_stream", **given), [])
        for name, value, message in (
            ("streams", ["a", ""], "must be set"),
            ("address", ["a:1", "b:2"], "names 2 shards, must name one"),
            ("num_workers", -1, "-1 must not be negative"),
            ("visibility_timeout", "-1s", "-1s must not be negative"),
        ):
            [line] = found("redis_stream", **{**given, name: value})
            self.assertEqual(line, f"{path}.{name}: {message}")
        [line] = found("redis_stream", **{**given, "address": ["x"]})
        self.assertIn("'x' must be host:port or a URL", line)

    def test_sqs(self) -> None:
        """Region and queues are named; times and numbers are those of SQS."""
        path = "consumers.[0].aws_sqs"
        self.assertEqual(
            found("aws_sqs"),
            [f"{path}.queues: must be set", f"{path}.region: must be set"],
        )
        given: dict[str, Any] = {"queues": ["https://q"], "region": "r"}
        self.assertEqual(found("aws_sqs", **given), [])
        for name, value, message in (
            ("max_number_of_messages", 11, "11 must be from 1 to 10"),
            ("wait_time_time", "21s", "21s must be from 0s to 20s"),
            ("visibility_timeout", "13h", "13h0m0s must be from 0s to 12h"),
            ("max_concurrency", -1, "-1 must not be negative"),
        ):
            [line] = found("aws_sqs", **{**given, name: value})
            self.assertEqual(line, f"{path}.{name}: {message}")

    def test_jetstream(self) -> None:
        """Stream and consumer are named; a new one begins somewhere."""
        path = "consumers.[0].nats_jetstream"
        self.assertEqual(
            found("nats_jetstream"),
            [
                f"{path}.stream_name: must be set",
                f"{path}.durable_consumer_name: must be set",
            ],
        )
        given: dict[str, Any] = {"stream_name": "s", "durable_consumer_name": "d"}
        self.assertEqual(found("nats_jetstream", **given), [])
        for name, value, message in (
            ("deliver_policy", "last", '"last" must be one of "new", "all"'),
            ("max_ack_pending", -1, "-1 must not be negative"),
            ("credentials_file", "/no/file", "'/no/file' is not a file"),
        ):
            [line] = found("nats_jetstream", **{**given, name: value})
            self.assertEqual(line, f"{path}.{name}: {message}")
        existing = {**given, "deliver_policy": "last", "use_existing_consumer": True}
        self.assertEqual(found("nats_jetstream", **existing), [])

    def test_kafka(self) -> None:
        """Brokers, topics and group are named; logins are those that can be used."""
        path = "consumers.[0].kafka"
        self.assertEqual(
            found("kafka"),
            [
                f"{path}.brokers: must be set",
                f"{path}.topics: must be set",
                f"{path}.consumer_group: must be set",
            ],
        )
        given: dict[str, Any] = {
            "brokers": ["127.0.0.1:9092"],
            "topics": ["t"],
            "consumer_group": "g",
        }
        self.assertEqual(found("kafka", **given), [])
        login = {"sasl_mechanism": "scram-sha-256", "sasl_user": "u"}
        self.assertEqual(found("kafka", **given, **login), [])
        known = '"plain", "scram-sha-256", "scram-sha-512"'
        for name, value, message in (
            ("max_poll_records", -1, "-1 must not be negative"),
            ("fetch_max_bytes", -1, "-1 must not be negative"),
            ("fetch_max_wait", "-1s", "-1s must not be negative"),
            ("dial_timeout", "-1s", "-1s must not be negative"),
            ("partition_queue_max_size", -2, "-2 must be -1 or more"),
            ("sasl_mechanism", "gssapi", f'"gssapi" must be one of {known}'),
            ("sasl_mechanism", "aws-msk-iam", f'"aws-msk-iam" must be one of {known}'),
            ("assume_role_arn", "a", 'needs the sasl_mechanism "aws-msk-iam"'),
        ):
            [line] = found("kafka", **{**given, name: value})
            self.assertEqual(line, f"{path}.{name}: {message}")
        [line] = found("kafka", **given, sasl_mechanism="plain")
        self.assertEqual(line, f'{path}.sasl_user: "plain" needs a user')

    def test_not_built(self) -> None:
        """Types that cannot run are refused when they are enabled."""
        for enabled in (False, True):
            consumer = {"name": "cc", "enabled": enabled, "type": "google_pub_sub"}
            lines = refused(config_of({"consumers": [consumer]}))
            self.assertEqual(len(lines), enabled)
            self.assertTrue(all("consumers.[0].type" in line for line in lines))


PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
