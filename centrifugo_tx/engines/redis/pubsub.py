"""A PUB/SUB connection and its subscriptions."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from attrs import define, field
from twisted.internet.defer import Deferred, FirstError, fail, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import BrokerUnavailable
from ...metrics import Counter
from .connection import PubSubProtocol, Refused, Reply, ignore_result
from .delivery_queue import DeliveryQueue, Message
from .reconnecting import ReconnectingConnection

__all__ = ["Subscriber"]

#: Channels in one command, and concurrent commands while subscriptions are restored.
CHANNELS_PER_COMMAND, COMMANDS_AT_ONCE = 512, 16
#: Seconds of silence after which the connection is probed.
SILENCE = 30.0
#: Reconnects for silence become rarer, up to this many intervals of silence apart.
MAX_SKIPPED_INTERVALS = 10


@define(eq=False)
class Subscriber:
    """Subscribes to channels, and restores subscriptions after a lost connection.

    :param service: a PUB/SUB channel of this node, whose messages only prove that
        messages arrive.
    :param dropped: counts messages that arrived faster than they could be delivered.
    :param always: PUB/SUB channels that are subscribed to whenever a connection exists.
    :param buffered: shows how many messages wait to be delivered.
    :param probe: publishes to that channel, over another connection.
    :param deliver: takes a PUB/SUB channel and a payload.
    :param missed: takes the PUB/SUB channels that may have lost messages.
    """

    _clock: IReactorTime
    _service: bytes
    _probe: "Callable[[], Deferred[Reply]]"
    _deliver: Callable[[bytes, bytes], None]
    _missed: Callable[[Sequence[bytes]], None]
    _dropped: Counter
    _always: tuple[bytes, ...] = ()
    _buffered: Counter = field(factory=Counter)
    silence: float = SILENCE
    connection: ReconnectingConnection[PubSubProtocol] = field(init=False)
    _queue: DeliveryQueue = field(init=False)
    #: The current subscriptions; after a lost connection, those to restore.
    _subscribed_names: dict[bytes, None] = field(factory=dict, init=False)
    _pending: "dict[bytes, Deferred[None]]" = field(factory=dict, init=False)
    _flush: IDelayedCall | None = field(default=None, init=False)
    _silence_timer: IDelayedCall | None = field(default=None, init=False)
    _received: bool = field(default=False, init=False)
    _probed: bool = field(default=False, init=False)
    _silent_reconnects: int = field(default=0, init=False)
    _skip_intervals: int = field(default=0, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._queue = DeliveryQueue(
            self._clock, self._deliver, self._missed, self._dropped, self._buffered
        )

    def use(self, connection: ReconnectingConnection[PubSubProtocol]) -> None:
        """Use *connection* for the subscriptions."""
        self.connection = connection
        before = connection.prepare

        async def prepare(protocol: PubSubProtocol) -> None:
            """Prepare the connection, and subscribe to the permanent channels."""
            await before(protocol)
            await protocol.subscribe([self._service, *self._always])

        connection.prepare = prepare
        connection.changed = self._connection_changed

    def start(self) -> "Deferred[None]":
        """Connect; fires after the first attempt, and fails if that attempt failed."""
        self._silence_timer = self._clock.callLater(self.silence, self._check_silence)
        return self.connection.start()

    def stop(self) -> "Deferred[None]":
        """Close; fires when the connection and all timers are gone."""
        for call in (self._silence_timer, self._flush):
            if call is not None:
                call.cancel()
        self._silence_timer = self._flush = None
        self._fail_pending(BrokerUnavailable("stopped"))
        self._queue.stop()
        return self.connection.stop()

    def receive(self, messages: list[Message]) -> None:
        """Handle messages from the connection."""
        self._received = True
        self._queue.add([each for each in messages if each[0] != self._service])

    # --- Subscribing -----------------------------------------------------------

    def subscribe(self, name: bytes) -> "Deferred[None]":
        """Subscribe to a PUB/SUB channel, in one command with others of this turn.

        :return: fires when Redis has acknowledged it.
        """
        if self.connection.protocol is None:
            return fail(BrokerUnavailable(self.connection.reason))
        if name in self._pending:
            self._send_subscribes()
        done = self._pending[name] = Deferred()
        if self._flush is None:
            self._flush = self._clock.callLater(0, self._send_subscribes)
        return done

    def unsubscribe(self, name: bytes) -> "Deferred[None]":
        """Undo `subscribe`; without a connection, removing the name is enough."""
        if self._pending:
            self._send_subscribes()
        self._subscribed_names.pop(name, None)
        protocol = self.connection.protocol
        if protocol is None:
            return succeed(None)
        left = protocol.unsubscribe([name])
        return left.addCallbacks(
            self._forget_name,
            self._unsubscribe_failed,
            callbackArgs=(name,),
            errbackArgs=(name,),
        )

    def _forget_name(self, _: None, name: bytes) -> None:
        # Again, since a subscribe may have completed meanwhile.
        self._subscribed_names.pop(name, None)

    def _unsubscribe_failed(self, failure: Failure, name: bytes) -> Failure | None:
        """Keep a subscription that Redis refused to end; a lost connection ends it."""
        if failure.check(Refused):
            self._subscribed_names[name] = None
            return failure
        self._forget_name(None, name)
        return None

    def _send_subscribes(self) -> None:
        """Send the subscribes of this turn."""
        if self._flush is not None:
            if self._flush.active():
                self._flush.cancel()
            self._flush = None
        pending, self._pending = self._pending, {}
        protocol = self.connection.protocol
        assert (
            protocol is not None
        )  # otherwise `_connection_changed` has emptied `_pending`
        for chunk in _chunks(list(pending)):
            done = [pending[name] for name in chunk]
            sent = protocol.subscribe(chunk)
            sent.addCallbacks(
                self._subscribed,
                self._subscribe_failed,
                callbackArgs=(chunk, done),
                errbackArgs=(done,),
            )

    def _subscribed(
        self, _: None, names: list[bytes], done: "list[Deferred[None]]"
    ) -> None:
        self._subscribed_names.update(dict.fromkeys(names))
        for each in done:
            each.callback(None)

    def _subscribe_failed(self, failure: Failure, done: "list[Deferred[None]]") -> None:
        for each in done:
            each.errback(failure.value)

    # --- The connection --------------------------------------------------------

    def _connection_changed(
        self, connection: ReconnectingConnection[PubSubProtocol]
    ) -> None:
        self._probed = False
        protocol = connection.protocol
        if protocol is None:
            self._fail_pending(BrokerUnavailable(connection.reason))
        elif self._subscribed_names:
            self._log.info(
                "restoring {count} subscriptions", count=len(self._subscribed_names)
            )
            restored = Deferred.fromCoroutine(self._restore(protocol))
            restored.addErrback(self._restore_failed, protocol)

    async def _restore(self, protocol: PubSubProtocol) -> None:
        """Restore all subscriptions; after another loss, the restore starts over."""
        chunks = _chunks(list(self._subscribed_names))
        while window := list(islice(chunks, COMMANDS_AT_ONCE)):
            sent = [self._resubscribe(protocol, chunk) for chunk in window]
            await gatherResults(sent, consumeErrors=True)

    def _resubscribe(
        self, protocol: PubSubProtocol, names: list[bytes]
    ) -> "Deferred[None]":
        wanted = [name for name in names if name in self._subscribed_names]
        if not wanted:
            return succeed(None)
        return protocol.subscribe(wanted).addCallback(lambda _: self._missed(wanted))

    def _restore_failed(self, failure: Failure, protocol: PubSubProtocol) -> None:
        if isinstance(failure.value, FirstError):
            failure = failure.value.subFailure
        protocol.abort(f"cannot restore subscriptions: {failure.getErrorMessage()}")

    def _fail_pending(self, error: BrokerUnavailable) -> None:
        """Fail the subscribes that were not sent."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        pending, self._pending = self._pending, {}
        for done in pending.values():
            done.errback(error)

    # --- Signs of life ---------------------------------------------------------

    def _check_silence(self) -> None:
        """Probe a silent connection; reconnect if the probe does not arrive.

        A probe that could not be published proves nothing.
        """
        self._silence_timer = self._clock.callLater(self.silence, self._check_silence)
        if self._received:
            self._received = self._probed = False
            self._silent_reconnects = self._skip_intervals = 0
        elif self.connection.protocol is None:
            self._probed = False
        elif not self._probed:
            self._probe().addCallbacks(self._probe_published, ignore_result)
        elif self._skip_intervals:
            self._skip_intervals -= 1
        else:
            self._skip_intervals = min(
                MAX_SKIPPED_INTERVALS, 2**self._silent_reconnects
            )
            self._silent_reconnects += 1
            self.connection.reconnect("no messages arrive")

    def _probe_published(self, _: Reply) -> None:
        self._probed = True


def _chunks(names: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(names), CHANNELS_PER_COMMAND):
        yield names[start : start + CHANNELS_PER_COMMAND]
