"""How many messages and bytes went over each kind of connection.

See operations, "Metrics".
"""

from attrs import define, field

from ..metrics import Counter, Metrics
from ..protocol.wire import Wire

__all__ = ["Flow", "Traffic"]


@define(eq=False)
class Flow:
    """Messages of one kind in one direction over one transport."""

    messages: Counter
    size: Counter

    def add(self, messages: int, size: int) -> None:
        """Count *messages* of *size* bytes each."""
        self.messages.value += messages
        self.size.value += messages * size


@define(eq=False)
class Traffic:
    """Finds the flow for a wire and a kind of message (``frame_type``)."""

    _metrics: Metrics
    _sent: dict[tuple[str, str], Flow] = field(factory=dict, init=False)
    _received: dict[tuple[str, str], Flow] = field(factory=dict, init=False)

    def sent(self, wire: Wire, kind: str) -> Flow:
        """Return the flow of what *wire* sends of *kind*."""
        return self._sent.get((wire.transport, kind)) or self._open(
            self._sent, "sent", wire, kind
        )

    def received(self, wire: Wire, kind: str) -> Flow:
        """Return the flow of what *wire* receives of *kind*."""
        return self._received.get((wire.transport, kind)) or self._open(
            self._received, "received", wire, kind
        )

    def _open(
        self, flows: dict[tuple[str, str], Flow], way: str, wire: Wire, kind: str
    ) -> Flow:
        labels = {"transport": wire.transport, "frame_type": kind}
        flow = flows[wire.transport, kind] = Flow(
            self._metrics.counter(
                f"transport_messages_{way}", **labels, channel_namespace=""
            ),
            self._metrics.counter(
                f"transport_messages_{way}_size", **labels, channel_namespace=""
            ),
        )
        return flow
