"""The server API over HTTP (server API, "HTTP" and "Old style")."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from json import JSONDecoder
from typing import Any, Literal
from urllib.parse import parse_qs

import msgspec
from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..bounded_log import BoundedLog, address_of
from ..core import run_or_defer
from ..options import Answer
from ..protocol.codes import BAD_REQUEST
from ..protocol.errors import EncodeError
from ..protocol.json_text import MAX_DEPTH, too_deep
from ..protocol.messages import EMPTY, Raw
from . import api_messages as m
from .api import NOT_FOUND, Api, Method
from .api_json import decode, decode_batch, encode, encode_batch
from .api_key import APIKey
from .batches import BatchRequest
from .methods import IN_BATCH, METHODS
from .spans import Tracer

__all__ = ["BODY_LIMIT", "HTTPAPIOptions", "http_handlers", "keyless_legacy_handler"]

Handler = Callable[[Any], "Answer | Deferred[Answer]"]

_JSON = "application/json"
_BAD = Answer(400, b"Bad Request\n", "text/plain; charset=utf-8")
_BROKEN = Answer(500, b"Internal Server Error\n", "text/plain; charset=utf-8")
#: The headers that name the parent of a span (W3C Trace Context).
_TRACE_HEADERS = ("traceparent", "tracestate")

_scan = JSONDecoder().raw_decode

#: Largest request body, in bytes.
BODY_LIMIT = 16 * 1024 * 1024
#: Batches of more bytes than this are read in slices.
LARGE = 65536
#: HTTP statuses of errors in transport mode (server API, "API errors").
_STATUSES = {100: 500, 102: 404, 104: 404, 107: 400, 108: 400, 112: 416, 113: 409}


class HTTPAPIOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The section ``http_api`` of the configuration."""

    disabled: bool = False
    """Do not serve the HTTP API."""
    handler_prefix: str = "/api"
    """The path prefix of the methods."""
    key: str = ""
    """The key that callers must send; while it is empty, every call is refused."""
    error_mode: Literal["", "transport"] = ""
    """``transport``: API errors become HTTP statuses."""
    external: bool = False
    """Serve the API on the external port."""
    insecure: bool = False
    """Accept calls without a key."""


def http_handlers(api: Api, options: HTTPAPIOptions) -> dict[bytes, Handler]:
    """Return the handlers by path: one per method, and the legacy one."""
    prefix = options.handler_prefix.rstrip("/")
    log = BoundedLog(Logger(), api.node.clock)
    check = _RequestCheck(options, APIKey(options.key, log))
    handlers: dict[bytes, Handler] = {}
    for method in METHODS.values():
        handlers[f"{prefix}/{method.name}".encode()] = _MethodHandler(
            api, check, log, method
        )
    old = _LegacyHandler(api, check, log)
    handlers[(prefix or "/").encode()] = old
    return handlers


def keyless_legacy_handler(api: Api) -> Handler:
    """Return the handler of the old style for callers that are already authorized."""
    log = BoundedLog(Logger(), api.node.clock)
    check = _RequestCheck(HTTPAPIOptions(insecure=True), APIKey("", log))
    return _LegacyHandler(api, check, log)


@define(eq=False)
class _RequestCheck:
    """Admits POST requests that carry the API key; reads their error mode."""

    _options: HTTPAPIOptions
    _key: APIKey

    def refusal(self, request: Any) -> Answer | None:
        """Return the response that refuses *request*, or None."""
        if request.method != b"POST":
            return Answer(405)
        keys = list(_received_keys(request))
        if self._options.insecure or self._key.accepts(keys):
            return None
        self._key.log_refusal(any(keys), **_from(request))
        return Answer(401)

    def transport_errors(self, request: Any) -> bool:
        """Return whether errors become HTTP statuses (server API, "API errors")."""
        if self._options.error_mode == "transport":
            return True
        asked: bytes | None = request.getHeader(b"x-centrifugo-error-mode")
        return asked == b"transport"


