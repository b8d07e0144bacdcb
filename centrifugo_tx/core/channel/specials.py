"""What sets one subscription apart from the others: a tag filter, or deltas."""

import msgspec
from attrs import define

from ...errors import ReplyError
from ...options import SubscribeOptions
from ...protocol.codes import BAD_REQUEST
from ...protocol.messages import Push, SubscribeRequest
from ...protocol.wire import Wire
from .editions import Edition
from .filters import Filter, compile_filter

__all__ = ["Special", "special"]


@define(eq=False)
class Special:
    """What is special about one subscription: a filter, or else deltas.

    ``linked``: it has the newest publication of those it was sent, and the next may
    be a delta to that.  Kept up until it stands in a lane; then the lane tells.
    """

    passes: Filter | None = None
    #: The filter as bytes, by which those with the same one find together.
    filter: bytes = b""
    delta: bool = False
    linked: bool = False

    def push(self, edition: Edition, wire: Wire) -> Push | None:
        """Return what this subscriber is sent; None: nothing.

        :raises EncodeError: *wire* cannot say it.
        """
        if self.passes is not None:
            wanted = self.passes(edition.publication.tags)
            return edition.plain(wire) if wanted else None
        linked = self.linked
        self.linked = edition.publication.offset > 0
        return edition.change(wire) if linked else edition.whole(wire)


def special(options: SubscribeOptions, request: SubscribeRequest) -> Special | None:
    """Return what is special about a subscription, None if nothing is.

    Deltas and a filter exclude each other: a delta needs the publication before.

    :raises ReplyError: 107, there may be no filter, or it means nothing.
    """
    if request.tf is not None:
        if not options.tags_filter:
            raise ReplyError(BAD_REQUEST)
        passes = compile_filter(request.tf)
        return Special(passes, msgspec.json.encode(request.tf))
    if request.delta and request.delta in options.delta_types:
        return Special(delta=True)
    return None
