"""A backend that is called over HTTP (event proxies, "HTTP requests")."""

from collections.abc import Mapping
from typing import Any, NoReturn

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool

from ..errors import CentrifugoError
from ..http_client import send_request

__all__ = ["BackendFailed", "HTTPBackend"]

#: Maximum number of idle connections.
MAX_IDLE = 255
#: Largest response, in bytes.
MAX_RESPONSE = 64 * 1024 * 1024


class BackendFailed(CentrifugoError):
    """The backend sent no answer, or an invalid one."""


@define(eq=False)
class HTTPBackend:
    """Posts JSON to one URL, over persistent connections.

    Only status 200 is a success; requests are not retried.
    """

    _reactor: Any
    endpoint: str
    timeout: float = 1.0
    headers: Mapping[str, str] = field(factory=dict)
    _headers: dict[str, str] = field(init=False)
    _pool: HTTPConnectionPool = field(init=False)
    _agent: Agent = field(init=False)

    def __attrs_post_init__(self) -> None:
        # Names are compared without case, so that the type is given once.
        given = {name.lower(): value for name, value in self.headers.items()}
        self._headers = {**given, "content-type": "application/json"}
        self._pool = HTTPConnectionPool(self._reactor)
        self._pool.maxPersistentPerHost = MAX_IDLE
        self._pool.retryAutomatically = False
        self._agent = Agent(self._reactor, connectTimeout=self.timeout, pool=self._pool)

    def post(self, body: bytes) -> "Deferred[bytes]":
        """Return the body of the response.

        Fails with `BackendFailed` for any reason, including the timeout.
        """
        exchange = send_request(
            self._reactor,
            self._agent,
            b"POST",
            self.endpoint.encode(),
            self.timeout,
            MAX_RESPONSE,
            self._headers,
            body,
        )
        return exchange.addErrback(self._failed)

    def stop(self) -> "Deferred[None]":
        """Close the idle connections."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    def _failed(self, failure: Failure) -> NoReturn:
        raise BackendFailed(f"{self.endpoint}: {failure.getErrorMessage()}")
