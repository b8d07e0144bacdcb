"""A channel followed live: its pushes as lines of a response that does not end."""

from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from ..core import Node, Watcher
from ..errors import BrokerUnavailable
from ..interfaces import ITransport
from ..options import TransportInfo
from ..protocol.codes import Disconnect
from ..protocol.wire import Wire, admin_feed

__all__ = ["Body", "Feeds"]

#: Feeds that may be open on one node.
MOST = 32
#: Lines that one feed may have in a second, and bytes of a line; the rest is counted.
RATE, LINE_LIMIT = 100, 65536
#: Seconds between two lines that say nothing, so that no proxy hangs up.
PULSE = 10.0

_INFO = TransportInfo(name="admin_feed", unidirectional=True)
_HEADERS = (
    (b"Content-Type", b"application/x-ndjson"),
    (b"Cache-Control", b"no-store"),
    (b"X-Accel-Buffering", b"no"),
    (b"X-Content-Type-Options", b"nosniff"),
)


class Body(Protocol):
    """The body of a response that does not end."""

    def start(self, headers: Any, now: float, first: bytes = b"") -> None:
        """Send the head and the first bytes."""

    def closed(self) -> "Deferred[None]":
        """Return a Deferred that fires or fails when the response is over."""

    def write(self, data: bytes) -> None:
        """Send *data* in one piece."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Tell *producer* when to pause."""

    def unregisterProducer(self) -> None:
        """Undo that."""

    def finish(self) -> None:
        """End the body."""


@implementer(ITransport, IPushProducer)
@define(eq=False, slots=False)
class _Feed:
    """One viewer's response; drops lines that are too many for the viewer, and counts
    them.
    """

    _node: Node
    _body: Body
    wire: Wire = field(factory=admin_feed)
    info: TransportInfo = _INFO
    peer_address: str = ""
    watcher: Watcher | None = None
    _paused: bool = False
    _second: int = 0
    _lines: int = 0
    _skipped: int = 0
    _ended: bool = False
    _pulse: IDelayedCall | None = None
    _log = Logger()

    def begin(self, watcher: Watcher) -> "Deferred[None]":
        """Watch until the viewer has gone; return a Deferred that fires then."""
        self.watcher = watcher
        over: Deferred[None] = Deferred()

        def gone(_: object) -> None:
            self._end()
            over.callback(None)

        self._body.start(_HEADERS, self._node.clock.seconds())
        self._body.registerProducer(self, True)
        self._body.closed().addBoth(gone)
        started = Deferred.fromCoroutine(watcher.start())
        started.addCallbacks(self._beat, self._refused)
        return over

    def _refused(self, failure: Any) -> None:
        if failure.check(BrokerUnavailable):
            self._node.runtime.outage.failed("watch", failure.getErrorMessage())
        else:
            self._log.failure("a channel cannot be watched", failure)
        self._send(b'{"error":{"code":100,"message":"internal server error"}}\n')
        self.close(None)

    def _beat(self, _: None = None) -> None:
        """Say that the channel is followed, now and regularly."""
        if self._ended:
            return
        self._pulse = self._node.clock.callLater(PULSE, self._beat)
        self._send(b"{}\n")

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        if self._pulse is not None:
            self._pulse.cancel()
        self._body.unregisterProducer()
        if self.watcher is not None:
            self.watcher.stop()

    def _send(self, line: bytes) -> None:
        """Send a line and, before it, how many there should have been besides."""
        if self._paused or self._ended:
            return
        if self._skipped:
            line, self._skipped = b'{"skipped":%d}\n%b' % (self._skipped, line), 0
        self._body.write(line)

    # --- What the watcher calls ------------------------------------------------

    def write(self, frame: bytes) -> None:
        """Send one push, unless the viewer is slow or there are too many."""
        second = int(self._node.clock.seconds())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._paused or self._lines > RATE:
            self._skipped += 1
        elif len(frame) > LINE_LIMIT:
            self._send(b'{"too_large":%d}\n' % len(frame))
        else:
            self._send(frame)

    def undeliverable(self) -> None:
        """Say that there was something binary."""
        self.write(b'{"binary":true}\n')

    def close(self, disconnect: Disconnect | None) -> None:
        """End the response."""
        if not self._ended:
            self._end()
            self._body.finish()

    def pause(self) -> None:
        """Do nothing: a viewer sends nothing."""

    def resume(self) -> None:
        """Do nothing: a viewer sends nothing."""

    # --- What the connection calls ---------------------------------------------

    def pauseProducing(self) -> None:
        """Only count from now on."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Send again."""
        self._paused = False

    def stopProducing(self) -> None:
        """Watch no more."""
        self._end()


@define(eq=False)
class Feeds:
    """The feeds that are open on this node.

    :param body_of: returns the body of the response to a request.
    """

    _node: Node
    _body_of: Callable[[Any], Body]
    _open: dict[_Feed, None] = field(factory=dict, init=False)

    @property
    def full(self) -> bool:
        """Whether no more can be opened."""
        return len(self._open) >= MOST

    def open(self, request: Any, channel: str) -> None:
        """Answer *request* with the pushes of *channel* for as long as it is read.

        :raises ReplyError: the channel is unknown.
        """
        feed = _Feed(self._node, self._body_of(request))
        watcher = self._node.watcher(channel, feed, feed.undeliverable)
        self._open[feed] = None
        feed.begin(watcher).addCallback(lambda _: self._open.pop(feed, None))

    def stop(self) -> None:
        """End all of them."""
        for feed in list(self._open):
            feed.close(None)
