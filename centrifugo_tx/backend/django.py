"""Views of Django that answer the server's calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import Any, Concatenate, TypeVar

import msgspec
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

from .events import Event, Outcome, Webhook, webhook_of
from .outcomes import InvalidRequest
from .signatures import SIGNATURE_HEADER, TOLERANCE

__all__ = ["proxy_view"]

Request = TypeVar("Request", bound=msgspec.Struct)
Result = TypeVar("Result", bound=msgspec.Struct)


def proxy_view(
    event: Event[Request, Result],
    *,
    secrets: str | bytes | Iterable[str | bytes] = (),
    tolerance: float = TOLERANCE,
) -> Callable[
    [
        Callable[
            Concatenate[HttpRequest, Request, ...],
            Outcome[Result] | Awaitable[Outcome[Result]],
        ]
    ],
    Callable[..., Any],
]:
    """Make a view of a function, which may be a coroutine function.

    It receives Django's request, the request of the event and what the URL names, and
    returns a result, an `Error`, a `Disconnect` or None; it may raise the two.  The
    view accepts POST only and needs no CSRF token.

    :param secrets: accept only requests that one of them has signed.
    :param tolerance: how old a signature may be, in seconds.
    """
    hook = webhook_of(event, secrets, tolerance)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        make = _async_view if iscoroutinefunction(function) else _view
        view = wraps(function)(make(function, hook))
        view.csrf_exempt = True  # type: ignore[attr-defined]  # how Django marks it
        return view

    return decorate


def _view(
    function: Callable[..., Any], hook: Webhook[Any, Any]
) -> Callable[..., HttpResponse]:
    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])

        def handle(call: Any) -> Any:
            return function(request, call, *args, **kwargs)

        try:
            return _response(hook.answer(*_read(request), handle))
        except InvalidRequest as error:
            return _refusal(error)

    return view


def _async_view(
    function: Callable[..., Any], hook: Webhook[Any, Any]
) -> Callable[..., Awaitable[HttpResponse]]:
    async def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])

        async def handle(call: Any) -> Any:
            return await function(request, call, *args, **kwargs)

        try:
            return _response(await hook.answer_async(*_read(request), handle))
        except InvalidRequest as error:
            return _refusal(error)

    return view


def _read(request: HttpRequest) -> tuple[bytes, str | None]:
    """Return the body, which ``DATA_UPLOAD_MAX_MEMORY_SIZE`` bounds, and signature."""
    return request.body, request.headers.get(SIGNATURE_HEADER)


_response = partial(HttpResponse, content_type="application/json")


def _refusal(error: InvalidRequest) -> HttpResponse:
    return HttpResponse(str(error), status=error.status, content_type="text/plain")
