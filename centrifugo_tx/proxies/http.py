"""A backend that is asked over HTTP (event proxies, "HTTP requests")."""

from collections.abc import Mapping
from typing import Any, NoReturn

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool

from ..errors import CentrifugoError
from ..http_client import send_request

__all__ = ["BackendFailed", "HTTPBackend"]

#: Idle connections that are kept.
MAX_IDLE = 255
#: Largest response, in bytes.
MAX_RESPONSE = 64 * 1024 * 1024


class BackendFailed(CentrifugoError):
    """The backend gave no answer, or one that is none."""


@define(eq=False)
class HTTPBackend:
    """Posts JSON to one URL, over connections that are kept.

    Only status 200 is an answer; nothing is tried twice.
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
        """Return the body of the answer.

        It fails with `BackendFailed` for any reason, also when the whole takes too
        long.
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
        """Close the connections that are kept."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    def _failed(self, failure: Failure) -> NoReturn:
        raise BackendFailed(f"{self.endpoint}: {failure.getErrorMessage()}")
