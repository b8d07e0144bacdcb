"""Kafka by aiokafka (extra ``kafka``), on an asyncio loop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError
from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from ..grpc.asyncio_bridge import AsyncioBridge
from ..options import TLSOptions
from .delivery import SourceUnavailable
from .kafka import BrokersAway, KafkaRecord, Partition, Polled
from .ssl_context import ssl_context

__all__ = ["KafkaGroup", "KafkaSettings"]

T = TypeVar("T")

#: Seconds that a poll waits for records; then the brokers are asked for a sign of life.
WAIT = 5.0
#: Seconds that they have for it, and for a commit.
PATIENCE = 10.0
#: Seconds after which a member that is silent counts as dead.
SESSION = 10.0

_MECHANISMS = {
    "plain": "PLAIN",
    "scram-sha-256": "SCRAM-SHA-256",
    "scram-sha-512": "SCRAM-SHA-512",
}


@frozen
class KafkaSettings:
    """Where Kafka is, and what is read there."""

    brokers: Sequence[str]
    topics: Sequence[str]
    group: str
    max_poll_records: int = 100
    #: 0 selects the library's default.
    fetch_max_bytes: int = 0
    fetch_max_wait: float = 0.5
    read_uncommitted: bool = False
    dial_timeout: float = 3.0
    tls: TLSOptions | None = None
    #: A name of the configuration; empty: no login.
    sasl_mechanism: str = ""
    sasl_user: str = ""
    sasl_password: str = field(default="", repr=False)
    instance_id: str = ""


class _LastWarning(logging.Handler):
    """Keeps the last warning of aiokafka, which says why it cannot connect.

    Whatever else it logs shows when records are fetched.
    """

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        if record.levelno >= logging.WARNING:
            self.text = record.getMessage().partition("\n")[0][:300]


_last_warning = _LastWarning()
_logger = logging.getLogger("aiokafka")
_logger.propagate = False
_logger.addHandler(_last_warning)


@define(eq=False)
class KafkaGroup:
    """One member of a consumer group, and its connections."""

    _bridge: AsyncioBridge
    _settings: KafkaSettings
    _revoked: "Callable[[int, Collection[Partition]], Deferred[None]] | None" = field(
        default=None, init=False
    )
    _consumer: Any = field(default=None, init=False)
    _polling: "asyncio.Task[Any] | None" = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _generation: int = field(default=0, init=False)
    #: Whether the fetched records belong to an assignment that is over.
    _rebalancing: bool = field(default=False, init=False)

    # --- In the reactor --------------------------------------------------------

    def open(
        self, revoked: Callable[[int, Collection[Partition]], "Deferred[None]"]
    ) -> "Deferred[None]":
        """Connect and join the group; again after a failure, with a new connection."""
        self._revoked = revoked
        return self._bridge.run(self._guarded, self._open)

    def poll(self) -> "Deferred[Polled]":
        """Wait for records; none come when there are none for some seconds."""
        return self._bridge.run(self._guarded, self._poll)

    def pause(self, partition: Partition) -> None:
        """Fetch no more of a partition."""
        self._bridge.to_loop(lambda: self._switch("pause", partition))

    def resume(self, partition: Partition) -> None:
        """Fetch a partition again."""
        self._bridge.to_loop(lambda: self._switch("resume", partition))

    def commit(self, offsets: Mapping[Partition, int]) -> "Deferred[None]":
        """Store where each partition is read from next."""
        return self._bridge.run(self._guarded, self._commit, offsets)

    def interrupt(self) -> None:
        """Let a poll that is under way fail."""
        self._bridge.to_loop(self._interrupt)

    def close(self) -> "Deferred[None]":
        """Leave the group, and disconnect."""
        return self._bridge.run(self._guarded, self._close)

    # --- On the loop -----------------------------------------------------------

    async def _guarded(
        self, work: Callable[..., Awaitable[T]], *arguments: object
    ) -> T:
        try:
            return await work(*arguments)
        except asyncio.CancelledError:
            raise SourceUnavailable("stopped") from None
        except TimeoutError:
            raise SourceUnavailable("no answer") from None
        except (KafkaError, OSError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise SourceUnavailable(reason) from None

    async def _open(self) -> None:
        await self._close_consumer()
        if self._closed:
            raise SourceUnavailable("stopped")
        settings = self._settings
        # Each broker is tried twice at most.
        patience = settings.dial_timeout * len(settings.brokers) * 2
        consumer = self._consumer = AIOKafkaConsumer(**_options(settings))
        _last_warning.text = ""
        try:
            async with asyncio.timeout(patience):
                await consumer.start()
        except TimeoutError:
            raise SourceUnavailable(f"no answer within {patience:g} s") from None
        except KafkaError as error:
            reason = _last_warning.text or str(error)
            raise SourceUnavailable(reason) from None
        consumer.subscribe(list(settings.topics), listener=_Listener(self))

    async def _poll(self) -> Polled:
        if self._closed:
            raise SourceUnavailable("stopped")
        self._polling = asyncio.current_task()
        try:
            found = await self._consumer.getmany(timeout_ms=int(WAIT * 1000))
            if not found:
                await self._check_brokers()
        finally:
            self._polling = None
        if self._rebalancing:
            found = {}
        batches = {
            (partition.topic, partition.partition): [_record(each) for each in records]
            for partition, records in found.items()
        }
        return Polled(self._generation, batches)

    async def _check_brokers(self) -> None:
        """Ask for a sign of life.

        :raises BrokersAway: there is none.
        """
        _last_warning.text = ""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._consumer.topics()
        except TimeoutError:
            raise BrokersAway(_last_warning.text or "no broker answers") from None
        except KafkaError as error:
            raise BrokersAway(_last_warning.text or str(error)) from None

    async def _commit(self, offsets: Mapping[Partition, int]) -> None:
        if self._consumer is None:
            raise SourceUnavailable("not connected")
        async with asyncio.timeout(PATIENCE):
            await self._consumer.commit(
                {TopicPartition(*where): offset for where, offset in offsets.items()}
            )

    def _switch(self, method: str, partition: Partition) -> None:
        where = TopicPartition(*partition)
        if self._consumer is not None and where in self._consumer.assignment():
            getattr(self._consumer, method)(where)

    async def revoke(self, partitions: Collection[Any]) -> None:
        """Let the reactor finish with partitions that go to other members."""
        self._rebalancing = True
        self._generation += 1
        gone = [(each.topic, each.partition) for each in partitions]
        if self._revoked is not None:
            revoked: Callable[..., Deferred[Any]] = self._revoked
            await self._bridge.ask_reactor(revoked, self._generation, gone)

    def assign(self) -> None:
        """Deliver the records that are fetched from now on."""
        self._rebalancing = False

    def _interrupt(self) -> None:
        self._closed = True
        if self._polling is not None:
            self._polling.cancel()

    async def _close(self) -> None:
        self._interrupt()
        await self._close_consumer()

    async def _close_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._rebalancing = False
        if consumer is not None:
            async with asyncio.timeout(PATIENCE):
                await consumer.stop()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # untyped
    """Hears of new assignments."""

    def __init__(self, group: KafkaGroup) -> None:
        self._group = group

    async def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        """Give partitions up."""
        await self._group.revoke(revoked)

    async def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        """Begin with others."""
        self._group.assign()


def _options(settings: KafkaSettings) -> dict[str, Any]:
    """Return the options of aiokafka."""
    options: dict[str, Any] = {
        "bootstrap_servers": list(settings.brokers),
        "client_id": "centrifugo",
        "group_id": settings.group,
        "group_instance_id": settings.instance_id or None,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "fetch_max_wait_ms": int(settings.fetch_max_wait * 1000),
        "max_poll_records": settings.max_poll_records,
        "session_timeout_ms": int(SESSION * 1000),
        "isolation_level": (
            "read_uncommitted" if settings.read_uncommitted else "read_committed"
        ),
        "partition_assignment_strategy": (
            RoundRobinPartitionAssignor,
            RangePartitionAssignor,
        ),
    }
    if settings.fetch_max_bytes:
        options["fetch_max_bytes"] = settings.fetch_max_bytes
    security = "PLAINTEXT" if settings.tls is None else "SSL"
    if settings.sasl_mechanism:
        security = f"SASL_{security}"
        options |= {
            "sasl_mechanism": _MECHANISMS[settings.sasl_mechanism],
            "sasl_plain_username": settings.sasl_user,
            "sasl_plain_password": settings.sasl_password,
        }
    if settings.tls is not None:
        options["ssl_context"] = ssl_context(settings.tls)
    return {**options, "security_protocol": security}


def _record(given: Any) -> KafkaRecord:
    headers: dict[str, str] = {}
    for name, value in given.headers:  # the first one of a name counts
        headers.setdefault(name, (value or b"").decode(errors="replace"))
    return KafkaRecord(given.offset, given.value or b"", headers)
