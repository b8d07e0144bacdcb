"""What a subscriber gets of the past: pure functions.

See client protocol, "Positioning", "Recovery" and "Cache recovery".

While history is read, live publications are held back for the subscriber.  Here
the two are put together.
"""

from collections.abc import Sequence

import msgspec

from ...options import History
from ...protocol.messages import Publication, StreamPosition
from .filters import Filter

__all__ = ["Held", "Recovery", "fresh", "recover_latest", "recover_stream"]

#: A publication that arrived while history was read, and where it stands.
Held = tuple[Publication, StreamPosition]


class Recovery(msgspec.Struct, frozen=True, gc=False):
    """The outcome.

    ``offset`` is what the client is told, ``upto`` the last offset it now has or
    has been told of.  ``broken``: what was held does not fit what was read, so
    the subscriber cannot be given a place at all.
    """

    offset: int
    upto: int
    epoch: str
    publications: Sequence[Publication] = ()
    recovered: bool = False
    broken: bool = False


def fresh(history: History, held: Sequence[Held]) -> Recovery:
    """Start at the top of the stream; what was held counts as seen.

    See client protocol, "Positioning".
    """
    top = history.position
    merged = _merge([], held, top)
    if merged is None:
        return Recovery(0, 0, top.epoch, broken=True)
    upto = max(top.offset, merged[-1].offset if merged else 0)
    return Recovery(upto, upto, top.epoch)


def recover_stream(
    since: StreamPosition,
    history: History,
    held: Sequence[Held],
    passes: Filter | None = None,
) -> Recovery:
    """Fill the gap from *since* to now, or say that it cannot be filled.

    See client protocol, "Recovery".

    :param history: what the stream holds after *since*, up to the limit.
    """
    top, found = history.position, history.publications
    if since.epoch and since.epoch != top.epoch:
        whole = False
    elif found:
        whole = found[0].offset == since.offset + 1 and found[-1].offset == top.offset
    else:
        whole = since.offset == top.offset
    if not whole:
        return fresh(history, held)
    merged = _merge(found, held, top)
    if merged is None:
        return Recovery(0, 0, top.epoch, broken=True)
    upto = max(top.offset, merged[-1].offset if merged else 0)
    if passes is not None:
        merged = [publication for publication in merged if passes(publication.tags)]
    return Recovery(since.offset, upto, top.epoch, merged, recovered=True)


def recover_latest(
    since: StreamPosition,
    history: History,
    held: Sequence[Held],
    passes: Filter | None = None,
    chain: bool = False,
) -> Recovery:
    """Bring the newest publication, unless the client has it.

    See client protocol, "Cache recovery".

    :param history: the newest publications, newest first.
    :param chain: give all that was held, not only the last (for deltas).
    """
    top = history.position
    found = [p for p in history.publications if passes is None or passes(p.tags)]
    same = since.offset == top.offset and since.epoch == top.epoch
    latest = found[0] if found else None
    if latest is None:
        recovered = since.offset > 0 and same
    elif passes is None:
        recovered = latest.offset == top.offset
    else:
        recovered = True
    merged = _merge(history.publications[:1], held, top)
    if merged is None:
        return Recovery(0, 0, top.epoch, broken=True)
    upto = max(top.offset, merged[-1].offset if merged else 0)
    if not recovered:
        return Recovery(upto, upto, top.epoch)
    newer = [
        publication
        for publication in merged
        if publication.offset > top.offset
        and (passes is None or passes(publication.tags))
    ]
    given = [] if latest is None or (since.offset > 0 and same) else [latest]
    given += newer
    if not chain:
        given = given[-1:]
    return Recovery(since.offset, upto, top.epoch, given, recovered=True)


def _merge(
    found: Sequence[Publication], held: Sequence[Held], top: StreamPosition
) -> list[Publication] | None:
    """Put both in order, each offset once; None if they leave a hole."""
    merged = list(found)
    last = top.offset
    for publication, position in held:
        if top.epoch and position.epoch != top.epoch:
            return None
        if position.offset == last + 1:
            merged.append(publication)
            last += 1
        elif position.offset > last:
            return None
    return merged
