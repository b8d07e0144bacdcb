"""Calls to a backend over HTTP (event proxies, "HTTP requests")."""

from functools import cache
from importlib.metadata import version
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers

from ..protocol.codes import Disconnect, Error
from ..protocol.lenient_json import as_strict_json
from ..proxy_messages import ProxyEvent, ProxyResponse
from .client import BackendFailed, Forwarded
from .http_agent import HTTPAgent
from .options import ProxyOptions
from .signature import HEADER, sign

__all__ = ["HTTPProxyClient", "decode_response"]

_encode = msgspec.json.Encoder().encode

#: Headers that are never taken from a client, since they are those of a connection.
_OWN = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "trailer", "connection"),
        *("keep-alive", "upgrade", "te", "accept-encoding", "content-type"),
        HEADER.lower(),
    }
)


@cache
def _decoder(event: ProxyEvent) -> "msgspec.json.Decoder[ProxyResponse[Any]]":
    return msgspec.json.Decoder(ProxyResponse[event.answer])  # type: ignore[name-defined]


def decode_response(event: ProxyEvent, body: bytes) -> ProxyResponse[Any]:
    """Decode a backend's response as the reference would.

    :raises BackendFailed: it is malformed.
    """
    try:
        try:
            return _decoder(event).decode(body)
        except msgspec.DecodeError:
            known: Any = ProxyResponse[event.answer]  # type: ignore[name-defined]
            return _decoder(event).decode(as_strict_json(body, known, alone=True))
    except (ValueError, RecursionError) as reason:
        raise BackendFailed(f"malformed response: {reason}") from None


@define(eq=False)
class HTTPProxyClient:
    """Posts the events of one kind to one URL, as JSON."""

    _reactor: Any
    _options: ProxyOptions
    protocol: str = field(default="http", init=False)
    _agent: HTTPAgent = field(init=False)
    _static: Headers = field(init=False)
    _transforms: dict[int, ProxyResponse[Any]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        options = self._options
        http = options.http
        self._agent = HTTPAgent(
            self._reactor, options.endpoint, options.timeout, http.tls
        )
        agent = f"centrifugo-tx/{version('centrifugo-tx')}"
        given = {
            name: [value]
            for name, value in http.static_headers.items()
            if name.lower() not in _OWN
        }
        self._static = Headers({"User-Agent": [agent]})
        for name, values in given.items():
            self._static.setRawHeaders(name, values)
        self._static.setRawHeaders("Content-Type", ["application/json"])
        self._static.setRawHeaders("Accept-Encoding", ["gzip"])
        self._transforms = {}
        for each in http.status_to_code_transforms:
            error, end = each.to_error, each.to_disconnect
            meant: ProxyResponse[Any]
            if error.code:
                said = Error(error.code, error.message, error.temporary)
                meant = ProxyResponse(error=said)
            else:
                meant = ProxyResponse(disconnect=Disconnect(end.code, end.reason))
            self._transforms.setdefault(each.status_code, meant)

    def call(
        self, event: ProxyEvent, request: Any, headers: Forwarded
    ) -> "Deferred[ProxyResponse[Any]]":
        """Post *request*; see `ProxyClient`."""
        return Deferred.fromCoroutine(self._call(event, request, headers))

    async def _call(
        self, event: ProxyEvent, request: Any, forwarded: Forwarded
    ) -> ProxyResponse[Any]:
        body = _encode(request)
        response = await self._agent.post(self._headers(forwarded, body), body)
        if response.status != 200:
            meant = self._transforms.get(response.status)
            if meant is None:
                raise BackendFailed(f"status {response.status}")
            return meant
        return decode_response(event, response.body)

    def _headers(self, forwarded: Forwarded, body: bytes) -> Headers:
        secrets = self._options.http.signature.secrets
        if not forwarded and not secrets:
            return self._static
        headers = self._static.copy()
        for name, values in forwarded.items():
            if name not in _OWN:
                for value in values:
                    _check_value(name, value)
                headers.setRawHeaders(name, list(values))
        if secrets:
            now = int(self._reactor.seconds())
            headers.setRawHeaders(HEADER, [sign(body, secrets, now)])
        return headers

    def stop(self) -> "Deferred[None]":
        """Close the idle connections."""
        return self._agent.stop()


def _check_value(name: str, value: str) -> None:
    """Refuse a value that is not valid in a header (RFC 9110, 5.5).

    :raises BackendFailed: *value* has a control character other than a tab.
    """
    if not value.isprintable() and any(
        (char < " " and char != "\t") or char == "\x7f" for char in value
    ):
        raise BackendFailed(f"header {name:.100} has a control character")
