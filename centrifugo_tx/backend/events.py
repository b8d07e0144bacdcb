"""The events for which the server calls a backend, and how a call is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeAlias, TypeVar

import msgspec

from .outcomes import Disconnect, Error, InvalidRequest
from .requests import (
    ConnectRequest,
    MapPublishRequest,
    MapRemoveRequest,
    PublishRequest,
    RefreshRequest,
    RPCRequest,
    SharedPollRefreshRequest,
    SubRefreshRequest,
    SubscribeRequest,
)
from .results import (
    ConnectResult,
    MapPublishResult,
    MapRemoveResult,
    PublishResult,
    RefreshResult,
    RPCResult,
    SharedPollRefreshResult,
    SubRefreshResult,
    SubscribeResult,
    as_json,
)
from .signatures import TOLERANCE, verify_signature

__all__ = [
    "CONNECT",
    "MAP_PUBLISH",
    "MAP_REMOVE",
    "PUBLISH",
    "REFRESH",
    "RPC",
    "SHARED_POLL_REFRESH",
    "SUBSCRIBE",
    "SUB_REFRESH",
    "Event",
    "Outcome",
    "Webhook",
]

Request = TypeVar("Request", bound=msgspec.Struct)
Result = TypeVar("Result", bound=msgspec.Struct)

#: The outcomes of a call.
Outcome: TypeAlias = Result | Error | Disconnect | None


class Event(msgspec.Struct, Generic[Request, Result], frozen=True):
    """A kind of call: its name, and the types of request and result."""

    name: str
    request: type[Request]
    result: type[Result]

    def decode(self, body: bytes) -> Request:
        """Return the request in the body of a call.

        :raises InvalidRequest: with status 400, the body is malformed.
        """
        try:
            return msgspec.json.decode(body, type=self.request)
        except msgspec.DecodeError as error:
            raise InvalidRequest(400, f"no {self.name} request: {error}") from None

    def encode(self, outcome: Outcome[Result]) -> bytes:
        """Return the body of the response; None answers without a result.

        :raises TypeError: this event has no such result, or it holds a value that
            cannot be encoded to JSON.
        """
        if outcome is None:
            return b"{}"
        if isinstance(outcome, Error):
            error = {"code": outcome.code, "message": outcome.message}
            temporary = {"temporary": True} if outcome.temporary else {}
            return msgspec.json.encode({"error": error | temporary})
        if isinstance(outcome, Disconnect):
            disconnect = {"code": outcome.code, "reason": outcome.reason}
            return msgspec.json.encode({"disconnect": disconnect})
        if not isinstance(outcome, self.result):
            raise TypeError(f"{outcome!r} is no result of the event {self.name}")
        return b'{"result":%b}' % as_json(outcome)


CONNECT = Event("connect", ConnectRequest, ConnectResult)
REFRESH = Event("refresh", RefreshRequest, RefreshResult)
SUBSCRIBE = Event("subscribe", SubscribeRequest, SubscribeResult)
SUB_REFRESH = Event("sub_refresh", SubRefreshRequest, SubRefreshResult)
PUBLISH = Event("publish", PublishRequest, PublishResult)
RPC = Event("rpc", RPCRequest, RPCResult)
MAP_PUBLISH = Event("map_publish", MapPublishRequest, MapPublishResult)
MAP_REMOVE = Event("map_remove", MapRemoveRequest, MapRemoveResult)
SHARED_POLL_REFRESH = Event(
    "shared_poll_refresh", SharedPollRefreshRequest, SharedPollRefreshResult
)


class Webhook(msgspec.Struct, Generic[Request, Result], frozen=True):
    """Reads and answers the requests of one event, for any web framework.

    With ``secrets``, only requests that one of them has signed are accepted, if their
    time is at most ``tolerance`` seconds away.
    """

    event: Event[Request, Result]
    secrets: tuple[str | bytes, ...] = ()
    tolerance: float = TOLERANCE

    def read(self, body: bytes, signature: str | None) -> Request:
        """Return the request.

        :param signature: the value of the header ``X-Centrifugo-Signature``.
        :raises InvalidRequest: it has no valid signature, or is malformed.
        """
        if self.secrets:
            verify_signature(signature, body, self.secrets, tolerance=self.tolerance)
        return self.event.decode(body)

    def answer(
        self,
        body: bytes,
        signature: str | None,
        handle: Callable[[Request], Outcome[Result]],
    ) -> bytes:
        """Return the body of the response to a call, which *handle* decides.

        :raises InvalidRequest: see `read`; answer with its ``status``.
        """
        request = self.read(body, signature)
        outcome: Outcome[Result]
        try:
            outcome = handle(request)
        except (Error, Disconnect) as decided:
            outcome = decided
        return self.event.encode(outcome)

    async def answer_async(
        self,
        body: bytes,
        signature: str | None,
        handle: Callable[[Request], Awaitable[Outcome[Result]]],
    ) -> bytes:
        """Do as `answer` does, with a coroutine function."""
        request = self.read(body, signature)
        outcome: Outcome[Result]
        try:
            outcome = await handle(request)
        except (Error, Disconnect) as decided:
            outcome = decided
        return self.event.encode(outcome)


def webhook_of(
    event: Event[Request, Result],
    secrets: str | bytes | Iterable[str | bytes],
    tolerance: float,
) -> Webhook[Request, Result]:
    """Return the webhook of a view.

    :raises ValueError: one of the secrets is empty.
    """
    known = (secrets,) if isinstance(secrets, (str, bytes)) else tuple(secrets)
    if not all(known):
        raise ValueError("a secret must not be empty")
    return Webhook(event, known, tolerance)
