"""HTTP/2 frames one by one, and how many useless ones a client may send."""

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

__all__ = ["FrameFloodLimit", "FrameReader"]

#: What a client says first (RFC 9113, 3.4).
PREFACE = 24
#: Bytes of a frame's head, and of the longest payload that is read (RFC 9113, 4.1).
HEAD, PAYLOAD_LIMIT = 9, 16384

#: Frames without use that may come at once, and how many more each second.
BURST = 1000
RATE = 50
#: How many a request may bring with it.
EARNED = 4

_DATA, _HEADERS = 0, 1


@define(eq=False)
class FrameReader:
    """Cuts what comes into whole frames; the first piece is the client's preface."""

    _data: bytes = field(default=b"", init=False)
    _at: int = field(default=0, init=False)
    _begun: bool = field(default=False, init=False)

    @property
    def size(self) -> int:
        """Return how many bytes are left."""
        return len(self._data) - self._at

    @property
    def ready(self) -> bool:
        """Whether a whole frame is left."""
        return self.size >= self._needed()

    def feed(self, data: bytes) -> None:
        """Add what has come."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def next(self) -> bytes | None:
        """Return the next frame, None if it is not whole.

        A frame that is too long is returned as it is; nobody will read it.
        """
        needed = self._needed()
        if self.size < needed:
            return None
        start, self._at = self._at, self._at + needed
        self._begun = True
        return self._data[start : self._at]

    def clear(self) -> None:
        """Forget what is left."""
        self._data, self._at = b"", 0

    def _needed(self) -> int:
        """Return how many bytes the next frame has; at least those of its head."""
        if not self._begun:
            return PREFACE
        length = int.from_bytes(self._data[self._at : self._at + 3], "big")
        if self.size < HEAD or length > PAYLOAD_LIMIT:
            return HEAD
        return HEAD + length


@define(eq=False)
class FrameFloodLimit:
    """Counts the frames that ask for nothing: pings, settings, priorities, resets.

    A flood of them is an attack (CVE-2019-9512, 9514, 9515, 9518).
    """

    _clock: IReactorTime
    _left: float = field(default=BURST, init=False)
    _since: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._since = self._clock.seconds()

    def allows(self, frame: bytes) -> bool:
        """Count *frame*; return False if it is one too many."""
        kind = frame[3]
        if kind == _HEADERS or (kind == _DATA and len(frame) > HEAD):
            return True
        if self._left < 1:
            now = self._clock.seconds()
            self._left = min(BURST, max(0.0, now - self._since) * RATE)
            self._since = now
            if self._left < 1:
                return False
        self._left -= 1
        return True

    def allow_more(self, count: float) -> None:
        """Allow *count* more, since the client makes use of the connection."""
        self._left = min(BURST, self._left + count)
