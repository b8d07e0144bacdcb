"""Decodes the replies of history scripts.

See engines, "Reading history" and "Redis scripts".
"""

from msgspec.structs import replace

from ...options import History, HistoryQuery
from ...protocol.messages import EMPTY, Publication, StreamPosition
from .connection import Reply
from .envelope import decode_item, decode_stored

__all__ = ["first_offset", "from_list", "from_stream", "position"]


def position(reply: Reply) -> StreamPosition:
    """Return the position at the start of a reply."""
    return StreamPosition(int(reply[0] or 0), reply[1].decode())


def first_offset(query: HistoryQuery) -> bytes:
    """Return the first offset to read; empty to read no publications."""
    if not query.limit:
        return b""
    if query.since is None:
        return b"+" if query.reverse else b"-"
    first = query.since.offset + (-1 if query.reverse else 1)
    return b"%d" % first if first > 0 else b""


def from_stream(reply: Reply) -> History:
    """Return the history in a reply from a stream."""
    publications = [
        decode_stored(fields[1], int(entry.partition(b"-")[0]))
        for entry, fields in reply[2]
    ]
    return History(publications, position(reply))


def from_list(reply: Reply, query: HistoryQuery) -> History:
    """Select publications from a whole list, which begins with the newest."""
    since = query.since
    publications = [_stored(decode_item(item)) for item in reply[2]]
    if since is not None:
        publications = [
            each
            for each in publications
            if (each.offset < since.offset) == query.reverse
            and each.offset != since.offset
        ]
    if not query.reverse:
        publications.reverse()
    limit = None if query.limit < 0 else query.limit
    return History(publications[:limit], position(reply))


def _stored(publication: Publication) -> Publication:
    """Return a publication without the fields that only live publications need."""
    return replace(publication, delta=False, time=0, epoch="", prev_data=EMPTY)
