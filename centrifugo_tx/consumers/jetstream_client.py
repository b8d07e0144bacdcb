"""JetStream by nats-py (extra ``nats``), on an asyncio loop."""

import asyncio
import builtins
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import nats
from attrs import define, field, frozen
from nats.errors import Error
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from twisted.internet.defer import Deferred

from ..grpc.asyncio_bridge import AsyncioBridge
from ..options import TLSOptions
from .delivery import SourceUnavailable
from .jetstream import JetStreamMessage
from .ssl_context import ssl_context

__all__ = ["JetStream", "JetStreamSettings"]

T = TypeVar("T")

#: Seconds that NATS has to answer at the start, and when a consumer is made anew.
PATIENCE = 10.0
#: Seconds that a fetch waits for messages; then it is asked whether the consumer lives.
WAIT = 5.0
#: Messages that are fetched at a time.
BATCH = 100
#: Seconds after which a message that nobody acknowledged comes back.
ACK_WAIT = 30.0


@frozen
class JetStreamSettings:
    """Where NATS is, and what is read there."""

    url: str
    stream: str
    consumer: str
    subjects: tuple[str, ...] = ()
    existing: bool = False
    everything: bool = False
    max_ack_pending: int = 100
    credentials_file: str = ""
    username: str = ""
    password: str = ""
    token: str = ""
    tls: TLSOptions | None = None


@define(eq=False)
class JetStream:
    """One connection, and the consumer that is used over it."""

    _bridge: AsyncioBridge
    _settings: JetStreamSettings
    _connection: Any = field(default=None, init=False)
    _subscription: Any = field(default=None, init=False)
    _fetching: "asyncio.Task[Any] | None" = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    # --- In the reactor --------------------------------------------------------

    def open(self) -> "Deferred[None]":
        """Connect, and create the consumer or find it; again after it was lost."""
        return self._bridge.run(self._guarded, self._open)

    def fetch(self) -> "Deferred[Sequence[JetStreamMessage]]":
        """Wait for messages; none come when there are none for some seconds."""
        return self._bridge.run(self._guarded, self._fetch)

    def acknowledge(self, message: JetStreamMessage) -> "Deferred[None]":
        """Report that a message is dealt with."""
        return self._bridge.run(self._guarded, message.handle.ack)

    def reject(self, message: JetStreamMessage, delay: float) -> "Deferred[None]":
        """Ask for a message again, after *delay* seconds."""
        return self._bridge.run(self._guarded, message.handle.nak, delay or None)

    def interrupt(self) -> None:
        """Let a fetch that is under way fail."""
        self._bridge.to_loop(self._interrupt)

    def close(self) -> "Deferred[None]":
        """Disconnect."""
        return self._bridge.run(self._close)

    # --- On the loop -----------------------------------------------------------

    async def _guarded(
        self, work: Callable[..., Awaitable[T]], *arguments: object
    ) -> T:
        try:
            return await work(*arguments)
        except asyncio.CancelledError:
            raise SourceUnavailable("stopped") from None
        except (Error, OSError, TimeoutError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise SourceUnavailable(reason) from None

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                if self._connection is None:
                    self._connection = await self._connect()
                await self._find()
        except builtins.TimeoutError:
            raise SourceUnavailable(f"no answer within {PATIENCE:g} s") from None

    async def _connect(self) -> Any:
        settings = self._settings
        login: dict[str, Any] = {}
        if settings.credentials_file:
            login["user_credentials"] = settings.credentials_file
        elif settings.username:
            login = {"user": settings.username, "password": settings.password}
        elif settings.token:
            login["token"] = settings.token
        if settings.tls is not None:
            login["tls"] = ssl_context(settings.tls)
            if settings.tls.server_name:
                login["tls_hostname"] = settings.tls.server_name
        return await nats.connect(
            settings.url,
            name="centrifugo",
            max_reconnect_attempts=-1,
            error_cb=_quiet,
            **login,
        )

    async def _find(self) -> None:
        settings, stream = self._settings, self._connection.jetstream()
        if settings.existing:
            await stream.consumer_info(settings.stream, settings.consumer)
        else:
            several = len(settings.subjects) > 1
            await stream.add_consumer(
                settings.stream,
                ConsumerConfig(
                    name=settings.consumer,
                    durable_name=settings.consumer,
                    filter_subject=None if several else "".join(settings.subjects),
                    filter_subjects=[*settings.subjects] if several else None,
                    deliver_policy=DeliverPolicy.ALL
                    if settings.everything
                    else DeliverPolicy.NEW,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=ACK_WAIT,
                    max_ack_pending=settings.max_ack_pending,
                ),
            )
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._subscription = None
        self._subscription = await stream.pull_subscribe_bind(
            settings.consumer, settings.stream
        )

    async def _fetch(self) -> list[JetStreamMessage]:
        if self._closed:
            raise SourceUnavailable("stopped")
        self._fetching = asyncio.current_task()
        try:
            found = await self._subscription.fetch(BATCH, timeout=WAIT)
        except TimeoutError:
            settings = self._settings
            manager = self._connection.jetstream()
            await manager.consumer_info(settings.stream, settings.consumer)
            return []
        finally:
            self._fetching = None
        return [_message(each) for each in found]

    def _interrupt(self) -> None:
        self._closed = True
        if self._fetching is not None:
            self._fetching.cancel()

    async def _close(self) -> None:
        self._interrupt()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _quiet(error: Exception) -> None:
    """Log nothing: what goes wrong shows when messages are fetched."""


def _message(given: Any) -> JetStreamMessage:
    headers = dict(given.headers or {})
    deliveries = given.metadata.num_delivered or 1
    return JetStreamMessage(given.data, headers, deliveries, given)
