"""Counters of messages and bytes by transport (operations, "Metrics")."""

from attrs import define, field

from ..metrics import Counter, Metrics
from ..protocol.wire import Wire

__all__ = ["MessageCounters", "TransportCounters"]


@define(eq=False)
class MessageCounters:
    """Messages of one ``frame_type``, in one direction, over one transport."""

    messages: Counter
    size: Counter

    def add(self, messages: int, size: int) -> None:
        """Count *messages* of *size* bytes each."""
        self.messages.value += messages
        self.size.value += messages * size


@define(eq=False)
class TransportCounters:
    """Finds the counters for a wire and a kind of message (``frame_type``)."""

    _metrics: Metrics
    _sent: dict[tuple[str, str], MessageCounters] = field(factory=dict, init=False)
    _received: dict[tuple[str, str], MessageCounters] = field(factory=dict, init=False)

    def sent(self, wire: Wire, kind: str) -> MessageCounters:
        """Return the counters of the *kind* messages that *wire* sends."""
        return self._sent.get((wire.transport, kind)) or self._create(
            self._sent, "sent", wire, kind
        )

    def received(self, wire: Wire, kind: str) -> MessageCounters:
        """Return the counters of the *kind* messages that *wire* receives."""
        return self._received.get((wire.transport, kind)) or self._create(
            self._received, "received", wire, kind
        )

    def _create(
        self,
        counters: dict[tuple[str, str], MessageCounters],
        direction: str,
        wire: Wire,
        kind: str,
    ) -> MessageCounters:
        labels = {"transport": wire.transport, "frame_type": kind}
        found = counters[wire.transport, kind] = MessageCounters(
            self._metrics.counter(
                f"transport_messages_{direction}", **labels, channel_namespace=""
            ),
            self._metrics.counter(
                f"transport_messages_{direction}_size", **labels, channel_namespace=""
            ),
        )
        return found
