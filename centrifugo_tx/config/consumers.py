"""The sections of consumers: queues from which API commands are read."""

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
    """Messages that are publications, described by headers."""

    enabled: bool = False
    """Treat messages as publications."""
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
    """Prefix of the headers that are tags."""


class ValueDataMode(Section, frozen=True):
    """Entries that are publications, described by fields."""

    enabled: bool = False
    """Treat entries as publications."""
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
    """Prefix of the fields that are tags."""


class AttributeDataMode(Section, frozen=True):
    """Messages that are publications, described by attributes."""

    enabled: bool = False
    """Treat messages as publications."""
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
    """Prefix of the attributes that are tags."""


class PropertyDataMode(Section, frozen=True):
    """Messages that are publications, described by properties."""

    enabled: bool = False
    """Treat messages as publications."""
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
    """Prefix of the properties that are tags."""


class OutboxConsumerOptions(Section, frozen=True):
    """A table of commands in PostgreSQL."""

    dsn: str = ""
    """Connection string of the database."""
    outbox_table_name: str = ""
    """Name of the table."""
    num_partitions: int = 1
    """Partitions of the table."""
    partition_select_limit: int = 100
    """Rows per read."""
    partition_poll_interval: Duration = 0.3
    """Interval between reads."""
    partition_notification_channel: str = ""
    """Channel on which NOTIFY announces new rows."""
    partition_notification_dsn: str = ""
    """Connection string for LISTEN, when ``dsn`` leads to a pooler."""
    tls: TLSOptions = TLSOptions()
    """TLS of the connections."""
    use_try_lock: bool = False
    """Skip a partition that another node has locked, instead of waiting for it."""


class KafkaOptions(Section, frozen=True):
    """Topics of Kafka."""

    brokers: tuple[str, ...] = ()
    """Addresses of the initial brokers."""
    topics: tuple[str, ...] = ()
    """Topics to read."""
    consumer_group: str = ""
    """Consumer group that shares the partitions."""
    max_poll_records: int = 100
    """Records per read."""
    fetch_max_bytes: int = 0
    """Bytes per read; 0: the default of the client library."""
    fetch_max_wait: Duration = 0.5
    """How long the broker may wait for records before it answers."""
    fetch_read_uncommitted: bool = False
    """Read records of open transactions."""
    partition_queue_max_size: int = 1000
    """Maximum number of queued records per partition; -1: no queue."""
    dial_timeout: Duration = 3.0
    """Timeout of connecting."""
    tls: TLSOptions = TLSOptions()
    """TLS of the connections."""
    sasl_mechanism: str = ""
    """``plain``, ``scram-sha-256``, ``scram-sha-512`` or ``aws-msk-iam``."""
    sasl_user: str = ""
    """User name."""
    sasl_password: str = ""
    """Password."""
    assume_role_arn: str = ""
    """Role to assume, with ``aws-msk-iam``."""
    instance_id: str = ""
    """Id of a static member of the group."""
    method_header: str = "centrifugo-method"
    """Header with the method."""
    publication_data_mode: HeaderDataMode = HeaderDataMode()
    """Messages that are publications."""


class JetStreamOptions(Section, frozen=True):
    """A stream of NATS JetStream."""

    url: str = "nats://127.0.0.1:4222"
    """URL of NATS."""
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
    """Use an existing consumer; do not create it."""
    subjects: tuple[str, ...] = ()
    """Subjects to read; empty: all."""
    durable_consumer_name: str = ""
    """Name of the consumer."""
    deliver_policy: str = "new"
    """``new`` or ``all``: the first message of a new consumer."""
    max_ack_pending: int = 100
    """Maximum number of unacknowledged messages."""
    method_header: str = "centrifugo-method"
    """Header with the method."""
    publication_data_mode: HeaderDataMode = HeaderDataMode()
    """Messages that are publications."""
    tls: TLSOptions = TLSOptions()
    """TLS of the connections."""


class RedisStreamOptions(RedisConnectionOptions, frozen=True):
    """Streams of Redis."""

    streams: tuple[str, ...] = ()
    """Streams to read."""
    consumer_group: str = ""
    """Consumer group that shares the entries."""
    visibility_timeout: Duration = 30.0
    """How long until an unacknowledged entry is delivered again."""
    num_workers: int = 1
    """Entries of a stream processed concurrently."""
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
    """Messages processed concurrently."""
    max_outstanding_bytes: int = 1000000
    """Bytes processed concurrently."""
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
    """Messages are wrapped by SNS."""
    region: str = ""
    """Region."""
    max_number_of_messages: int = 10
    """Messages per read."""
    wait_time_time: Duration = 20.0
    """How long a read may wait for messages."""
    visibility_timeout: Duration = 30.0
    """How long until a message that was not deleted is delivered again."""
    max_concurrency: int = 1
    """Messages processed concurrently."""
    credentials_profile: str = ""
    """Profile of the credentials."""
    assume_role_arn: str = ""
    """Role to assume."""
    method_attribute: str = "centrifugo-method"
    """Attribute with the method."""
    localstack_endpoint: str = ""
    """Endpoint to use instead of AWS, for development."""
    publication_data_mode: AttributeDataMode = AttributeDataMode()
    """Messages that are publications."""


class AzureServiceBusOptions(Section, frozen=True):
    """Queues of Azure Service Bus."""

    connection_string: str = ""
    """Connection string, including credentials."""
    use_azure_identity: bool = False
    """Use an Azure identity instead of a connection string."""
    fully_qualified_namespace: str = ""
    """Namespace of the queues, with an Azure identity."""
    tenant_id: str = ""
    """Tenant of the Azure identity."""
    client_id: str = ""
    """Client id of the Azure identity."""
    client_secret: str = ""
    """Client secret of the Azure identity."""
    queues: tuple[str, ...] = ()
    """Queues to read."""
    use_sessions: bool = False
    """Read from sessions."""
    max_concurrent_calls: int = 1
    """Messages processed concurrently."""
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
    """Run the consumer."""
    type: str = ""
    """Type of the consumer: the name of one of the sections below."""
    postgresql: OutboxConsumerOptions = OutboxConsumerOptions()
    """Options of the type ``postgresql``."""
    kafka: KafkaOptions = KafkaOptions()
    """Options of the type ``kafka``."""
    nats_jetstream: JetStreamOptions = JetStreamOptions()
    """Options of the type ``nats_jetstream``."""
    redis_stream: RedisStreamOptions = RedisStreamOptions()
    """Options of the type ``redis_stream``."""
    google_pub_sub: GooglePubSubOptions = GooglePubSubOptions()
    """Options of the type ``google_pub_sub``."""
    aws_sqs: SQSOptions = SQSOptions()
    """Options of the type ``aws_sqs``."""
    azure_service_bus: AzureServiceBusOptions = AzureServiceBusOptions()
    """Options of the type ``azure_service_bus``."""
