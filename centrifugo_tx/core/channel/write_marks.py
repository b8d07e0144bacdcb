"""When the publications of one channel were written to its subscribers."""

from bisect import bisect_right

from attrs import define, field

__all__ = ["MARKS", "WriteMarks"]

#: How many marks one channel keeps.
MARKS = 512


@define(eq=False)
class WriteMarks:
    """Moments at which a channel had been written up to an offset, to all subscribers.

    At most `MARKS` are kept.  When there are more, every second of the older half is
    dropped: the older a moment is, the coarser is the answer, and it is never too high.
    """

    _offsets: list[int] = field(factory=list, init=False)
    _moments: list[int] = field(factory=list, init=False)
    _times: list[float] = field(factory=list, init=False)

    @property
    def newest(self) -> int:
        """The offset up to which all has been written; 0: unknown."""
        return self._offsets[-1] if self._offsets else 0

    def add(self, offset: int, moment: int, at: float) -> bool:
        """Note that everything up to *offset* has been written at *moment*.

        :param at: when the last of it was published (seconds since 1970).
        :return: whether that is more than before.
        """
        offsets, moments = self._offsets, self._moments
        if offsets and offset <= offsets[-1]:
            return False
        offsets.append(offset)
        moments.append(moment)
        self._times.append(at)
        if len(offsets) > MARKS:
            older = MARKS // 2
            del offsets[1:older:2], moments[1:older:2], self._times[1:older:2]
        return True

    def upto(self, moment: int) -> int:
        """Return the offset up to which all was written before *moment*; 0: unknown."""
        place = bisect_right(self._moments, moment)
        return self._offsets[place - 1] if place else 0

    def published(self, earlier: int, moment: int) -> float | None:
        """Return when the newest publication written before *moment* was published.

        :return: None if it was written before the moment *earlier*, too.
        """
        place = bisect_right(self._moments, moment)
        if not place or self._moments[place - 1] <= earlier:
            return None
        return self._times[place - 1]

    def clear(self) -> None:
        """Forget all marks: another stream begins."""
        self._offsets.clear()
        self._moments.clear()
        self._times.clear()
