"""A backend that is asked over HTTP (event proxies, "HTTP requests")."""

from collections.abc import Mapping
from typing import Any, NoReturn

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from ..errors import CentrifugoError

__all__ = ["BackendFailed", "HTTPBackend"]

#: Idle connections that are kept.
IDLE = 255


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
    _pool: HTTPConnectionPool = field(init=False)
    _agent: Agent = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = HTTPConnectionPool(self._reactor)
        self._pool.maxPersistentPerHost = IDLE
        self._pool.retryAutomatically = False
        self._agent = Agent(self._reactor, connectTimeout=self.timeout, pool=self._pool)

    def post(self, body: bytes) -> "Deferred[bytes]":
        """Return the body of the answer.

        It fails with `BackendFailed` for any reason, also when the whole takes too
        long.
        """
        headers = Headers({name: [value] for name, value in self.headers.items()})
        headers.setRawHeaders("content-type", ["application/json"])
        asked: Deferred[Any] = self._agent.request(
            b"POST",
            self.endpoint.encode(),
            headers,
            _Body(body),
        )
        asked.addCallback(_read)
        asked.addTimeout(self.timeout, self._reactor)
        return asked.addErrback(self._failed)

    def stop(self) -> "Deferred[None]":
        """Close the connections that are kept."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    def _failed(self, failure: Failure) -> NoReturn:
        raise BackendFailed(f"{self.endpoint}: {failure.getErrorMessage()}")


def _read(response: Any) -> "Deferred[bytes]":
    """Read an answer, also one that is not wanted, so that its connection is free."""
    answer = _Answer(response.code)
    response.deliverBody(answer)
    return answer.done


class _Answer(Protocol):
    """Collects an answer."""

    def __init__(self, status: int) -> None:
        self.done: Deferred[bytes] = Deferred(self._cancel)
        self._status = status
        self._parts: list[bytes] = []

    def _cancel(self, done: "Deferred[bytes]") -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Take a part."""
        self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hand over what came, if it is all."""
        if self.done.called:
            return
        if not reason.check(ResponseDone, PotentialDataLoss):
            self.done.errback(reason)
        elif self._status != 200:
            self.done.errback(BackendFailed(f"status {self._status}"))
        else:
            self.done.callback(b"".join(self._parts))


@implementer(IBodyProducer)
@define(eq=False)
class _Body:
    """A body that is in memory."""

    _body: bytes

    @property
    def length(self) -> int:
        """How many bytes it is."""
        return len(self._body)

    def startProducing(self, consumer: IConsumer) -> "Deferred[None]":
        """Write all of it."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: all is written."""

    def resumeProducing(self) -> None:
        """Do nothing."""

    def stopProducing(self) -> None:
        """Do nothing."""
