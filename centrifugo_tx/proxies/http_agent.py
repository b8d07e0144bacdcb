"""The HTTP client of a proxy: pooled connections, TLS, Unix sockets and redirects."""

import zlib
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from ..client_tls import client_tls_creator
from ..http_client import HTTPResponse, exchange
from ..options import TLSOptions
from .client import BackendFailed

__all__ = ["HTTP_SCHEMES", "MAX_RESPONSE", "HTTPAgent", "socket_path"]

#: How the endpoints begin that are called over HTTP.
HTTP_SCHEMES = ("http://", "https://", "http+unix://")
#: Maximum number of idle connections.
MAX_IDLE = 255
#: Largest response in bytes, unpacked as well as packed.
MAX_RESPONSE = 64 * 1024 * 1024
#: Most redirects of one call.
MAX_REDIRECTS = 10

#: Statuses that repeat the request elsewhere, and those that continue with GET.
_REPEATED, _AS_GET = {307, 308}, {301, 302, 303}
#: Headers that do not go to another host.
_SECRET = ("authorization", "www-authenticate", "cookie", "cookie2")
#: Headers that belong to a body.
_OF_BODY = ("content-type", "content-encoding", "content-language", "content-location")


def socket_path(endpoint: str) -> str:
    """Return the path of the Unix socket in an endpoint, empty for other kinds."""
    if not endpoint.startswith("http+unix://"):
        return ""
    return unquote(urlsplit(endpoint).netloc)


@define(eq=False)
class HTTPAgent:
    """Sends POST requests to one URL over connections that are kept.

    Requests are never repeated, except where a redirect asks for it.
    """

    _reactor: Any
    endpoint: str
    timeout: float
    tls: TLSOptions = field(factory=TLSOptions)
    _url: str = field(init=False)
    _pool: HTTPConnectionPool = field(init=False)
    _agent: Agent = field(init=False)

    def __attrs_post_init__(self) -> None:
        pool = self._pool = HTTPConnectionPool(self._reactor)
        pool.maxPersistentPerHost = MAX_IDLE
        pool.retryAutomatically = False
        path = socket_path(self.endpoint)
        if path:
            parts = urlsplit(self.endpoint)
            query = f"?{parts.query}" if parts.query else ""
            self._url = f"http://localhost{parts.path or '/'}{query}"
            sockets = _SocketEndpoints(self._reactor, path, self.timeout)
            self._agent = Agent.usingEndpointFactory(self._reactor, sockets, pool)
            return
        policy = _TLSPolicy(self.tls) if self.tls.enabled else None
        self._url = self.endpoint
        self._agent = Agent(
            self._reactor,
            policy or BrowserLikePolicyForHTTPS(),
            connectTimeout=self.timeout,
            pool=pool,
        )

    async def post(self, headers: Headers, body: bytes) -> HTTPResponse:
        """Return the response, of any status but a redirect.

        The last of `MAX_REDIRECTS` redirects is an error.

        :raises BackendFailed: the response is missing or incomplete.
        """
        try:
            return await self._post(headers, body)
        except (BackendFailed, CancelledError):
            raise
        except Exception as error:
            raise BackendFailed(_reason(error)) from error

    async def _post(self, headers: Headers, body: bytes) -> HTTPResponse:
        url, method, content = self._url, b"POST", body
        for _ in range(MAX_REDIRECTS + 1):
            asked: Deferred[HTTPResponse] = exchange(
                self._agent,
                method,
                url.encode(),
                MAX_RESPONSE,
                headers,
                content if method == b"POST" else None,
            )
            response = await asked
            status = response.status
            where = response.header(b"location").decode("ascii", "replace")
            if not where or status not in _REPEATED | _AS_GET:
                return _unpacked(response)
            found = urljoin(url, where)
            headers = headers.copy()
            if status in _AS_GET:
                method = b"GET"
                _drop(headers, _OF_BODY)
            if urlsplit(found).hostname != urlsplit(url).hostname:
                _drop(headers, _SECRET)
            if urlsplit(found).scheme not in ("http", "https"):
                raise BackendFailed(f"redirect to {found:.200}")
            url = found
        raise BackendFailed(f"more than {MAX_REDIRECTS} redirects")

    def stop(self) -> "Deferred[None]":
        """Close the idle connections."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed


def _drop(headers: Headers, names: tuple[str, ...]) -> None:
    for name in names:
        headers.removeHeader(name)


def _unpacked(response: HTTPResponse) -> HTTPResponse:
    """Return *response* without the compression that was offered.

    :raises BackendFailed: it is not gzip, or larger than `MAX_RESPONSE`.
    """
    if response.header(b"content-encoding").lower() != b"gzip" or not response.body:
        return response
    gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        body = gzip.decompress(response.body, MAX_RESPONSE)
    except zlib.error as error:
        raise BackendFailed(f"malformed gzip: {error}") from None
    if not gzip.eof:
        size = f"more than {MAX_RESPONSE} bytes" if gzip.unconsumed_tail else "cut off"
        raise BackendFailed(f"the unpacked response is {size}")
    return HTTPResponse(response.status, response.headers, body)


def _reason(error: Exception) -> str:
    """Return the message of an error, with the causes that Twisted's HTTP client
    wraps.
    """
    reasons = getattr(error, "reasons", None)
    if isinstance(reasons, list) and reasons:
        return "; ".join(_reason(each.value) for each in reasons)
    return f"{type(error).__name__}: {error}".removesuffix(": ")


@implementer(IAgentEndpointFactory)
@define(eq=False)
class _SocketEndpoints:
    """Connects to a Unix socket for any URL."""

    _reactor: Any
    _path: str
    _timeout: float

    def endpointForURI(self, uri: object) -> UNIXClientEndpoint:
        """Return the endpoint of the socket."""
        return UNIXClientEndpoint(self._reactor, self._path, self._timeout)


@implementer(IPolicyForHTTPS)
@define(eq=False)
class _TLSPolicy:
    """Encrypts as the configuration says."""

    _options: TLSOptions

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """Return the creator of TLS connections to a host."""
        return client_tls_creator(self._options, hostname.decode("ascii"))
