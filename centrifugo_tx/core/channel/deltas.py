"""Deltas between publications, with a cache of recent ones.

See client protocol, "Deltas".
"""

from collections.abc import Callable

from attrs import define, field

from ...protocol.delta import make
from ...protocol.messages import Publication

__all__ = ["Between", "Deltas", "difference"]

#: Returns the delta between a publication and the next, if it is worth it.
Between = Callable[[Publication, Publication], bytes | None]

#: Lengths and hashes of two payloads: a cache key that holds no payload.
_Pair = tuple[int, int, int, int]

#: Bytes that a cache entry takes beside its delta, roughly.
_OVERHEAD = 400


def difference(previous: Publication, publication: Publication) -> bytes | None:
    """Return the delta between payloads if it is shorter than the newer one."""
    return _shorter(bytes(previous.data), bytes(publication.data))


def _shorter(base: bytes, target: bytes) -> bytes | None:
    delta = make(base, target)
    return delta if len(delta) < len(target) else None


@define(eq=False)
class Deltas:
    """The deltas of a node.

    Clients that reconnect together have missed the same publications, so up to
    ``limit`` bytes of deltas are cached; the oldest are dropped first.

    At most ``work`` bytes of payloads are compared for one recovering subscriber, which
    takes about 5 ms.
    """

    limit: int = 2 * 1024 * 1024
    work: int = 32 * 1024
    _made: dict[_Pair, bytes | None] = field(factory=dict, init=False)
    _size: int = field(default=0, init=False)

    def between(self, previous: Publication, publication: Publication) -> bytes | None:
        """Return the delta if it is shorter than the newer payload."""
        base, target = bytes(previous.data), bytes(publication.data)
        pair = _pair(base, target)
        if pair in self._made:
            return self._made[pair]
        return self._keep(pair, _shorter(base, target))

    def as_work_allows(self) -> Between:
        """Return a maker of deltas that gives up after `work` bytes of payloads."""
        left = self.work

        def between(previous: Publication, publication: Publication) -> bytes | None:
            nonlocal left
            base, target = bytes(previous.data), bytes(publication.data)
            pair = _pair(base, target)
            if pair in self._made:
                return self._made[pair]
            if left <= 0:
                return None
            left -= len(target)
            return self._keep(pair, _shorter(base, target))

        return between

    def _keep(self, pair: _Pair, delta: bytes | None) -> bytes | None:
        self._made[pair] = delta
        self._size += _OVERHEAD + len(delta or b"")
        while self._size > self.limit:
            oldest = self._made.pop(next(iter(self._made)))
            self._size -= _OVERHEAD + len(oldest or b"")
        return delta


def _pair(base: bytes, target: bytes) -> _Pair:
    return len(base), hash(base), len(target), hash(target)
