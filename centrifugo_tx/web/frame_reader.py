"""A reader of HTTP/2 frames, and a limit on useless ones."""

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

__all__ = ["FrameFloodLimit", "FrameReader"]

#: Bytes of the client's connection preface (RFC 9113, 3.4).
PREFACE = 24
#: Bytes of a frame header, and of the longest payload accepted (RFC 9113, 4.1).
HEAD, PAYLOAD_LIMIT = 9, 16384

#: Useless frames that a client may send at once, and further ones per second.
BURST = 1000
RATE = 50
#: Further useless frames allowed for each request.
EARNED = 4

_DATA, _HEADERS, _RESET = 0, 1, 3


@define(eq=False)
class FrameReader:
    """Splits input into whole frames; the first piece is the client's preface."""

    _data: bytes = field(default=b"", init=False)
    _at: int = field(default=0, init=False)
    _begun: bool = field(default=False, init=False)

    @property
    def size(self) -> int:
        """Return the number of unread bytes."""
        return len(self._data) - self._at

    @property
    def ready(self) -> bool:
        """Whether a whole frame is unread."""
        return self.size >= self._needed()

    def feed(self, data: bytes) -> None:
        """Append input."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def next(self) -> bytes | None:
        """Return the next frame, or None if it is incomplete.

        Of a frame that is too long, only the header is returned, which the HTTP/2
        library rejects.
        """
        needed = self._needed()
        if self.size < needed:
            return None
        start, self._at = self._at, self._at + needed
        self._begun = True
        return self._data[start : self._at]

    def clear(self) -> None:
        """Discard the unread bytes."""
        self._data, self._at = b"", 0

    def _needed(self) -> int:
        """Return the size of the next frame; at least that of its header."""
        if not self._begun:
            return PREFACE
        length = int.from_bytes(self._data[self._at : self._at + 3], "big")
        if self.size < HEAD or length > PAYLOAD_LIMIT:
            return HEAD
        return HEAD + length


@define(eq=False)
class _Allowance:
    """A number of frames, which grows by `RATE` per second up to `BURST`."""

    _clock: IReactorTime
    _left: float = field(default=BURST, init=False)
    _since: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._since = self._clock.seconds()

    def take(self) -> bool:
        """Take one frame; return False if none is left."""
        if self._left < 1:
            now = self._clock.seconds()
            self._left = min(BURST, max(0.0, now - self._since) * RATE)
            self._since = now
            if self._left < 1:
                return False
        self._left -= 1
        return True

    def add(self, count: float) -> None:
        """Add *count* frames."""
        self._left = min(BURST, self._left + count)


@define(eq=False)
class FrameFloodLimit:
    """Counts frames without content: pings, settings, priorities, resets.

    A flood of them is an attack (CVE-2019-9512, 9514, 9515, 9518).  Requests earn
    further frames, but not further resets, because a request that is reset at once
    is an attack as well (CVE-2023-44487).
    """

    _clock: IReactorTime
    _frames: _Allowance = field(init=False)
    _resets: _Allowance = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._frames, self._resets = _Allowance(self._clock), _Allowance(self._clock)

    def allows(self, frame: bytes) -> bool:
        """Count *frame*; return False if it exceeds the limit."""
        kind = frame[3]
        if kind == _HEADERS or (kind == _DATA and len(frame) > HEAD):
            return True
        if kind == _RESET and not self._resets.take():
            return False
        return self._frames.take()

    def allow_more(self, count: float) -> None:
        """Allow *count* more frames, because the client uses the connection."""
        self._frames.add(count)
