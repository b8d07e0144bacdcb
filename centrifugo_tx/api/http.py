"""The server API over HTTP (server API, 1 to 5)."""

from collections.abc import Callable, Iterator
from hmac import compare_digest
from json import JSONDecoder
from typing import Any, Literal
from urllib.parse import parse_qs

import msgspec
from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..core import drive
from ..options import Answer
from ..protocol.codes import BAD_REQUEST, Error
from ..protocol.messages import EMPTY, Raw
from . import messages as m
from .methods import IN_BATCH, METHODS, NOT_FOUND, Api, Method

__all__ = ["HTTPAPIOptions", "http_handlers"]

Handler = Callable[[Any], "Answer | Deferred[Answer]"]

_JSON = "application/json"
_BAD = Answer(400, b"Bad Request\n", "text/plain; charset=utf-8")
_BROKEN = Answer(500, b"Internal Server Error\n", "text/plain; charset=utf-8")

#: HTTP statuses of errors in transport mode (3).
_STATUSES = {100: 500, 102: 404, 104: 404, 107: 400, 108: 400, 112: 416, 113: 409}

_encode = msgspec.json.Encoder().encode


class HTTPAPIOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The section ``http_api`` of the configuration."""

    disabled: bool = False
    """Do not serve the HTTP API."""
    handler_prefix: str = "/api"
    """The path under which the methods stand."""
    key: str = ""
    """The key that callers must show; without one every call is refused."""
    error_mode: Literal["", "transport"] = ""
    """``transport``: API errors become HTTP statuses."""
    external: bool = False
    """Serve the API on the external port."""
    insecure: bool = False
    """Ask for no key."""


def http_handlers(api: Api, options: HTTPAPIOptions) -> dict[bytes, Handler]:
    """Return the handlers by path: one per method, and the old style's."""
    prefix = options.handler_prefix.rstrip("/")
    door = _Door(options)
    handlers: dict[bytes, Handler] = {}
    for method in METHODS.values():
        handlers[f"{prefix}/{method.name}".encode()] = _NewStyle(api, door, method)
    old = _OldStyle(api, door)
    handlers[(prefix or "/").encode()] = handlers[f"{prefix}/".encode()] = old
    return handlers


@define(eq=False)
class _Door:
    """Lets in who shows the key (1.1)."""

    _options: HTTPAPIOptions
    _log = Logger()

    def refusal(self, request: Any) -> Answer | None:
        """Return why *request* may not come in, None if it may."""
        if request.method != b"POST":
            return Answer(405)
        if self._options.insecure or self._shows_key(request):
            return None
        return Answer(401)

    def _shows_key(self, request: Any) -> bool:
        key = self._options.key.encode()
        if not key:
            self._log.error("API key is empty")
            return False
        shown = request.getHeader(b"x-api-key") or b""
        if not shown:
            words = (request.getHeader(b"authorization") or b"").split()
            if len(words) == 2 and words[0].lower() == b"apikey":
                shown = words[1]
        if compare_digest(shown, key):
            return True
        query: bytes = request.uri.partition(b"?")[2]
        shown = parse_qs(query).get(b"api_key", [b""])[0] if query else b""
        return compare_digest(shown, key)

    def transport_errors(self, request: Any) -> bool:
        """Whether errors are to become HTTP statuses (3)."""
        if self._options.error_mode == "transport":
            return True
        asked: bytes | None = request.getHeader(b"x-centrifugo-error-mode")
        return asked == b"transport"


