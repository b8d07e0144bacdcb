"""API commands that come from queues and databases instead of requests.

See consumers, "Consumer messages" and "Consumer delivery".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..bounded_log import BoundedLog
from ..core.time_slices import Slices
from ..protocol.codes import INTERNAL
from ..protocol.messages import EMPTY, Raw
from ..protocol.payloads import checked
from . import api_messages as m
from .api import NOT_FOUND, Api
from .api_json import decode
from .methods import METHODS

__all__ = ["CONSUMED", "Dispatcher"]

#: The methods that messages may ask for.
CONSUMED = (
    *("publish", "broadcast", "subscribe", "unsubscribe", "disconnect"),
    *("history_remove", "refresh"),
)


class _Envelope(msgspec.Struct):
    """A command with its method; the payload may be JSON inside a JSON string."""

    method: str = ""
    payload: Raw = EMPTY


@define(eq=False)
class Dispatcher:
    """Calls the API for the messages of one consumer.

    Both methods return ``""`` when the message is dealt with, which includes one
    that can never succeed: it is logged, counted, and left behind.  Anything else
    is why the message has to be tried again.

    :param consumer: the name of the consumer, for the log.
    """

    _api: Api
    consumer: str
    _log: BoundedLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._log = BoundedLog(Logger(), self._api.node.clock)

    def slices(self) -> Slices:
        """Return what cuts a batch of messages into slices, one for a turn."""
        return self._api.slices()

    def command(self, method: str, body: bytes) -> "str | Deferred[str]":
        """Run a command: *body* is its request or, without *method*, an envelope."""
        if not method:
            try:
                envelope = decode(body, _Envelope)
                method, body = envelope.method, _unwrapped(envelope.payload)
            except (ValueError, RecursionError) as error:
                return self._malformed("unknown", error)
        if method not in CONSUMED:
            self._log.error(
                "skip unsupported API command method",
                consumer=self.consumer,
                method=method,
            )
            self._api.count_error("unknown", str(NOT_FOUND.code))
            return ""
        try:
            request = decode(body, METHODS[method].request)
        except (ValueError, RecursionError) as error:
            return self._malformed(method, error)
        return self._call(method, request)

    def publication(
        self,
        channels: Sequence[str],
        data: bytes,
        *,
        idempotency_key: str = "",
        delta: bool = False,
        tags: Mapping[str, str] | None = None,
        version: int = 0,
        version_epoch: str = "",
    ) -> "str | Deferred[str]":
        """Publish *data* into one channel, or broadcast it into several."""
        rest: dict[str, Any] = {
            "data": checked(data),
            "idempotency_key": idempotency_key,
            "delta": delta,
            "tags": dict(tags or {}),
            "version": version,
            "version_epoch": version_epoch,
        }
        if len(channels) == 1:
            return self._call("publish", m.PublishRequest(channel=channels[0], **rest))
        return self._call("broadcast", m.BroadcastRequest(channels=[*channels], **rest))

    def _call(self, method: str, request: m.Request) -> "str | Deferred[str]":
        result = self._api.call(METHODS[method], request)
        if isinstance(result, Deferred):
            return result.addCallback(self._outcome, method)
        return self._outcome(result, method)

    def _outcome(self, result: m.Result, method: str) -> str:
        if isinstance(result, m.Error):
            if result.code == INTERNAL.code:
                return result.message
            self._log.error(
                "non retryable error during consuming, skip message",
                ("method", "code"),
                consumer=self.consumer,
                method=method,
                code=result.code,
                error=result.message,
            )
        elif isinstance(result, m.BroadcastResult):
            for each in result.responses:
                if each.error is not None and each.error.code == INTERNAL.code:
                    return each.error.message
        return ""

    def _malformed(self, method: str, error: Exception) -> str:
        """Leave a message behind that cannot be read."""
        self._log.error(
            "skip malformed consumed message",
            ("method",),
            consumer=self.consumer,
            method=method,
            error=str(error),
        )
        self._api.count_error(method, "unmarshal")
        return ""


def _unwrapped(payload: Raw) -> bytes:
    body = bytes(payload)
    if body[:1] == b'"':
        body = msgspec.json.decode(body, type=str).encode()
    return body
