"""TLS that sends at once what a producer writes."""

from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory

__all__ = ["EagerTLSFactory", "EagerTLSServer"]


class EagerTLSServer(BufferingTLSTransport):
    """Collects small writes until the next turn, but not those of a push producer.

    The writer of a client (`FrameWriter`) registers as a producer, and it has already
    collected the frames of a turn.  To collect them again would cost each connection a
    delayed call for each publication.
    """

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Register *producer*; from now on, its writes are encrypted at once."""
        if streaming:
            self._aggregator.flush()
            self.write = super().write  # type: ignore[method-assign]
        super().registerProducer(producer, streaming)  # type: ignore[no-untyped-call]


class EagerTLSFactory(TLSMemoryBIOFactory):
    """Adds TLS to the connections of a port."""

    protocol = EagerTLSServer
