"""The sections of the consumers: queues from which API commands are taken."""

from ..options import Duration
from .backends import RedisConnectionOptions
from .servers import Section, TLSOptions

__all__ = [
    "AttributeDataMode",
    "AzureServiceBusOptions",
    "Consumer",
    "GooglePubSubOptions",
    "HeaderDataMode",
    "JetStreamOptions",
    "KafkaOptions",
    "OutboxConsumerOptions",
    "PropertyDataMode",
    "RedisStreamOptions",
    "SQSOptions",
    "ValueDataMode",
]


class HeaderDataMode(Section, frozen=True):
    """Messages that are publications; headers say where they go."""

    enabled: bool = False
    """Take messages as publications."""
    channels_header: str = "centrifugo-channels"
    """Header with the channels, separated by commas."""
    idempotency_key_header: str = "centrifugo-idempotency-key"
    """Header with the idempotency key."""
    delta_header: str = "centrifugo-delta"
    """Header that asks for deltas."""
    version_header: str = "centrifugo-version"
    """Header with the version."""
    version_epoch_header: str = "centrifugo-version-epoch"
    """Header with the epoch of the version."""
    tags_header_prefix: str = "centrifugo-tag-"
    """How headers that are tags begin."""


class ValueDataMode(Section, frozen=True):
    """Entries that are publications; fields say where they go."""

    enabled: bool = False
    """Take entries as publications."""
    channels_value: str = "centrifugo-channels"
    """Field with the channels, separated by commas."""
    idempotency_key_value: str = "centrifugo-idempotency-key"
    """Field with the idempotency key."""
    delta_value: str = "centrifugo-delta"
    """Field that asks for deltas."""
    version_value: str = "centrifugo-version"
    """Field with the version."""
    version_epoch_value: str = "centrifugo-version-epoch"
    """Field with the epoch of the version."""
    tags_value_prefix: str = "centrifugo-tag-"
    """How fields that are tags begin."""


class AttributeDataMode(Section, frozen=True):
    """Messages that are publications; attributes say where they go."""

    enabled: bool = False
    """Take messages as publications."""
    channels_attribute: str = "centrifugo-channels"
    """Attribute with the channels, separated by commas."""
    idempotency_key_attribute: str = "centrifugo-idempotency-key"
    """Attribute with the idempotency key."""
    delta_attribute: str = "centrifugo-delta"
    """Attribute that asks for deltas."""
    version_attribute: str = "centrifugo-version"
    """Attribute with the version."""
    version_epoch_attribute: str = "centrifugo-version-epoch"
    """Attribute with the epoch of the version."""
    tags_attribute_prefix: str = "centrifugo-tag-"
    """How attributes that are tags begin."""


class PropertyDataMode(Section, frozen=True):
    """Messages that are publications; properties say where they go."""

    enabled: bool = False
    """Take messages as publications."""
    channels_property: str = "centrifugo-channels"
    """Property with the channels, separated by commas."""
    idempotency_key_property: str = "centrifugo-idempotency-key"
    """Property with the idempotency key."""
    delta_property: str = "centrifugo-delta"
    """Property that asks for deltas."""
    version_property: str = "centrifugo-version"
    """Property with the version."""
    version_epoch_property: str = "centrifugo-version-epoch"
    """Property with the epoch of the version."""
    tags_property_prefix: str = "centrifugo-tag-"
    """How properties that are tags begin."""


class OutboxConsumerOptions(Section, frozen=True):
    """A table of commands in PostgreSQL."""

    dsn: str = ""
    """Where the database is."""
    outbox_table_name: str = ""
    """Name of the table."""
    num_partitions: int = 1
    """Partitions of the table."""
    partition_select_limit: int = 100
    """Rows per read."""
    partition_poll_interval: Duration = 0.3
    """Time between reads."""
    partition_notification_channel: str = ""
    """Channel on which NOTIFY tells of new rows."""
    partition_notification_dsn: str = ""
    """Own connection for that, past a pooler."""
    tls: TLSOptions = TLSOptions()
    """Encryption."""
    use_try_lock: bool = False
    """Skip a partition that another node holds, rather than wait for it."""


class KafkaOptions(Section, frozen=True):
    """Topics of Kafka."""

    brokers: tuple[str, ...] = ()
    """Addresses to start from."""
    topics: tuple[str, ...] = ()
    """Topics to read."""
    consumer_group: str = ""
    """Group that shares the partitions."""
    max_poll_records: int = 100
    """Records per read."""
    fetch_max_bytes: int = 0
    """Bytes per read; 0: as the client library has it."""
    fetch_max_wait: Duration = 0.5
    """How long the broker may wait for records."""
    fetch_read_uncommitted: bool = False
    """Read records of open transactions."""
    partition_queue_max_size: int = 1000
    """Records that may wait per partition; -1: none."""
    dial_timeout: Duration = 3.0
    """How long connecting may take."""
    tls: TLSOptions = TLSOptions()
    """Encryption."""
    sasl_mechanism: str = ""
    """``plain``, ``scram-sha-256``, ``scram-sha-512`` or ``aws-msk-iam``."""
    sasl_user: str = ""
    """User name."""
    sasl_password: str = ""
    """Password."""
    assume_role_arn: str = ""
    """Role to take on, with ``aws-msk-iam``."""
    instance_id: str = ""
    """Name of a static member of the group."""
    method_header: str = "centrifugo-method"
    """Header with the method."""
    publication_data_mode: HeaderDataMode = HeaderDataMode()
    """Messages that are publications."""


