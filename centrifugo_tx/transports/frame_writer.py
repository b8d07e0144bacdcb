"""Writers of frames, which batch writes and bound what waits for a slow peer."""

from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from .eager_tcp import bytes_buffered, bytes_drained

__all__ = ["ByteStream", "FlushBatch", "FrameWriter"]


#: Seconds that one turn of the reactor may spend on sending, and how many writers are
#: flushed before the clock is read again.
TURN_SECONDS, READING = 0.004, 32


class ByteStream(Protocol):
    """The part of a Twisted transport that a writer uses."""

    def write(self, data: bytes) -> None:
        """Send or queue *data*."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Register *producer*, which is paused while the stream is full."""

    def unregisterProducer(self) -> None:
        """Unregister the producer."""


@define(eq=False)
class FlushBatch:
    """The writers with frames to send at the end of this turn of the reactor.

    The frames that one turn writes to a connection leave in one ``send``.  When sending
    takes longer than `TURN_SECONDS`, the other writers follow in the next turn.  A peer
    that reads nothing for ``write_timeout`` seconds is closed; 0: no timeout.
    """

    clock: IReactorTime
    write_timeout: float = 1.0
    _log = Logger()
    _streams: "list[FrameWriter]" = field(factory=list, init=False)
    _scheduled: bool = field(default=False, init=False)

    def add(self, stream: "FrameWriter") -> None:
        """Flush *stream* at the end of the turn."""
        self._streams.append(stream)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self.clock.callLater(0, self._flush)

    def _flush(self) -> None:
        end = self.clock.seconds() + TURN_SECONDS
        streams, self._streams, self._scheduled = self._streams, [], False
        for first in range(0, len(streams), READING):
            for stream in streams[first : first + READING]:
                try:
                    stream.flush()
                except Exception:  # the other writers still need their flush
                    self._log.failure("cannot write to a connection")
            if self.clock.seconds() >= end:
                # Before those that were added meanwhile.
                self._streams[:0] = streams[first + READING :]
                break
        if self._streams and not self._scheduled:
            self._schedule()


@implementer(IPushProducer)
@define(eq=False)
class FrameWriter:
    """Writes frames to one peer.

    While the peer keeps up, frames wait until the end of the turn at most.  While the
    stream is full, they queue.  `queue_overflowed` is called when the queue, or a
    single frame, exceeds ``limit`` bytes.
    """

    _stream: ByteStream | None
    _flush_batch: FlushBatch
    limit: int
    _frames: "bytes | list[bytes] | None" = field(default=None, init=False)
    _paused: bool = field(default=False, init=False)
    _size: int = field(default=0, init=False)
    _write_timeout_call: IDelayedCall | None = field(default=None, init=False)

    @property
    def full(self) -> bool:
        """Whether the stream is full, so that frames queue."""
        return self._paused

    @property
    def waiting_bytes(self) -> int:
        """How many bytes the peer has not taken: in this queue, and in the stream."""
        frames = self._frames
        if frames is None:
            queued = 0
        else:
            queued = len(frames) if isinstance(frames, bytes) else self._size
        return queued + bytes_buffered(self._stream)

    def open(self) -> None:
        """Register with the stream, which says when to pause."""
        assert self._stream is not None
        self._stream.registerProducer(self, True)

    def write(self, frame: bytes) -> None:
        """Send *frame* by the end of the turn; after `end`, discard it."""
        waiting = self._frames
        if waiting is None:
            if len(frame) > self.limit:
                self._overflow()
                return
            self._frames = frame
            if not self._paused:
                self._flush_batch.add(self)
            return
        if waiting.__class__ is list:
            waiting.append(frame)
            self._size += len(frame)
        else:
            self._frames = [waiting, frame]  # type: ignore[list-item]  # bytes
            self._size = len(waiting) + len(frame)
        if self._size > self.limit:
            self._flush_early()

    def _flush_early(self) -> None:
        """Flush before the turn ends if the stream has room; else report overflow."""
        if self._paused or self._stream is None:
            self._overflow()
            return
        frames = self._frames
        assert isinstance(frames, list)
        last = frames.pop()
        self.flush()
        self.write(last)

    def _overflow(self) -> None:
        if self._stream is None:
            self._frames = None
        else:
            self.queue_overflowed()

    def flush(self) -> None:
        """Write the waiting frames, unless the stream is full."""
        frames, stream = self._frames, self._stream
        if frames is None or self._paused:
            return
        self._frames = None
        if stream is None:
            return
        stream.write(frames if isinstance(frames, bytes) else b"".join(frames))

    def queue_overflowed(self) -> None:
        """Drop the peer, which reads too slowly."""
        self.end(drop=True)

    def write_timed_out(self) -> None:
        """Drop the peer, which has read nothing for too long."""
        self.end(drop=True)

    def end(self, drop: bool) -> None:
        """Accept no more frames; write those that wait, or *drop* them."""
        stream = self._stream
        if stream is None:
            return
        self._cancel_write_timeout()
        self._paused = False
        stream.unregisterProducer()
        if not drop:
            self.flush()
        self._frames = self._stream = None

    def pauseProducing(self) -> None:
        """Start queueing, because the stream is full."""
        self._paused = True
        if self._write_timeout_call is None:
            self._start_write_timeout()

    def resumeProducing(self) -> None:
        """Stop queueing, because the stream has room."""
        self._paused = False
        self._cancel_write_timeout()
        self.flush()

    def stopProducing(self) -> None:
        """Drop the waiting frames, because the stream has closed."""
        self.end(drop=True)

    def _start_write_timeout(self) -> None:
        """Check after the write timeout whether the peer has read anything."""
        flush_batch = self._flush_batch
        if flush_batch.write_timeout > 0:
            self._write_timeout_call = flush_batch.clock.callLater(
                flush_batch.write_timeout,
                self._check_write_timeout,
                bytes_drained(self._stream),
            )

    def _check_write_timeout(self, before: int) -> None:
        self._write_timeout_call = None
        if bytes_drained(self._stream) == before:
            self.write_timed_out()
        else:
            self._start_write_timeout()

    def _cancel_write_timeout(self) -> None:
        if self._write_timeout_call is not None:
            self._write_timeout_call.cancel()
            self._write_timeout_call = None
