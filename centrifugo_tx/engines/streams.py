"""One channel's history in memory (engines, B)."""

from collections import deque
from collections.abc import Callable
from itertools import islice
from random import choices
from string import ascii_letters

from attrs import define, field

from ..options import History, HistoryQuery
from ..protocol.messages import Publication, StreamPosition

__all__ = ["MemoryStream", "new_epoch"]


def new_epoch() -> str:
    """Return a name for a new stream: 8 random letters (engines, A.3)."""
    return "".join(choices(ascii_letters, k=8))


@define(eq=False)
class MemoryStream:
    """The last publications of a channel, and the position of the newest.

    Offsets have no holes, so a publication's place is found by arithmetic.
    """

    epoch: str = field(factory=new_epoch)
    top: int = field(default=0, init=False)
    version: int = field(default=0, init=False)
    version_epoch: str = field(default="", init=False)
    #: When the publications, and when the stream itself, are forgotten (0: never).
    expires: float = field(default=0.0, init=False)
    removed: float = field(default=0.0, init=False)
    _publications: deque[Publication] = field(factory=deque, init=False)

    @property
    def position(self) -> StreamPosition:
        """Return the top of the stream."""
        return StreamPosition(self.top, self.epoch)

    @property
    def latest(self) -> Publication | None:
        """Return the newest publication that is kept."""
        return self._publications[-1] if self._publications else None

    def outdated(self, version: int, version_epoch: str) -> bool:
        """Whether *version* is not newer than what was stored last (A.2)."""
        same = not version_epoch or version_epoch == self.version_epoch
        return bool(version and self.version and same and version <= self.version)

    def append(
        self,
        make: Callable[[int], Publication],
        size: int,
        version: int = 0,
        version_epoch: str = "",
    ) -> Publication:
        """Add the publication that *make* makes for its offset, and keep *size*."""
        self.top += 1
        publication = make(self.top)
        self._publications.append(publication)
        while len(self._publications) > size:
            self._publications.popleft()
        self.version, self.version_epoch = version, version_epoch
        return publication

    def clear(self) -> None:
        """Forget the publications; the position stays."""
        self._publications.clear()

    def read(self, query: HistoryQuery) -> History:
        """Return what *query* asks for (A.4)."""
        return History(list(self._select(query)), self.position)

    def _select(self, query: HistoryQuery) -> "islice[Publication] | tuple[()]":
        kept = self._publications
        if not query.limit or not kept:
            return ()
        limit = None if query.limit < 0 else query.limit
        oldest = kept[0].offset
        if query.since is None:
            items = reversed(kept) if query.reverse else iter(kept)
            return islice(items, limit)
        since = query.since.offset
        if query.reverse:
            start = since - 1
            if not oldest <= start <= self.top:
                return ()
            skip = self.top - start
            return islice(reversed(kept), skip, None if limit is None else skip + limit)
        skip = max(0, since + 1 - oldest)
        return islice(kept, skip, None if limit is None else skip + limit)
