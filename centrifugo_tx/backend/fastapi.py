"""Endpoints of FastAPI that answer the server's calls."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Concatenate, TypeVar

import msgspec
from fastapi import Request as HTTPRequest
from fastapi import Response
from fastapi.concurrency import run_in_threadpool

from .events import Event, Outcome, Webhook, webhook_of
from .outcomes import MAX_BODY, InvalidRequest
from .signatures import SIGNATURE_HEADER, TOLERANCE

__all__ = ["proxy_view"]

Request = TypeVar("Request", bound=msgspec.Struct)
Result = TypeVar("Result", bound=msgspec.Struct)

#: The parameter for the HTTP request, where the function has none.
_HTTP = "http_request_of_the_call"


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
    Callable[..., Awaitable[Response]],
]:
    """Make an endpoint of a function, which may be a coroutine function.

    Its first parameter receives the request of the event; FastAPI fills in the others,
    dependencies included.  It returns a result, an `Error`, a `Disconnect` or None; it
    may raise the two.  A function that is no coroutine function runs in a thread.
    Register the endpoint with ``app.post``.

    :param secrets: accept only requests that one of them has signed.
    :param tolerance: how old a signature may be, in seconds.
    :param max_body: the largest request, in bytes.
    """
    return partial(_endpoint, webhook_of(event, secrets, tolerance), max_body)


def _endpoint(
    hook: Webhook[Any, Any], max_body: int, function: Callable[..., Any]
) -> Callable[..., Awaitable[Response]]:
    call_function = function
    if not inspect.iscoroutinefunction(function):
        call_function = partial(run_in_threadpool, function)
    signature, http = _signature(function)

    async def endpoint(**given: Any) -> Response:
        request: HTTPRequest = given.pop(_HTTP) if http == _HTTP else given[http]

        async def handle(call: Any) -> Any:
            return await call_function(call, **given)

        try:
            body = await _body(request, max_body)
            header = request.headers.get(SIGNATURE_HEADER)
            answer = await hook.answer_async(body, header, handle)
        except InvalidRequest as error:
            return Response(str(error), error.status, media_type="text/plain")
        return Response(answer, media_type="application/json")

    # Not functools.wraps: FastAPI would find the function below, and its parameters.
    endpoint.__name__ = function.__name__
    endpoint.__doc__ = function.__doc__
    endpoint.__module__ = function.__module__
    endpoint.__signature__ = signature  # type: ignore[attr-defined]
    return endpoint


def _signature(function: Callable[..., Any]) -> tuple[inspect.Signature, str]:
    """Return what FastAPI is to fill in, and which of it is the HTTP request.

    That is all but the first parameter, and the HTTP request in any case.  FastAPI
    fills in one parameter of this type only.
    """
    kind = inspect.Parameter.KEYWORD_ONLY
    others = inspect.signature(function, eval_str=True).parameters.values()
    parameters = [parameter.replace(kind=kind) for parameter in others][1:]
    for parameter in parameters:
        given = parameter.annotation
        if isinstance(given, type) and issubclass(given, HTTPRequest):
            http = parameter.name
            break
    else:
        http = _HTTP
        parameters.append(inspect.Parameter(http, kind, annotation=HTTPRequest))
    return inspect.Signature(parameters, return_annotation=Response), http


async def _body(request: HTTPRequest, max_body: int) -> bytes:
    """Return the body.

    :raises InvalidRequest: it has more than *max_body* bytes.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > max_body:
            raise InvalidRequest(413, f"the request has more than {max_body} bytes")
    return bytes(body)
