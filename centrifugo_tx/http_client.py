"""One HTTP request, and the body of its answer, bounded in time and size."""

from collections.abc import Mapping
from typing import Any, NoReturn

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

__all__ = ["send_request"]


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
    response: Deferred[Any] = agent.request(
        method,
        url,
        Headers({name: [value] for name, value in (headers or {}).items()}),
        None if body is None else _BytesProducer(body),
    )
    response.addCallback(_read_body, limit)
    return response.addTimeout(timeout, reactor, onTimeoutCancel=_raise_timeout)


def _raise_timeout(outcome: object, timeout: float) -> NoReturn:
    raise TimeoutError(f"no complete response within {timeout:g} s")


def _read_body(response: Any, limit: int) -> "Deferred[bytes]":
    """Read a response of any status, so that its connection can be used again."""
    reader = _BodyReader(response.code, response.length, limit)
    response.deliverBody(reader)
    return reader.body


class _BodyReader(Protocol):
    """Collects a body of bounded size."""

    transport: ITransport | None

    def __init__(self, status: int, length: object, limit: int) -> None:
        self.body: Deferred[bytes] = Deferred(self._cancel)
        self._status, self._length, self._limit = status, length, limit
        self._data = bytearray()

    def _cancel(self, body: "Deferred[bytes]") -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionMade(self) -> None:
        """Refuse a body whose announced length is above the limit."""
        if self._length is not UNKNOWN_LENGTH and int(str(self._length)) > self._limit:
            self._refuse_size()

    def dataReceived(self, data: bytes) -> None:
        """Take a part of the body."""
        self._data += data
        if len(self._data) > self._limit:
            self._refuse_size()

    def _refuse_size(self) -> None:
        if not self.body.called:
            self.body.errback(
                ValueError(f"the response is larger than {self._limit} bytes")
            )
            self._cancel(self.body)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Return the body if it is complete and the status is 200."""
        if self.body.called:
            return
        if not reason.check(ResponseDone, PotentialDataLoss):
            self.body.errback(reason)
        elif self._status != 200:
            self.body.errback(ValueError(f"status {self._status}"))
        else:
            self.body.callback(bytes(self._data))


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