@define(eq=False)
class _KeyedHandler(ABC):
    """Answers only POST requests that carry the API key."""

    _api: Api
    _check: _RequestCheck
    _log: BoundedLog

    def refusal(self, http: Any) -> Answer | None:
        """Return the answer that refuses *http*, before its body is read, or None."""
        return self._check.refusal(http)

    def __call__(self, http: Any) -> "Answer | Deferred[Answer]":
        refusal = self._check.refusal(http)
        if refusal is not None:
            return refusal
        tracer = self._api.tracer
        return self._run(http) if tracer is None else self._trace(tracer, http)

    def _trace(self, tracer: Tracer, http: Any) -> "Answer | Deferred[Answer]":
        """Answer a request within a span of its own."""
        path: bytes = http.uri.partition(b"?")[0]
        found = {name: http.getHeader(name.encode()) for name in _TRACE_HEADERS}
        headers = {
            name: value.decode("latin-1") for name, value in found.items() if value
        }
        span = self._api.span = tracer.begin(f"POST {path.decode('latin-1')}", headers)
        try:
            answer = self._run(http)
        except Exception:
            span.end(500)
            raise
        finally:
            self._api.span = None

        def answered(answer: Answer) -> Answer:
            span.end(answer.status)
            return answer

        if isinstance(answer, Deferred):
            return answer.addCallback(answered)
        return answered(answer)

    @abstractmethod
    def _run(self, http: Any) -> "Answer | Deferred[Answer]":
        """Answer a request that has passed."""


@define(eq=False)
class _MethodHandler(_KeyedHandler):
    """``POST {prefix}/{method}``: the body is the request (server API, "Envelope")."""

    _method: Method

    def _run(self, http: Any) -> "Answer | Deferred[Answer]":
        method, body = self._method, http.content.read()
        if method.request is BatchRequest and len(body) > LARGE:
            return run_or_defer(self._run_large(body, http))
        try:
            request = decode(body, method.request)
        except ValueError as error:
            return self._malformed(http, error)
        outcome = self._api.call(method, request)
        if isinstance(outcome, Deferred):
            return outcome.addCallback(self._answer, http)
        return self._answer(outcome, http)

    async def _run_large(self, body: bytes, http: Any) -> Answer:
        """Run a batch whose parsing alone takes several turns of the reactor."""
        slices = self._api.slices()
        try:
            request = await decode_batch(body, slices)
        except ValueError as error:
            return self._malformed(http, error)
        outcome = self._api.call(self._method, request)
        if isinstance(outcome, Deferred):
            outcome = await outcome
        if not isinstance(outcome, m.BatchResult):
            return self._answer(outcome, http)
        try:
            return Answer(200, await encode_batch(outcome, slices), _JSON)
        except EncodeError as error:
            return self._broken(error)

    def _malformed(self, http: Any, error: ValueError) -> Answer:
        self._api.count_error(self._method.name, "unmarshal")
        _log_malformed(self._log, http, self._method.name, error)
        return _BAD

    def _broken(self, error: EncodeError) -> Answer:
        self._api.count_error(self._method.name, "marshal")
        _log_broken(self._log, self._method.name, error)
        return _BROKEN

    def _answer(self, outcome: m.Result, http: Any) -> Answer:
        if isinstance(outcome, m.Error):
            if self._check.transport_errors(http):
                status = _STATUSES.get(outcome.code, 500)
                return Answer(status, encode(outcome), _JSON)
            return Answer(200, encode({"error": outcome}), _JSON)
        batch = isinstance(outcome, m.BatchResult)
        try:
            body = encode(outcome if batch else {"result": outcome})
        except EncodeError as error:
            return self._broken(error)
        return Answer(200, body, _JSON)


def _received_keys(request: Any) -> Iterator[bytes]:
    """Yield the keys that *request* carries; only the first header counts.

    See server API, "API keys".
    """
    key: bytes = request.getHeader(b"x-api-key") or b""
    if not key:
        words = (request.getHeader(b"authorization") or b"").split()
        if len(words) == 2 and words[0].lower() == b"apikey":
            key = words[1]
    if key:
        yield key
    query: bytes = request.uri.partition(b"?")[2]
    if query:
        yield from parse_qs(query).get(b"api_key", [])[:1]


