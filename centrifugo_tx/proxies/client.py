"""How a proxy reaches the backend: the seam between events and HTTP or gRPC."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from ..errors import CentrifugoError
from ..proxy_messages import ProxyEvent, ProxyResponse

__all__ = ["BackendFailed", "Forwarded", "ProxyClient"]

#: Headers that a call passes on, by lower-case name, with all their values.
Forwarded = Mapping[str, Sequence[str]]


class BackendFailed(CentrifugoError):
    """The backend sent no answer, or an invalid one."""


class ProxyClient(Protocol):
    """Calls one backend for one kind of event."""

    @property
    def protocol(self) -> str:
        """``http`` or ``grpc``, as in the labels of metrics."""

    def call(
        self, event: ProxyEvent, request: Any, headers: Forwarded
    ) -> "Deferred[ProxyResponse[Any]]":
        """Send *request*, an ``event.request``; return a response.

        Its result is an ``event.answer``.  *headers* come from the request of the
        application's client; static ones are the proxy client's own
        matter.  The caller bounds time and concurrency, and cancels the Deferred when
        the time is up or the client has gone.  Fails with `BackendFailed` if there is
        no valid response.
        """

    def stop(self) -> "Deferred[None]":
        """Close the connections."""
