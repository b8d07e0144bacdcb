"""The order in which a node writes to its clients."""

from attrs import define, field

__all__ = ["WriteOrder"]


@define(eq=False)
class WriteOrder:
    """Numbers the moments of a node, so that writes can be compared.

    What was written before a moment was taken is older than this moment, and what is
    written afterwards is younger.  No clock is as fine.
    """

    _last: int = field(default=0, init=False)

    def now(self) -> int:
        """Return a moment: a number greater than all before."""
        self._last += 1
        return self._last
