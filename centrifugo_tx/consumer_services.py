"""The consumers that the configuration asks for, started and stopped together."""

from collections.abc import Iterator
from typing import Any

from attrs import define, field
from twisted.internet.defer import gatherResults
from twisted.logger import Logger

from .api import Api
from .api.dispatch import Dispatcher
from .api.spans import Tracer
from .bounded_log import BoundedLog
from .config.consumers import (
    Consumer,
    JetStreamOptions,
    KafkaOptions,
    OutboxConsumerOptions,
    RedisStreamOptions,
    SQSOptions,
)
from .config.model import Config
from .consumers.delivery import IConsumer, Record, SourceUnavailable
from .consumers.publications import Messages, PublicationNames
from .core import Node
from .grpc.asyncio_bridge import AsyncioBridge

__all__ = ["Consumers", "publication_names"]


@define(eq=False)
class Consumers:
    """Builds each consumer when it starts; its client library is imported then."""

    _reactor: Any
    _config: Config
    _node: Node
    _tracer: Tracer | None = None
    _bridge: AsyncioBridge = field(init=False)
    _running: list[IConsumer] = field(factory=list, init=False)
    _stopping: bool = field(default=False, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._bridge = AsyncioBridge(self._reactor, "consumers")

    async def start(self) -> None:
        """Start all that are enabled, one after another.

        :raises SourceUnavailable: a source cannot be reached.
        """
        api = Api(self._node, "consuming", tracer=self._tracer, traces_calls=True)
        for options in self._enabled():
            if self._stopping:
                return
            record = Record.of(options.name, self._node.metrics)
            dispatcher = Dispatcher(api, options.name)
            consumer = self._made(options, dispatcher, record)
            try:
                await consumer.start()
            except SourceUnavailable as error:
                raise SourceUnavailable(
                    f"consumer {options.name!r} cannot reach its source: {error}"
                ) from None
            self._running.append(consumer)
            self._log.info("running consumer", consumer=options.name, type=options.type)

    def _enabled(self) -> Iterator[Consumer]:
        for options in self._config.consumers:
            if options.enabled:
                yield options
            else:
                self._log.info(
                    "consumer is not enabled, skip",
                    consumer=options.name,
                    type=options.type,
                )

    async def stop(self) -> None:
        """Let what is under way end, and leave all sources."""
        self._stopping = True
        running, self._running = self._running, []
        await gatherResults([consumer.stop() for consumer in running])
        if self._bridge.loop is not None:
            await self._bridge.stop()

    def _made(
        self, options: Consumer, dispatcher: Dispatcher, record: Record
    ) -> IConsumer:
        if options.type == "postgresql":
            return self._outbox(options.postgresql, dispatcher, record)
        if options.type == "aws_sqs":
            return self._sqs(options.aws_sqs, dispatcher, record)
        if options.type == "nats_jetstream":
            return self._jetstream(options.nats_jetstream, dispatcher, record)
        if options.type == "kafka":
            return self._kafka(options.kafka, dispatcher, record)
        return self._redis_streams(options.redis_stream, dispatcher, record)

    def _loop(self) -> AsyncioBridge:
        """Return the loop of the client libraries, which runs."""
        self._bridge.start()
        return self._bridge

    def _messages(
        self, dispatcher: Dispatcher, method_header: str, mode: Any, kind: str
    ) -> Messages:
        return Messages(
            dispatcher,
            BoundedLog(Logger(), self._reactor),
            dispatcher.consumer,
            method_header,
            publication_names(mode, kind),
        )

    def _outbox(
        self, options: OutboxConsumerOptions, dispatcher: Dispatcher, record: Record
    ) -> IConsumer:
        from .consumers.outbox import OutboxConsumer
        from .consumers.postgresql import PostgreSQLTable
        from .consumers.postgresql_address import Database

        limit = options.partition_select_limit or 100
        listener = options.partition_notification_dsn
        table = PostgreSQLTable(
            self._loop(),
            Database(options.dsn, options.tls),
            options.outbox_table_name,
            f"centrifugo_partition_lock_{record.consumer}",
            limit,
            options.use_try_lock,
            Database(listener) if listener else None,
            options.partition_notification_channel,
        )
        return OutboxConsumer(
            self._reactor,
            table,
            dispatcher,
            record,
            options.num_partitions or 1,
            limit,
            options.partition_poll_interval or 0.3,
            bool(options.partition_notification_channel),
        )

    def _redis_streams(
        self, options: RedisStreamOptions, dispatcher: Dispatcher, record: Record
    ) -> IConsumer:
        # Imported late, since txredisapi imports the global reactor.
        from .consumers.redis_streams import BLOCK, RedisStreamConsumer, StreamSettings
        from .engines.redis.addresses import shard_addresses
        from .engines.redis.layout import Layout
        from .engines.redis.topology import Shard

        [address] = shard_addresses(options)

        def connect() -> Shard:
            return Shard(self._reactor, address, Layout(""))

        settings = StreamSettings(
            options.consumer_group,
            self._node.runtime.id,
            options.visibility_timeout,
            max(1, options.num_workers),
            options.payload_value,
            options.method_value,
            publication_names(options.publication_data_mode, "value"),
            # A connection that is silent for longer than that counts as lost.
            min(BLOCK, address.io_timeout / 2),
        )
        return RedisStreamConsumer(
            self._reactor,
            connect(),
            connect,
            dispatcher,
            record,
            settings,
            options.streams,
        )

    def _sqs(
        self, options: SQSOptions, dispatcher: Dispatcher, record: Record
    ) -> IConsumer:
        from .consumers.sqs import SQSConsumer
        from .consumers.sqs_client import SQSQueue, SQSSettings

        settings = SQSSettings(
            options.region,
            options.credentials_profile,
            options.assume_role_arn,
            options.localstack_endpoint,
            options.max_number_of_messages,
            max(1, int(options.wait_time_time)),
            max(1, int(options.visibility_timeout)),
        )
        messages = self._messages(
            dispatcher,
            options.method_attribute,
            options.publication_data_mode,
            "attribute",
        )
        messages.empty_is_bad = True
        return SQSConsumer(
            self._reactor,
            [SQSQueue(self._loop(), settings, url) for url in options.queues],
            messages,
            record,
            options.max_concurrency,
            options.sns_envelope,
        )

    def _jetstream(
        self, options: JetStreamOptions, dispatcher: Dispatcher, record: Record
    ) -> IConsumer:
        from .consumers.jetstream import JetStreamConsumer
        from .consumers.jetstream_client import JetStream, JetStreamSettings

        settings = JetStreamSettings(
            options.url,
            options.stream_name,
            options.durable_consumer_name,
            options.subjects,
            options.use_existing_consumer,
            options.deliver_policy == "all",
            options.max_ack_pending,
            options.credentials_file,
            options.username,
            options.password,
            options.token,
            options.tls if options.tls.enabled else None,
        )
        messages = self._messages(
            dispatcher, options.method_header, options.publication_data_mode, "header"
        )
        stream = JetStream(self._loop(), settings)
        return JetStreamConsumer(self._reactor, stream, messages, record)

    def _kafka(
        self, options: KafkaOptions, dispatcher: Dispatcher, record: Record
    ) -> IConsumer:
        from .consumers.kafka import KafkaConsumer
        from .consumers.kafka_client import KafkaGroup, KafkaSettings

        settings = KafkaSettings(
            options.brokers,
            options.topics,
            options.consumer_group,
            options.max_poll_records or 100,
            options.fetch_max_bytes,
            options.fetch_max_wait or 0.5,
            options.fetch_read_uncommitted,
            options.dial_timeout or 3.0,
            options.tls if options.tls.enabled else None,
            options.sasl_mechanism,
            options.sasl_user,
            options.sasl_password,
            options.instance_id,
        )
        messages = self._messages(
            dispatcher, options.method_header, options.publication_data_mode, "header"
        )
        group = KafkaGroup(self._loop(), settings)
        # 0 is the default here, and -1 no queue.
        queue_size = max(0, options.partition_queue_max_size or 1000)
        return KafkaConsumer(self._reactor, group, messages, record, queue_size)


def publication_names(mode: Any, kind: str) -> PublicationNames | None:
    """Return the names of headers in a publication data mode; None without it.

    :param kind: what the source calls a header, as the options say it.
    """
    if not mode.enabled:
        return None
    return PublicationNames(
        channels=getattr(mode, f"channels_{kind}"),
        idempotency_key=getattr(mode, f"idempotency_key_{kind}"),
        delta=getattr(mode, f"delta_{kind}"),
        version=getattr(mode, f"version_{kind}"),
        version_epoch=getattr(mode, f"version_epoch_{kind}"),
        tags_prefix=getattr(mode, f"tags_{kind}_prefix"),
    )
