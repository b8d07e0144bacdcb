"""The messages between a supervisor and its workers: one line of JSON each.

Orders arrive on the worker's standard input; reports leave by descriptor 3.
"""

from typing import Any

import msgspec
from attrs import define

from ..config.model import Config

__all__ = [
    "REPORTS",
    "AllReady",
    "CollectMetrics",
    "CollectedMetrics",
    "Failed",
    "GatherMetrics",
    "GatheredMetrics",
    "LineSplitter",
    "LogRecord",
    "Order",
    "Ping",
    "Pong",
    "Ready",
    "Reload",
    "Report",
    "Start",
    "decode_order",
    "decode_report",
    "encode",
]

#: The file descriptor to which a worker writes its reports.
REPORTS = 3


class Start(msgspec.Struct, tag="start", frozen=True):
    """Start serving with this configuration; the first order.

    ``inherited`` are sockets that listen already: host, port, and the descriptor that
    the worker has from its parent.
    """

    config: Config
    inherited: tuple[tuple[str, int, int], ...] = ()


class Reload(msgspec.Struct, tag="reload", frozen=True):
    """Apply the options that can change while the server runs."""

    config: Config


class AllReady(msgspec.Struct, tag="all_ready", frozen=True):
    """All workers are ready; the health endpoint may report it."""


class Ping(msgspec.Struct, tag="ping", frozen=True):
    """Answer, if your reactor runs."""


class CollectMetrics(msgspec.Struct, tag="collect_metrics", frozen=True):
    """Report the metrics of this worker."""


class GatheredMetrics(msgspec.Struct, tag="gathered_metrics", frozen=True):
    """The metrics of all workers, in answer to `GatherMetrics`."""

    text: str


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """The worker is ready to serve."""


class Pong(msgspec.Struct, tag="pong", frozen=True):
    """The reactor of the worker runs."""


class Failed(msgspec.Struct, tag="failed", frozen=True):
    """The worker cannot start."""

    reason: str


class LogRecord(msgspec.Struct, tag="log_record", frozen=True):
    """A log event of the worker (`logs.to_record`)."""

    record: dict[str, Any]


class CollectedMetrics(msgspec.Struct, tag="collected_metrics", frozen=True):
    """The metrics of the worker, in the format of Prometheus."""

    text: str


class GatherMetrics(msgspec.Struct, tag="gather_metrics", frozen=True):
    """Request the metrics of all workers."""


Order = Start | Reload | AllReady | Ping | CollectMetrics | GatheredMetrics
Report = Ready | Pong | Failed | LogRecord | CollectedMetrics | GatherMetrics

_encoder = msgspec.json.Encoder(enc_hook=str)
_orders: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
_reports: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def encode(message: Order | Report) -> bytes:
    """Return *message* as a line of JSON."""
    return _encoder.encode(message) + b"\n"


def decode_order(line: bytes) -> Order:
    """Decode a line from the supervisor."""
    return _orders.decode(line)


def decode_report(line: bytes) -> Report:
    """Decode a line from a worker."""
    return _reports.decode(line)


@define(eq=False)
class LineSplitter:
    """Splits a byte stream into lines."""

    _rest: bytes = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that *data* completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        return whole
