"""HTTP requests by endpoint, method and status (operations, "Metrics")."""

from attrs import define

from ..metrics import Metrics

__all__ = ["RequestCounts"]

#: Other methods count as ``other``, because peers could invent any number of them.
METHODS = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE")
)


@define(eq=False)
class RequestCounts:
    """Counts the answered requests of all ports; paths are those of endpoints."""

    _metrics: Metrics

    def count(self, path: bytes, method: bytes, status: int) -> None:
        """Count one response to a request for the endpoint at *path*."""
        self._metrics.counter(
            "node_incoming_http_requests_total",
            path=path.decode(errors="replace"),
            method=method.decode() if method in METHODS else "other",
            status=str(status),
        ).value += 1
