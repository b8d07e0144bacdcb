"""What parent and worker say to each other: JSON, a line for each message.

Orders go down the worker's standard input, reports come up by descriptor 3.
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

#: The descriptor by which a worker reports.
REPORTS = 3


class Start(msgspec.Struct, tag="start", frozen=True):
    """The first order: serve."""

    config: Config


class Reload(msgspec.Struct, tag="reload", frozen=True):
    """Take over what can change while a server runs."""

    config: Config


class AllReady(msgspec.Struct, tag="all_ready", frozen=True):
    """All workers serve; the health endpoint may say so."""


class Ping(msgspec.Struct, tag="ping", frozen=True):
    """Answer, if your reactor runs."""


class CollectMetrics(msgspec.Struct, tag="collect_metrics", frozen=True):
    """Say what you have counted."""


class GatheredMetrics(msgspec.Struct, tag="gathered_metrics", frozen=True):
    """What all workers have counted, for those who wanted to know."""

    text: str


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """The worker serves."""


class Pong(msgspec.Struct, tag="pong", frozen=True):
    """The reactor of the worker runs."""


class Failed(msgspec.Struct, tag="failed", frozen=True):
    """The worker cannot serve."""

    reason: str


class LogRecord(msgspec.Struct, tag="log_record", frozen=True):
    """What the worker logs (`logs.to_record`)."""

    record: dict[str, Any]


class CollectedMetrics(msgspec.Struct, tag="collected_metrics", frozen=True):
    """What the worker has counted, as Prometheus reads it."""

    text: str


class GatherMetrics(msgspec.Struct, tag="gather_metrics", frozen=True):
    """Somebody wants to know what all workers have counted."""


Order = Start | Reload | AllReady | Ping | CollectMetrics | GatheredMetrics
Report = Ready | Pong | Failed | LogRecord | CollectedMetrics | GatherMetrics

_encoder = msgspec.json.Encoder(enc_hook=str)
_orders: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
_reports: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def encode(message: Order | Report) -> bytes:
    """Return a message as a line."""
    return _encoder.encode(message) + b"\n"


def decode_order(line: bytes) -> Order:
    """Return what the parent wants."""
    return _orders.decode(line)


def decode_report(line: bytes) -> Report:
    """Return what a worker has to say."""
    return _reports.decode(line)


@define(eq=False)
class LineSplitter:
    """Cuts a stream into lines."""

    _rest: bytes = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are whole now."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        return whole
