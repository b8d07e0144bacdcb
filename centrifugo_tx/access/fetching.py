"""Small documents over HTTP."""

from typing import Any, NoReturn, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone
from twisted.web.http import PotentialDataLoss

__all__ = ["Fetch", "fetcher"]

#: Seconds of one attempt, from the connection to the end of the answer.
TIMEOUT = 1.0
#: Bytes of the largest answer that is read.
ANSWER_LIMIT = 1024 * 1024


class Fetch(Protocol):
    """Gets a document; fails with any exception."""

    def __call__(self, url: str) -> "Deferred[bytes]":
        """Return the body of a 200 answer."""


def fetcher(reactor: Any) -> Fetch:
    """Return what gets documents, without redirects and proxies of the environment."""
    agent = Agent(reactor, connectTimeout=TIMEOUT)

    def fetch(url: str) -> "Deferred[bytes]":
        answered: Deferred[Any] = agent.request(b"GET", url.encode("ascii"))
        answered.addCallback(_read)
        return answered.addTimeout(TIMEOUT, reactor, onTimeoutCancel=_too_slow)

    return fetch


def _too_slow(outcome: object, timeout: float) -> NoReturn:
    raise TimeoutError(f"no whole answer within {timeout} s")


def _read(response: Any) -> "Deferred[bytes]":
    """Read an answer, also one that is not wanted: that closes its connection."""
    body = _Body(response.code)
    response.deliverBody(body)
    return body.done


class _Body(StreamProtocol):
    """Collects an answer of bounded size."""

    transport: ITransport | None

    def __init__(self, status: int) -> None:
        self.done: Deferred[bytes] = Deferred(self._cancel)
        self._status = status
        self._data = bytearray()

    def _cancel(self, done: "Deferred[bytes]") -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionMade(self) -> None:
        """Refuse any status but 200."""
        if self._status != 200:
            self._fail(ValueError(f"status {self._status}"))

    def dataReceived(self, data: bytes) -> None:
        """Take a part."""
        self._data += data
        if len(self._data) > ANSWER_LIMIT:
            self._fail(ValueError("the answer is too large"))

    def _fail(self, error: Exception) -> None:
        if not self.done.called:
            self.done.errback(error)
            self._cancel(self.done)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hand over what came, if it is all."""
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(bytes(self._data))
        else:
            self.done.errback(reason)
