"""Rules of consumers: each needs its source, and the library that reaches it."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..durations import format_duration
from ..engines.redis.addresses import shard_addresses
from ..errors import ConfigError
from ..options import TLSOptions
from .consumers import Consumer
from .findings import Finding
from .model import Config

__all__ = ["check_consumers"]

_MECHANISMS = ("plain", "scram-sha-256", "scram-sha-512")


def check_consumers(config: Config) -> Iterator[Finding]:
    """Yield errors in each consumer that is enabled."""
    for index, consumer in enumerate(config.consumers):
        rule = _RULES.get(consumer.type)
        if consumer.enabled and rule is not None:
            where = f"consumers.[{index}]"
            for option, message in rule(consumer):
                yield f"{where}.{option}", message


def _postgresql(consumer: Consumer) -> Iterator[Finding]:
    options, path = consumer.postgresql, "postgresql"
    if find_spec("psycopg") is None:
        yield "type", _missing(consumer.type, "psycopg", "postgresql")
        return
    from ..consumers.postgresql_address import parameters_of

    yield from _required(options, path, "dsn", "outbox_table_name")
    for name in ("dsn", "partition_notification_dsn"):
        try:
            parameters_of(getattr(options, name))
        except ValueError as error:
            yield f"{path}.{name}", str(error)
    yield from _not_negative(options, path, "num_partitions", "partition_select_limit")
    if options.partition_poll_interval < 0:
        interval = format_duration(options.partition_poll_interval)
        yield f"{path}.partition_poll_interval", f"{interval} must not be negative"
    yield from _tls(options.tls, f"{path}.tls")


def _redis_stream(consumer: Consumer) -> Iterator[Finding]:
    options, path = consumer.redis_stream, "redis_stream"
    yield from _required(options, path, "streams", "consumer_group")
    yield from _not_negative(options, path, "num_workers")
    if options.visibility_timeout < 0:
        timeout = format_duration(options.visibility_timeout)
        yield f"{path}.visibility_timeout", f"{timeout} must not be negative"
    try:
        shards = len(shard_addresses(options))
    except ConfigError as error:
        yield path, str(error)
    else:
        if shards != 1:
            yield f"{path}.address", f"names {shards} shards, must name one"


def _aws_sqs(consumer: Consumer) -> Iterator[Finding]:
    options, path = consumer.aws_sqs, "aws_sqs"
    if find_spec("aiobotocore") is None:
        yield "type", _missing(consumer.type, "aiobotocore", "sqs")
        return
    yield from _required(options, path, "queues", "region")
    if not 0 < options.max_number_of_messages <= 10:
        number = options.max_number_of_messages
        yield f"{path}.max_number_of_messages", f"{number} must be from 1 to 10"
    if not 0 <= options.wait_time_time <= 20:
        wait = format_duration(options.wait_time_time)
        yield f"{path}.wait_time_time", f"{wait} must be from 0s to 20s"
    if not 0 <= options.visibility_timeout <= 43200:
        timeout = format_duration(options.visibility_timeout)
        yield f"{path}.visibility_timeout", f"{timeout} must be from 0s to 12h"
    yield from _not_negative(options, path, "max_concurrency")


def _nats_jetstream(consumer: Consumer) -> Iterator[Finding]:
    options, path = consumer.nats_jetstream, "nats_jetstream"
    if find_spec("nats") is None:
        yield "type", _missing(consumer.type, "nats-py", "nats")
        return
    yield from _required(options, path, "stream_name", "durable_consumer_name")
    policy = options.deliver_policy
    if not options.use_existing_consumer and policy not in ("new", "all"):
        yield f"{path}.deliver_policy", f'"{policy}" must be one of "new", "all"'
    yield from _not_negative(options, path, "max_ack_pending")
    if (file := options.credentials_file) and not Path(file).is_file():
        yield f"{path}.credentials_file", f"{file!r} is not a file"
    yield from _tls(options.tls, f"{path}.tls")


def _kafka(consumer: Consumer) -> Iterator[Finding]:
    options, path = consumer.kafka, "kafka"
    if find_spec("aiokafka") is None:
        yield "type", _missing(consumer.type, "aiokafka", "kafka")
        return
    yield from _required(options, path, "brokers", "topics", "consumer_group")
    yield from _not_negative(options, path, "max_poll_records", "fetch_max_bytes")
    if options.partition_queue_max_size < -1:
        size = options.partition_queue_max_size
        yield f"{path}.partition_queue_max_size", f"{size} must be -1 or more"
    for name in ("fetch_max_wait", "dial_timeout"):
        if (value := getattr(options, name)) < 0:
            yield f"{path}.{name}", f"{format_duration(value)} must not be negative"
    mechanism = options.sasl_mechanism
    if mechanism not in ("", *_MECHANISMS):
        known = ", ".join(f'"{each}"' for each in _MECHANISMS)
        yield f"{path}.sasl_mechanism", f'"{mechanism}" must be one of {known}'
    elif mechanism and not options.sasl_user:
        yield f"{path}.sasl_user", f'"{mechanism}" needs a user'
    if options.assume_role_arn and mechanism != "aws-msk-iam":
        message = 'needs the sasl_mechanism "aws-msk-iam"'
        yield f"{path}.assume_role_arn", message
    yield from _tls(options.tls, f"{path}.tls")


def _missing(type: str, library: str, extra: str) -> str:
    return f'"{type}" needs {library}: pip install centrifugo-tx[{extra}]'


def _required(options: Any, path: str, *names: str) -> Iterator[Finding]:
    for name in names:
        value = getattr(options, name)
        if not value or (isinstance(value, tuple) and not all(value)):
            yield f"{path}.{name}", "must be set"


def _not_negative(options: Any, path: str, *names: str) -> Iterator[Finding]:
    for name in names:
        if (value := getattr(options, name)) < 0:
            yield f"{path}.{name}", f"{value} must not be negative"


def _tls(options: TLSOptions, path: str) -> Iterator[Finding]:
    """Check the encryption of connections to a source."""
    if options.enabled and bool(options.cert_pem) != bool(options.key_pem):
        yield path, "needs both cert_pem and key_pem, or neither"


_RULES: dict[str, Callable[[Consumer], Iterator[Finding]]] = {
    "aws_sqs": _aws_sqs,
    "kafka": _kafka,
    "nats_jetstream": _nats_jetstream,
    "postgresql": _postgresql,
    "redis_stream": _redis_stream,
}