def _from(request: Any) -> dict[str, Any]:
    """Return the log fields of *request*: path and address, no secrets."""
    path: bytes = request.uri.partition(b"?")[0]
    fields: dict[str, Any] = {"path": path.decode(errors="replace")}
    if addr := address_of(request):
        fields["addr"] = addr
    return fields


def _log_malformed(log: BoundedLog, http: Any, method: str, error: ValueError) -> None:
    log.warn(
        "error decoding API request body",
        ("method",),
        method=method,
        error=str(error),
        **_from(http),
    )


def _log_broken(log: BoundedLog, method: str, error: EncodeError) -> None:
    log.warn(
        "error encoding API response", ("method",), method=method, error=str(error)
    )


class _LegacyCommand(msgspec.Struct, frozen=True):
    method: Raw = EMPTY
    id: m.UInt32 = 0
    params: Raw = EMPTY


_BY_CODE = {method.code: method for method in IN_BATCH.values()}
#: Methods of the reference that this server does not have (server API, "Method
#: numbers").
_ELSEWHERE = frozenset(
    (
        *("connections", "update_user_status", "get_user_status"),
        *("delete_user_status", "block_user", "unblock_user", "revoke_token"),
        *("invalidate_user_tokens", "device_register", "device_update"),
        *("device_remove", "device_list", "device_topic_list"),
        *("device_topic_update", "user_topic_list", "user_topic_update"),
        *("send_push_notification", "update_push_status", "cancel_push"),
    )
)


@define(eq=False)
class _LegacyHandler(_KeyedHandler):
    """``POST {prefix}``: commands, one after another, in one body.

    See server API, "Old style".
    """

    def _run(self, http: Any) -> "Answer | Deferred[Answer]":
        if self._api.node.stopping:
            return Answer(503)
        body = http.content.read()
        if body:
            return run_or_defer(self._run_commands(body, http))
        _log_malformed(self._log, http, "", ValueError("no data in API request"))
        return _BAD

    async def _run_commands(self, body: bytes, http: Any) -> Answer:
        replies, slices = [], self._api.slices()
        try:
            for command in _commands(body):
                if slices.over():
                    await slices.next()
                replies.append(await self._reply(command))
        except ValueError as error:
            _log_malformed(self._log, http, "", error)
            return _BAD
        except EncodeError as error:
            _log_broken(self._log, "", error)
            return _BROKEN
        return Answer(200, b"\n".join(replies), _JSON)

    async def _reply(self, command: _LegacyCommand) -> bytes:
        """Run one command.

        :raises ValueError: no version has a method of this name.
        """
        method = _method(bytes(command.method))
        outcome: m.Result
        if method is None:
            outcome = NOT_FOUND
        else:
            outcome = await self._outcome(method, command.params)
        parts: dict[str, Any] = {"id": command.id} if command.id else {}
        parts["error" if isinstance(outcome, m.Error) else "result"] = outcome
        return encode(parts)

    async def _outcome(self, method: Method, params: Raw) -> m.Result:
        try:
            text = b"{}" if method.name == "info" else bytes(params)
            request = decode(text, method.request)
        except ValueError as reason:
            error = m.Error(BAD_REQUEST.code, BAD_REQUEST.message)
            self._api.log_error(method.name, error, cause=str(reason))
            return error
        outcome = self._api.call(method, request, counted=False)
        return await outcome if isinstance(outcome, Deferred) else outcome


def _method(written: bytes) -> Method | None:
    """Return the method for a quoted name or a number; None if it is not served.

    :raises ValueError: no method has this name.
    """
    if not written.startswith(b'"'):
        return _BY_CODE.get(int(written or b"0"))
    name = written[1:-1].decode().lower()
    if name in IN_BATCH:
        return IN_BATCH[name]
    if name in _ELSEWHERE:
        return None
    raise ValueError(f"unknown method {name!r}")


def _commands(body: bytes) -> Iterator[_LegacyCommand]:
    """Split a body into JSON objects, which white space may separate.

    :raises ValueError: the body is malformed.
    """
    if too_deep(body):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    text = body.decode()
    at = 0
    while True:
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        if at == len(text):
            return
        _, end = _scan(text, at)
        yield decode(text[at:end].encode(), _LegacyCommand)
        at = end
