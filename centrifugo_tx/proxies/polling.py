"""Polls of keys from a backend (event proxies, "Shared poll refresh")."""

from collections.abc import Sequence
from typing import Protocol

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred, DeferredSemaphore

from ..options import Polled
from ..protocol.lenient_json import as_strict_json
from ..protocol.messages import EMPTY, KeyedItem, Publication, Raw
from .http import BackendFailed

__all__ = ["Polling"]


class _Request(msgspec.Struct, frozen=True):
    channel: str
    items: Sequence[KeyedItem]


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a response; an unknown name leads to lenient decoding."""


class _Item(_Said, frozen=True):
    key: str = ""
    data: Raw = EMPTY
    version: int = 0
    removed: bool = False
    prev_data: Raw = EMPTY


class _Result(_Said, frozen=True):
    items: list[_Item] = []
    epoch: str = ""


class _Error(_Said, frozen=True):
    code: int = 0
    message: str = ""


class _Response(_Said, frozen=True):
    result: _Result | None = None
    error: _Error | None = None


class Backend(Protocol):
    """Sends a request to a backend."""

    def post(self, body: bytes) -> "Deferred[bytes]":
        """Return the body of the response; fails with `BackendFailed`."""

    def stop(self) -> "Deferred[None]":
        """Close the idle connections."""


@define(eq=False)
class Polling:
    """Polls one backend; ``turns`` limits the number of concurrent calls.

    Several backends may share ``turns``.
    """

    _backend: Backend
    _turns: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(64))

    def __call__(self, channel: str, items: Sequence[KeyedItem]) -> "Deferred[Polled]":
        """Return the keys that have changed.  Fails with `BackendFailed`."""
        body = msgspec.json.encode(_Request(channel, items))
        answered: Deferred[bytes] = self._turns.run(self._backend.post, body)
        return answered.addCallback(_polled)

    def stop(self) -> "Deferred[None]":
        """Stop polling."""
        return self._backend.stop()


def _polled(body: bytes) -> Polled:
    """Decode a response; one without a result has no changes.

    :raises BackendFailed: it contains an error, or is malformed.
    """
    try:
        try:
            response = msgspec.json.decode(body, type=_Response)
        except msgspec.DecodeError:
            response = msgspec.json.decode(
                as_strict_json(body, _Response), type=_Response
            )
    except ValueError as reason:
        raise BackendFailed(f"malformed response: {reason}") from None
    if response.error is not None:
        raise BackendFailed(f"error {response.error.code}: {response.error.message}")
    result = response.result or _Result()
    items = [
        Publication(
            data=each.data.copy() if each.data is not EMPTY else EMPTY,
            key=each.key,
            version=each.version,
            removed=each.removed,
        )
        for each in result.items
    ]
    return Polled(items, result.epoch)