class JetStreamOptions(Section, frozen=True):
    """A stream of NATS JetStream."""

    url: str = "nats://127.0.0.1:4222"
    """Where NATS is."""
    credentials_file: str = ""
    """File with the credentials."""
    username: str = ""
    """User name."""
    password: str = ""
    """Password."""
    token: str = ""
    """Token."""
    stream_name: str = ""
    """Stream to read."""
    use_existing_consumer: bool = False
    """Take the consumer as it is; do not create it."""
    subjects: tuple[str, ...] = ()
    """Subjects to read; empty: all."""
    durable_consumer_name: str = ""
    """Name of the consumer."""
    deliver_policy: str = "new"
    """``new`` or ``all``: where a new consumer begins."""
    max_ack_pending: int = 100
    """Messages that may wait for their acknowledgement."""
    method_header: str = "centrifugo-method"
    """Header with the method."""
    publication_data_mode: HeaderDataMode = HeaderDataMode()
    """Messages that are publications."""
    tls: TLSOptions = TLSOptions()
    """Encryption."""


class RedisStreamOptions(RedisConnectionOptions, frozen=True):
    """Streams of Redis."""

    streams: tuple[str, ...] = ()
    """Streams to read."""
    consumer_group: str = ""
    """Group that shares the entries."""
    visibility_timeout: Duration = 30.0
    """After how long an entry that nobody acknowledged comes back."""
    num_workers: int = 1
    """Entries of a stream in work at a time."""
    payload_value: str = "payload"
    """Field with the payload."""
    method_value: str = "method"
    """Field with the method."""
    publication_data_mode: ValueDataMode = ValueDataMode()
    """Entries that are publications."""


class GooglePubSubOptions(Section, frozen=True):
    """Subscriptions of Google Pub/Sub."""

    project_id: str = ""
    """Project."""
    subscriptions: tuple[str, ...] = ()
    """Subscriptions to read."""
    max_outstanding_messages: int = 100
    """Messages in work at a time."""
    max_outstanding_bytes: int = 1000000
    """Bytes in work at a time."""
    auth_mechanism: str = ""
    """Empty or ``default``, or ``service_account``."""
    credentials_file: str = ""
    """File of the service account."""
    method_attribute: str = "centrifugo-method"
    """Attribute with the method."""
    publication_data_mode: AttributeDataMode = AttributeDataMode()
    """Messages that are publications."""


class SQSOptions(Section, frozen=True):
    """Queues of AWS SQS."""

    queues: tuple[str, ...] = ()
    """URLs of the queues."""
    sns_envelope: bool = False
    """Messages come wrapped by SNS."""
    region: str = ""
    """Region."""
    max_number_of_messages: int = 10
    """Messages per read."""
    wait_time_time: Duration = 20.0
    """How long a read waits for messages."""
    visibility_timeout: Duration = 30.0
    """After how long a message that was not deleted comes back."""
    max_concurrency: int = 1
    """Messages in work at a time."""
    credentials_profile: str = ""
    """Profile of the credentials."""
    assume_role_arn: str = ""
    """Role to take on."""
    method_attribute: str = "centrifugo-method"
    """Attribute with the method."""
    localstack_endpoint: str = ""
    """Endpoint to use instead, for development."""
    publication_data_mode: AttributeDataMode = AttributeDataMode()
    """Messages that are publications."""


class AzureServiceBusOptions(Section, frozen=True):
    """Queues of Azure Service Bus."""

    connection_string: str = ""
    """Where it is, with the credentials."""
    use_azure_identity: bool = False
    """Use an Azure identity instead."""
    fully_qualified_namespace: str = ""
    """Name space of the queues, with an identity."""
    tenant_id: str = ""
    """Tenant of the identity."""
    client_id: str = ""
    """Client of the identity."""
    client_secret: str = ""
    """Secret of the identity."""
    queues: tuple[str, ...] = ()
    """Queues to read."""
    use_sessions: bool = False
    """Read by sessions."""
    max_concurrent_calls: int = 1
    """Messages in work at a time."""
    max_receive_messages: int = 1
    """Messages per read."""
    method_property: str = "centrifugo-method"
    """Property with the method."""
    publication_data_mode: PropertyDataMode = PropertyDataMode()
    """Messages that are publications."""


class Consumer(Section, frozen=True):
    """One source of API commands."""

    name: str = ""
    """Name of the consumer."""
    enabled: bool = False
    """Run it."""
    type: str = ""
    """Which of the sections below applies."""
    postgresql: OutboxConsumerOptions = OutboxConsumerOptions()
    """Settings of ``postgresql``."""
    kafka: KafkaOptions = KafkaOptions()
    """Settings of ``kafka``."""
    nats_jetstream: JetStreamOptions = JetStreamOptions()
    """Settings of ``nats_jetstream``."""
    redis_stream: RedisStreamOptions = RedisStreamOptions()
    """Settings of ``redis_stream``."""
    google_pub_sub: GooglePubSubOptions = GooglePubSubOptions()
    """Settings of ``google_pub_sub``."""
    aws_sqs: SQSOptions = SQSOptions()
    """Settings of ``aws_sqs``."""
    azure_service_bus: AzureServiceBusOptions = AzureServiceBusOptions()
    """Settings of ``azure_service_bus``."""
