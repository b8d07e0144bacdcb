"""What this node hears: one PUB/SUB connection, and what it is subscribed to."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from attrs import define, field
from twisted.internet.defer import Deferred, FirstError, fail, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import BrokerUnavailable
from ...metrics import Counter
from .connection import PubSubProtocol, Refused, Reply, forget
from .inbox import Inbox, Message
from .link import Link

__all__ = ["Subscriber"]

#: Channels in one command, and commands under way while subscriptions are restored.
CHUNK, WINDOW = 512, 16
#: Seconds of silence after which it is tried whether messages still come.
SILENCE = 30.0
#: Intervals of silence to let pass, at most, between two reconnects for silence.
PATIENCE = 10


@define(eq=False)
class Subscriber:
    """Subscribes, and subscribes again when the connection was lost.

    :param service: a PUB/SUB channel of our own; its messages only prove that
        messages come.
    :param dropped: counts messages that came too fast to be delivered.
    :param always: PUB/SUB channels that are subscribed to whenever there is a
        connection.
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
    silence: float = SILENCE
    link: Link[PubSubProtocol] = field(init=False)
    _inbox: Inbox = field(init=False)
    #: What is subscribed to, and what was when the connection was lost.
    _names: dict[bytes, None] = field(factory=dict, init=False)
    _fresh: "dict[bytes, Deferred[None]]" = field(factory=dict, init=False)
    _flush: IDelayedCall | None = field(default=None, init=False)
    _watch: IDelayedCall | None = field(default=None, init=False)
    _heard: bool = field(default=False, init=False)
    _probed: bool = field(default=False, init=False)
    _deaf: int = field(default=0, init=False)
    _rest: int = field(default=0, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._inbox = Inbox(self._clock, self._deliver, self._missed, self._dropped)

    def use(self, link: Link[PubSubProtocol]) -> None:
        """Use the connection that *link* keeps up."""
        self.link = link
        before = link.prepare

        async def prepare(protocol: PubSubProtocol) -> None:
            """Log in, and subscribe to what is always listened to."""
            await before(protocol)
            await protocol.subscribe([self._service, *self._always])

        link.prepare = prepare
        link.changed = self._changed

    def start(self) -> "Deferred[None]":
        """Connect; fires after the first attempt, and fails if that failed."""
        self._watch = self._clock.callLater(self.silence, self._look)
        return self.link.start()

    def stop(self) -> "Deferred[None]":
        """Close; fires when nothing is left in the reactor."""
        for call in (self._watch, self._flush):
            if call is not None:
                call.cancel()
        self._watch = self._flush = None
        self._give_up(BrokerUnavailable("stopped"))
        self._inbox.stop()
        return self.link.stop()

    def receive(self, messages: list[Message]) -> None:
        """Take what the connection has read."""
        self._heard = True
        self._inbox.take([each for each in messages if each[0] != self._service])

    # --- Subscribing -----------------------------------------------------------

    def subscribe(self, name: bytes) -> "Deferred[None]":
        """Subscribe to a PUB/SUB channel, together with what else comes this turn.

        :return: fires when Redis has acknowledged it.
        """
        if self.link.protocol is None:
            return fail(BrokerUnavailable(self.link.reason))
        if name in self._fresh:
            self._subscribe()
        done = self._fresh[name] = Deferred()
        if self._flush is None:
            self._flush = self._clock.callLater(0, self._subscribe)
        return done

    def unsubscribe(self, name: bytes) -> "Deferred[None]":
        """Undo `subscribe`; while there is no connection, forgetting is enough."""
        if self._fresh:
            self._subscribe()
        self._names.pop(name, None)
        protocol = self.link.protocol
        if protocol is None:
            return succeed(None)
        left = protocol.unsubscribe([name])
        return left.addCallbacks(
            self._left, self._stayed, callbackArgs=(name,), errbackArgs=(name,)
        )

    def _left(self, _: None, name: bytes) -> None:
        # Once more, since a subscribe may have been under way.
        self._names.pop(name, None)

    def _stayed(self, failure: Failure, name: bytes) -> Failure | None:
        """Go on with what Redis refused to end; a lost connection ends it, too."""
        if failure.check(Refused):
            self._names[name] = None
            return failure
        self._left(None, name)
        return None

    def _subscribe(self) -> None:
        """Send the subscribes of this turn."""
        if self._flush is not None:
            if self._flush.active():
                self._flush.cancel()
            self._flush = None
        fresh, self._fresh = self._fresh, {}
        protocol = self.link.protocol
        assert protocol is not None  # otherwise `_changed` has emptied `_fresh`
        for chunk in _chunks(list(fresh)):
            done = [fresh[name] for name in chunk]
            sent = protocol.subscribe(chunk)
            sent.addCallbacks(
                self._subscribed,
                self._refused,
                callbackArgs=(chunk, done),
                errbackArgs=(done,),
            )

    def _subscribed(
        self, _: None, names: list[bytes], done: "list[Deferred[None]]"
    ) -> None:
        self._names.update(dict.fromkeys(names))
        for each in done:
            each.callback(None)

    def _refused(self, failure: Failure, done: "list[Deferred[None]]") -> None:
        for each in done:
            each.errback(failure.value)

    # --- The connection --------------------------------------------------------

    def _changed(self, link: Link[PubSubProtocol]) -> None:
        self._probed = False
        protocol = link.protocol
        if protocol is None:
            self._give_up(BrokerUnavailable(link.reason))
        elif self._names:
            self._log.info("restoring {count} subscriptions", count=len(self._names))
            restored = Deferred.fromCoroutine(self._restore(protocol))
            restored.addErrback(self._unrestored, protocol)

    async def _restore(self, protocol: PubSubProtocol) -> None:
        """Subscribe again to everything; a connection lost meanwhile begins anew."""
        chunks = _chunks(list(self._names))
        while window := list(islice(chunks, WINDOW)):
            sent = [self._again(protocol, chunk) for chunk in window]
            await gatherResults(sent, consumeErrors=True)

    def _again(self, protocol: PubSubProtocol, names: list[bytes]) -> "Deferred[None]":
        wanted = [name for name in names if name in self._names]
        if not wanted:
            return succeed(None)
        return protocol.subscribe(wanted).addCallback(lambda _: self._missed(wanted))

    def _unrestored(self, failure: Failure, protocol: PubSubProtocol) -> None:
        if isinstance(failure.value, FirstError):
            failure = failure.value.subFailure
        protocol.abort(f"cannot restore subscriptions: {failure.getErrorMessage()}")

    def _give_up(self, error: BrokerUnavailable) -> None:
        """Fail what was not yet sent."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        fresh, self._fresh = self._fresh, {}
        for done in fresh.values():
            done.errback(error)

    # --- Signs of life ---------------------------------------------------------

    def _look(self) -> None:
        """Try whether messages come; leave a connection on which none does.

        A probe that could not be published proves nothing.
        """
        self._watch = self._clock.callLater(self.silence, self._look)
        if self._heard:
            self._heard = self._probed = False
            self._deaf = self._rest = 0
        elif self.link.protocol is None:
            self._probed = False
        elif not self._probed:
            self._probe().addCallbacks(self._published, forget)
        elif self._rest:
            self._rest -= 1
        else:
            self._rest = min(PATIENCE, 2**self._deaf)
            self._deaf += 1
            self.link.drop("no messages come")

    def _published(self, _: Reply) -> None:
        self._probed = True


def _chunks(names: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(names), CHUNK):
        yield names[start : start + CHUNK]
