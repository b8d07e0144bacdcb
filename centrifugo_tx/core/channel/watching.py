"""A watcher: it receives a channel's deliveries without being a subscriber."""

from collections.abc import Callable

from attrs import define, field

from ...errors import EncodeError
from ...interfaces import ITransport
from .broker_subscriptions import BrokerSubscriptions
from .channel import Channel
from .encoded_publication import EncodedPublication
from .lanes import Lane
from .variants import Variant

__all__ = ["Watcher"]


@define(eq=False)
class Watcher:
    """Passes a channel's publications, joins and leaves to a transport.

    It stands in a lane like a subscriber, but is not counted as one, and has no
    presence and no position.

    :param undeliverable: called for each publication that the wire cannot encode.
    """

    transport: ITransport
    undeliverable: Callable[[], None]
    _channel: Channel
    _broker: BrokerSubscriptions[Channel]
    lane: Lane | None = field(default=None, init=False)
    variant: Variant | None = field(default=None, init=False)
    active: bool = field(default=False, init=False)
    stopped: bool = field(default=False, init=False)

    @property
    def positioned(self) -> bool:
        """Whether it relies on a position in the stream: never."""
        return False

    @property
    def observes_presence(self) -> bool:
        """Whether it receives joins and leaves: always."""
        return True

    async def start(self) -> None:
        """Start to watch, with the publications from this call on.

        :raises BrokerUnavailable: the engine failed, and nothing is watched.
        """
        channel = self._channel
        channel.buffer(self)
        channel.num_watchers += 1
        try:
            started = self._broker.start(channel)
            if started is not None:
                await started
        except BaseException:
            self.stop()
            raise
        if self.stopped:
            return
        held = [publication for publication, _ in channel.held(self)]
        channel.activate(self, None)
        self.active = True
        for publication in held:
            self.deliver(EncodedPublication(channel.name, publication))

    def stop(self) -> None:
        """Stop watching; do nothing if it was stopped before."""
        if self.stopped:
            return
        self.stopped = True
        self._channel.leave(self)
        self._channel.num_watchers -= 1
        self._broker.vacate(self._channel)

    def deliver(self, encoded: EncodedPublication) -> None:
        """Pass one publication on."""
        wire = self.transport.wire
        try:
            frame = wire.push(encoded.raw(wire))
        except EncodeError:
            self.undeliverable()
        else:
            self.transport.write(frame)

    def receipt(self) -> None:
        """Return None, since a watcher proves nothing."""

    def ask_for_receipt(self) -> None:
        """Do nothing, as in `receipt`."""

    def lose_position(self) -> None:
        """Do nothing, since there is no position to lose."""
