"""Frames into a byte stream, gathered within a turn and bounded while it is full."""

from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from .eager_tcp import bytes_drained

__all__ = ["ByteStream", "FlushBatch", "FrameWriter"]


class ByteStream(Protocol):
    """What is used of a Twisted transport."""

    def write(self, data: bytes) -> None:
        """Send, or queue."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Tell *producer* when to pause."""

    def unregisterProducer(self) -> None:
        """Undo that."""


@define(eq=False)
class FlushBatch:
    """The streams with something to send before the reactor's turn ends.

    Frames written in one turn leave in one ``send`` per connection.  A peer that
    takes nothing for ``write_timeout`` seconds is given up; 0: it never is.
    """

    clock: IReactorTime
    write_timeout: float = 1.0
    _log = Logger()
    _streams: "list[FrameWriter]" = field(factory=list, init=False)

    def add(self, stream: "FrameWriter") -> None:
        """Flush *stream* when the turn ends."""
        if not self._streams:
            self.clock.callLater(0, self._flush)
        self._streams.append(stream)

    def _flush(self) -> None:
        streams, self._streams = self._streams, []
        for stream in streams:
            try:
                stream.flush()
            except Exception:  # the others must not wait for ever
                self._log.failure("cannot write to a connection")


@implementer(IPushProducer)
@define(eq=False)
class FrameWriter:
    """Frames on their way to one peer.

    While the peer keeps up nothing waits longer than a turn.  When the stream is
    full, frames queue.  `queue_overflowed` is called when the queue, or a single
    frame, exceeds ``limit`` bytes.
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
        """Whether the stream takes nothing for now."""
        return self._paused

    def open(self) -> None:
        """Begin to listen to the stream's wishes."""
        assert self._stream is not None
        self._stream.registerProducer(self, True)

    def write(self, frame: bytes) -> None:
        """Send *frame*, at the latest when the turn ends; nothing after `end`."""
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
        """Hand over early what waits, if the stream takes it; else give up."""
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
        """Hand over what waits, unless the stream is full."""
        frames, stream = self._frames, self._stream
        if frames is None or self._paused:
            return
        self._frames = None
        if stream is None:
            return
        stream.write(frames if isinstance(frames, bytes) else b"".join(frames))

    def queue_overflowed(self) -> None:
        """Give the peer up; it reads too slowly."""
        self.end(drop=True)

    def write_timed_out(self) -> None:
        """Give the peer up; it has taken nothing for too long."""
        self.end(drop=True)

    def end(self, drop: bool) -> None:
        """Take no more frames; hand over what waits, or *drop* it."""
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
        """Queue from now on (the stream is full)."""
        self._paused = True
        if self._write_timeout_call is None:
            self._start_write_timeout()

    def resumeProducing(self) -> None:
        """Go on (the stream has room)."""
        self._paused = False
        self._cancel_write_timeout()
        self.flush()

    def stopProducing(self) -> None:
        """Drop what waits (the stream is gone)."""
        self.end(drop=True)

    def _start_write_timeout(self) -> None:
        """Look later whether the peer has taken anything."""
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
