"""One HTTP request, and its response, bounded in time and size."""

from collections.abc import Mapping
from typing import Any, NoReturn

from attrs import define, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

__all__ = ["HTTPResponse", "exchange", "send_request"]


@frozen
class HTTPResponse:
    """A complete response."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: bytes) -> bytes:
        """Return the last value of a header, empty without one."""
        values = self.headers.getRawHeaders(name)
        return values[-1] if values else b""


def send_request(
    reactor: Any,
    agent: Agent,
    method: bytes,
    url: bytes,
    timeout: float,
    limit: int,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> "Deferred[bytes]":
    """Send a request and return the body of its 200 response.

    Fails with `TimeoutError` if the whole exchange takes longer than *timeout*
    seconds, with `ValueError` for another status or a body of more than *limit*
    bytes, and with the agent's error if there is no complete response.
    """
    given = Headers({name: [value] for name, value in (headers or {}).items()})
    response = exchange(agent, method, url, limit, given, body)
    response.addCallback(_body_of)
    return response.addTimeout(timeout, reactor, onTimeoutCancel=_raise_timeout)


def exchange(
    agent: Agent,
    method: bytes,
    url: bytes,
    limit: int,
    headers: Headers,
    body: bytes | None = None,
) -> "Deferred[Any]":
    """Send a request and return its `HTTPResponse`, of any status.

    Fails with `ValueError` for a body of more than *limit* bytes, and with the agent's
    error if there is no complete response.  Cancelling it closes the connection.
    """
    producer = None if body is None else _BytesProducer(body)
    response: Deferred[Any] = agent.request(method, url, headers, producer)
    return response.addCallback(_read_body, limit)


def _body_of(response: HTTPResponse) -> bytes:
    if response.status != 200:
        raise ValueError(f"status {response.status}")
    return response.body


def _raise_timeout(outcome: object, timeout: float) -> NoReturn:
    raise TimeoutError(f"no complete response within {timeout:g} s")


def _read_body(response: Any, limit: int) -> "Deferred[HTTPResponse]":
    """Read a response of any status, so that its connection can be used again."""
    reader = _BodyReader(response, limit)
    response.deliverBody(reader)
    return reader.complete


class _BodyReader(Protocol):
    """Collects a body of bounded size."""

    transport: ITransport | None

    def __init__(self, response: Any, limit: int) -> None:
        self.complete: Deferred[HTTPResponse] = Deferred(self._cancel)
        self._response, self._limit = response, limit
        self._data = bytearray()

    def _cancel(self, complete: "Deferred[HTTPResponse]") -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionMade(self) -> None:
        """Refuse a body whose announced length is above the limit."""
        length = self._response.length
        if length is not UNKNOWN_LENGTH and int(str(length)) > self._limit:
            self._refuse_size()

    def dataReceived(self, data: bytes) -> None:
        """Take a part of the body."""
        self._data += data
        if len(self._data) > self._limit:
            self._refuse_size()

    def _refuse_size(self) -> None:
        if not self.complete.called:
            self.complete.errback(
                ValueError(f"the response is larger than {self._limit} bytes")
            )
            self._cancel(self.complete)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Return the response if its body is complete."""
        if self.complete.called:
            return
        if not reason.check(ResponseDone, PotentialDataLoss):
            self.complete.errback(reason)
            return
        response = self._response
        body = bytes(self._data)
        self.complete.callback(HTTPResponse(response.code, response.headers, body))


@implementer(IBodyProducer)
@define(eq=False)
class _BytesProducer:
    """A request body that is in memory."""

    _body: bytes

    @property
    def length(self) -> int:
        """The size of the body in bytes."""
        return len(self._body)

    def startProducing(self, consumer: IConsumer) -> "Deferred[None]":
        """Write the whole body."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: the body is written in one step."""

    def resumeProducing(self) -> None:
        """Do nothing."""

    def stopProducing(self) -> None:
        """Do nothing."""
