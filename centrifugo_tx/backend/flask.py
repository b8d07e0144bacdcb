"""Views of Flask that answer the server's calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import Any, Concatenate, TypeVar

import msgspec
from flask import Response, request

from .events import Event, Outcome, Webhook, webhook_of
from .outcomes import MAX_BODY, InvalidRequest
from .signatures import SIGNATURE_HEADER, TOLERANCE

__all__ = ["proxy_view"]

Request = TypeVar("Request", bound=msgspec.Struct)
Result = TypeVar("Result", bound=msgspec.Struct)


def proxy_view(
    event: Event[Request, Result],
    *,
    secrets: str | bytes | Iterable[str | bytes] = (),
    tolerance: float = TOLERANCE,
    max_body: int = MAX_BODY,
) -> Callable[
    [
        Callable[
            Concatenate[Request, ...],
            Outcome[Result] | Awaitable[Outcome[Result]],
        ]
    ],
    Callable[..., Any],
]:
    """Make a view of a function, which may be a coroutine function.

    It receives the request of the event and what the URL names, and returns a result,
    an `Error`, a `Disconnect` or None; it may raise the two.  Register the view with
    ``app.post``.

    :param secrets: accept only requests that one of them has signed.
    :param tolerance: how old a signature may be, in seconds.
    :param max_body: the largest request, in bytes.
    """
    return partial(_view, webhook_of(event, secrets, tolerance), max_body)


def _view(
    hook: Webhook[Any, Any], max_body: int, function: Callable[..., Any]
) -> Callable[..., Any]:
    @wraps(function)
    def view(*args: Any, **kwargs: Any) -> Response:
        def handle(call: Any) -> Any:
            return function(call, *args, **kwargs)

        try:
            return _response(hook.answer(*_read(max_body), handle))
        except InvalidRequest as error:
            return _refusal(error)

    @wraps(function)
    async def async_view(*args: Any, **kwargs: Any) -> Response:
        async def handle(call: Any) -> Any:
            return await function(call, *args, **kwargs)

        try:
            return _response(await hook.answer_async(*_read(max_body), handle))
        except InvalidRequest as error:
            return _refusal(error)

    return async_view if iscoroutinefunction(function) else view


def _read(max_body: int) -> tuple[bytes, str | None]:
    """Return the body and the signature."""
    if (request.content_length or 0) > max_body:
        raise InvalidRequest(413, f"the request has more than {max_body} bytes")
    return request.get_data(), request.headers.get(SIGNATURE_HEADER)


def _response(body: bytes) -> Response:
    return Response(body, content_type="application/json")


def _refusal(error: InvalidRequest) -> Response:
    return Response(str(error), error.status, content_type="text/plain")
