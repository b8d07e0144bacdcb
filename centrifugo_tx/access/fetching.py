"""Downloads of key sets over HTTP."""

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.web.client import Agent

from ..http_client import send_request

__all__ = ["Fetch", "fetcher"]

#: Seconds of one attempt, from the connection to the end of the response.
TIMEOUT = 1.0
#: Largest key set, in bytes.
MAX_SIZE = 1024 * 1024


class Fetch(Protocol):
    """Downloads a document; fails with any exception."""

    def __call__(self, url: str) -> "Deferred[bytes]":
        """Return the body of a 200 response."""


def fetcher(reactor: Any) -> Fetch:
    """Return a `Fetch` that follows no redirects and uses no proxy."""
    agent = Agent(reactor, connectTimeout=TIMEOUT)

    def fetch(url: str) -> "Deferred[bytes]":
        return send_request(
            reactor, agent, b"GET", url.encode("ascii"), TIMEOUT, MAX_SIZE
        )

    return fetch
