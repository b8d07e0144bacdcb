"""Recovery: pure functions that merge history with buffered publications.

See client protocol, "Positioning", "Recovery" and "Cache recovery".
"""

from collections.abc import Sequence

import msgspec

from ...options import History
from ...protocol.messages import Publication, StreamPosition
from .filters import Filter

__all__ = ["Held", "Recovery", "fresh", "recover_latest", "recover_stream"]

#: A publication that arrived while history was read, with its position.
Held = tuple[Publication, StreamPosition]


class Recovery(msgspec.Struct, frozen=True, gc=False):
    """The outcome of a recovery.

    ``offset`` is the offset in the reply, ``upto`` the last offset that the reply
    covers.  ``broken``: history and the buffered publications do not fit together, so
    the subscriber cannot be activated.
    """

    offset: int
    upto: int
    epoch: str
    publications: Sequence[Publication] = ()
    recovered: bool = False
    broken: bool = False


def fresh(history: History, held: Sequence[Held]) -> Recovery:
    """Start at the top of the stream, which covers the buffered publications.

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
    """Recover the publications after *since*, or start without recovery.

    See client protocol, "Recovery".

    :param history: the publications after *since*, up to the limit.
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
    """Recover the newest publication, unless the client has it.

    See client protocol, "Cache recovery".

    :param history: the newest publications, newest first.
    :param chain: return all buffered publications, not only the last (for deltas).
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
    """Merge both in order, each offset once; return None if there is a gap."""
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
