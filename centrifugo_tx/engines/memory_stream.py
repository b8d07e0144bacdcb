"""The stream of one channel, in memory.

See engines, "Offsets and epochs", "Reading history" and "Memory engine".
"""

from collections import deque
from itertools import islice, product
from random import random
from string import ascii_letters

from attrs import define, field

from ..options import HistoryQuery, PublishOptions
from ..protocol.messages import Payload, Publication, StreamPosition

__all__ = ["MemoryStream", "new_epoch"]

_PAIRS = ["".join(pair) for pair in product(ascii_letters, repeat=2)]


def new_epoch() -> str:
    """Return an epoch for a new stream: eight random letters."""
    pairs, count = _PAIRS, len(_PAIRS)
    first, second = pairs[int(random() * count)], pairs[int(random() * count)]
    third, fourth = pairs[int(random() * count)], pairs[int(random() * count)]
    return first + second + third + fourth


@define(eq=False, weakref_slot=False)
class MemoryStream:
    """Publications of one channel, numbered from 1 within one epoch.

    Readers share the publications, which never change.  Offsets have no gaps, so the
    index of a publication is computed.  Most streams of a node hold no publications any
    longer, so the queue exists only while it holds some.
    """

    epoch: str = field(factory=new_epoch)
    top: int = field(default=0, init=False)
    _version: int = field(default=0, init=False)
    _version_epoch: str = field(default="", init=False)
    _kept: deque[Publication] | None = field(default=None, init=False)

    @property
    def position(self) -> StreamPosition:
        """The position of the newest publication, even if it is no longer kept."""
        return StreamPosition(self.top, self.epoch)

    @property
    def newest(self) -> Publication | None:
        """The newest publication that is still kept."""
        return self._kept[-1] if self._kept else None

    def supersedes(self, version: int, version_epoch: str) -> bool:
        """Whether the stream already has this version or a newer one.

        See engines, "Publish options".
        """
        if not version or not self._version:
            return False
        if version_epoch and version_epoch != self._version_epoch:
            return False
        return version <= self._version

    def append(self, data: Payload, options: PublishOptions) -> Publication:
        """Append *data*, and drop the oldest publications beyond the history size.

        A publication without a version clears the version of the stream.
        """
        self._version = options.version
        self._version_epoch = options.version_epoch
        offset = self.top + 1
        publication = Publication(
            data=data,
            info=options.info,
            offset=offset,
            tags=options.tags,
            epoch=self.epoch if offset == 1 else "",
            version=options.version,
        )
        self.push(publication, options.history_size)
        return publication

    def push(self, publication: Publication, size: int) -> None:
        """Append *publication*, which has the next offset, and keep *size* of them."""
        self.top = publication.offset
        kept = self._kept
        if kept is None:
            kept = self._kept = deque()
        kept.append(publication)
        while len(kept) > size:
            kept.popleft()

    def read(self, query: HistoryQuery) -> list[Publication]:
        """Return the publications that *query* selects; epochs are not compared."""
        kept = self._kept
        if not query.limit or not kept:
            return []
        oldest = kept[0].offset
        since = query.since
        if query.reverse:
            newest = self.top if since is None else since.offset - 1
            if not oldest <= newest <= self.top:
                return []
            skip = self.top - newest
        else:
            first = oldest if since is None else since.offset + 1
            skip = min(max(0, first - oldest), len(kept))
        stop = None if query.limit < 0 else skip + query.limit
        return list(islice(reversed(kept) if query.reverse else kept, skip, stop))

    def clear(self) -> None:
        """Drop the publications, but keep the position."""
        self._kept = None