@define(eq=False)
class _NewStyle:
    """``POST {prefix}/{method}``: the body is the request (2)."""

    _api: Api
    _door: _Door
    _method: Method

    def __call__(self, http: Any) -> "Answer | Deferred[Answer]":
        refusal = self._door.refusal(http)
        if refusal is not None:
            return refusal
        method = self._method
        try:
            request = _decode(http.content.read(), method.request)
        except ValueError:
            self._api.count_error("http", method.name, "unmarshal")
            return _BAD
        outcome = self._api.call(method, request, "http")
        if isinstance(outcome, Deferred):
            return outcome.addCallback(self._answer, http)
        return self._answer(outcome, http)

    def _answer(self, outcome: m.Result | Error, http: Any) -> Answer:
        if isinstance(outcome, Error):
            error = {"code": outcome.code, "message": outcome.message}
            if self._door.transport_errors(http) and self._method.name != "batch":
                status = _STATUSES.get(outcome.code, 500)
                return Answer(status, _encode(error), _JSON)
            return Answer(200, _encode({"error": error}), _JSON)
        whole = outcome if self._method.name == "batch" else {"result": outcome}
        body = _sound(_encode(whole))
        if body is None:
            self._api.count_error("http", self._method.name, "marshal")
            return _BROKEN
        return Answer(200, body, _JSON)


def _decode(body: bytes, request: type[m.Request]) -> m.Request:
    """Return the request in *body*; ``null`` is an empty one.

    :raises ValueError: it is none.
    """
    if body.strip() == b"null":
        return request()
    decoded: m.Request = msgspec.json.decode(body, type=request)
    if not body.isascii():
        body.decode()
    return decoded


def _sound(body: bytes) -> bytes | None:
    """Return *body*, or None if a payload in it is no JSON (1.2)."""
    try:
        msgspec.json.decode(body, type=Raw)
        body.decode()
    except ValueError:
        return None
    return body


class _OldCommand(msgspec.Struct, frozen=True):
    id: m.UInt32 = 0
    method: str | int = 0
    params: Raw = EMPTY


_BY_CODE = {method.code: method for method in METHODS.values()}
#: Integers that old clients know methods by, served here or not (5.1).
_CODES = range(0, 40)


@define(eq=False)
class _OldStyle:
    """``POST {prefix}``: commands one after another in one body (5)."""

    _api: Api
    _door: _Door

    def __call__(self, http: Any) -> "Answer | Deferred[Answer]":
        refusal = self._door.refusal(http)
        if refusal is not None:
            return refusal
        if self._api.node.stopping:
            return Answer(503)
        body = http.content.read()
        if not body:
            return _BAD
        return drive(self._run(body))

    async def _run(self, body: bytes) -> Answer:
        replies = []
        try:
            for command in _commands(body):
                replies.append(await self._reply(command))
        except ValueError:
            self._api.count_error("http", "unknown", "unmarshal")
            return _BAD
        joined = b"\n".join(replies)
        if any(_sound(reply) is None for reply in replies):
            return _BROKEN
        return Answer(200, joined, _JSON)

    async def _reply(self, command: _OldCommand) -> bytes:
        """Run one command.

        :raises ValueError: nobody ever had a method of this name.
        """
        wanted = command.method
        if isinstance(wanted, str):
            method = IN_BATCH.get(wanted.lower())
            if method is None:
                raise ValueError(f"unknown method {wanted!r}")
        else:
            method = _BY_CODE.get(wanted)
        if method is None:
            return _old_reply(command.id, NOT_FOUND)
        try:
            params = bytes(command.params)
            if method.name == "info":
                params = b"{}"
            request = _decode(params, method.request)
        except ValueError:
            return _old_reply(command.id, BAD_REQUEST)
        outcome = self._api.call(method, request, "http")
        if isinstance(outcome, Deferred):
            outcome = await outcome
        return _old_reply(command.id, outcome)


def _commands(body: bytes) -> Iterator[_OldCommand]:
    """Take a body of JSON objects apart, with anything blank between them.

    :raises ValueError: it is something else.
    """
    text = body.decode()
    scan = JSONDecoder().raw_decode
    at = 0
    while True:
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        if at == len(text):
            return
        try:
            _, end = scan(text, at)
        except RecursionError:
            raise ValueError("too deep") from None
        yield msgspec.json.decode(text[at:end].encode(), type=_OldCommand)
        at = end


def _old_reply(id: int, outcome: m.Result | Error) -> bytes:
    parts: dict[str, Any] = {"id": id} if id else {}
    if isinstance(outcome, Error):
        parts["error"] = {"code": outcome.code, "message": outcome.message}
    else:
        parts["result"] = outcome
    return _encode(parts)
