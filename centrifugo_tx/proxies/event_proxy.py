"""One kind of event, put to one backend: bounded, measured and logged."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ..bounded_log import BoundedLog
from ..errors import DisconnectClient, ReplyError
from ..interfaces import IClient, IEventProxy
from ..metrics import Counter, Histogram, Metrics
from ..protocol.codes import CONNECTION_CLOSED, INTERNAL
from ..protocol.messages import EMPTY, Raw
from ..protocol.payloads import matches_format
from ..proxy_messages import ClientEvent, ProxyEvent, ProxyResponse
from .call_limiter import CallLimiter
from .client import BackendFailed, Forwarded, ProxyClient
from .headers import HeaderRules
from .options import ProxyOptions

__all__ = ["EventProxy"]

#: The largest code that the protocol can carry.
_MAX_CODE = 2**32 - 1


@implementer(IEventProxy)
@define(eq=False)
class EventProxy:
    """Asks one backend about one kind of event.

    At most ``max_concurrent_calls`` run at the same time, at most ``max_queued_calls``
    wait, and each takes ``timeout`` seconds at most, its time in the queue included.
    """

    event: ProxyEvent
    name: str
    _backend: ProxyClient
    _options: ProxyOptions
    _clock: IReactorTime
    _metrics: Metrics
    limiter: CallLimiter = field(init=False)
    _headers: HeaderRules = field(init=False)
    _duration: Histogram = field(init=False)
    _errors: Counter = field(init=False)
    _inflight: Counter = field(init=False)
    _log: BoundedLog = field(init=False)
    #: Whether requests are JSON, so that payloads in them must be.
    _embeds_json: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        options, metrics = self._options, self._metrics
        self._embeds_json = self._backend.protocol == "http"
        self.limiter = CallLimiter(
            options.max_concurrent_calls, options.max_queued_calls
        )
        self._headers = HeaderRules(options)
        labels = {
            "protocol": self._backend.protocol,
            "type": self.event.name,
            "name": self.name,
        }
        self._duration = metrics.histogram("proxy_duration_seconds_histogram", **labels)
        self._errors = metrics.counter("proxy_errors", **labels)
        self._inflight = metrics.counter("proxy_inflight_requests", **labels)
        self._log = BoundedLog(Logger(), self._clock)

    def ask(
        self, client: IClient, event: Any, emulated: Mapping[str, str] | None = None
    ) -> "Deferred[ProxyResponse[Any]]":
        """Put the event of a client to the backend; see `IEventProxy`."""
        asked: Deferred[ProxyResponse[Any]] = Deferred.fromCoroutine(
            self._ask(client, event, emulated)
        )
        if not asked.called:
            client.cancel_on_close(asked)
        return asked

    async def _ask(
        self, client: IClient, event: Any, emulated: Mapping[str, str] | None
    ) -> ProxyResponse[Any]:
        info = client.transport.info
        given = client.emulated_headers if emulated is None else emulated
        try:
            request = self.complete(client, event)
            headers = self._headers.select(info, given)
            response = await self.call(request, headers, client)
        except BackendFailed as error:
            self._log.error(
                "proxy call failed",
                ("event", "proxy"),
                event=self.event.name,
                proxy=self.name,
                client=client.id,
                user=client.user,
                error=str(error),
            )
            raise ReplyError(INTERNAL, "proxy call failed") from None
        return response

    def complete(self, client: IClient, event: ClientEvent) -> ClientEvent:
        """Return *event* with the fields that all events of clients have.

        :raises BackendFailed: its data is not JSON, and is to be sent as such.
        """
        info, options = client.transport.info, self._options
        changes: dict[str, Any] = {
            "client": client.id,
            "transport": info.name,
            "protocol": info.protocol,
            "encoding": "binary" if options.binary_encoding else "json",
        }
        data: Raw = getattr(event, "data", EMPTY)
        if data is not EMPTY:
            if options.binary_encoding:
                changes["data"] = EMPTY
                changes["b64data"] = b64encode(bytes(data)).decode()
            elif self._embeds_json and not (
                info.protocol == "json" or matches_format(data, "json")
            ):
                # Data of a JSON client has been parsed with its command.
                raise BackendFailed("the client's data is not JSON")
        meta = client.meta
        wanted = options.include_connection_meta and hasattr(event, "meta")
        if wanted and meta is not EMPTY:
            if self._embeds_json and not matches_format(meta, "json"):
                raise BackendFailed("the connection's meta is not JSON")
            changes["meta"] = meta
        return msgspec.structs.replace(event, **changes)

    async def call(
        self, request: Any, headers: Forwarded, client: IClient | None = None
    ) -> ProxyResponse[Any]:
        """Send a complete request, and count it.

        :raises BackendFailed: the backend gave no valid response.
        :raises DisconnectClient: 3000, *client* has gone meanwhile.
        """
        began = self._clock.seconds()
        self._inflight.value += 1
        try:
            asked: Deferred[ProxyResponse[Any]] = Deferred.fromCoroutine(
                self._send(request, headers)
            )
            asked.addTimeout(self._options.timeout, self._clock, _raise_timeout)
            response = await asked
        except Exception:
            if client is not None and client.closed:
                raise DisconnectClient(CONNECTION_CLOSED) from None
            self._duration.observe(self._clock.seconds() - began)
            self._errors.value += 1
            raise
        finally:
            self._inflight.value -= 1
        if client is not None and client.closed:
            raise DisconnectClient(CONNECTION_CLOSED)
        self._duration.observe(self._clock.seconds() - began)
        return response

    async def _send(self, request: Any, headers: Forwarded) -> ProxyResponse[Any]:
        place = self.limiter.acquire()
        if place is not None:
            await place
        try:
            response = await self._backend.call(self.event, request, headers)
        finally:
            self.limiter.release()
        for said in (response.disconnect, response.error):
            if said is not None and not 0 < said.code <= _MAX_CODE:
                raise BackendFailed(f"the code {said.code} is not a code")
        return response

    def count_error(self) -> None:
        """Count a response that is of no use."""
        self._errors.value += 1

    def stop(self) -> "Deferred[None]":
        """Close the connections to the backend."""
        self._log.flush()
        return self._backend.stop()


def _raise_timeout(outcome: object, timeout: float) -> NoReturn:
    raise BackendFailed(f"no complete response within {timeout:g} s")
