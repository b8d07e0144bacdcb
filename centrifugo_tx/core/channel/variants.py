"""What sets one subscription apart from the others: a tag filter, or deltas."""

import msgspec
from attrs import define

from ...errors import ReplyError
from ...options import SubscribeOptions
from ...protocol.codes import BAD_REQUEST
from ...protocol.messages import Push, SubscribeRequest
from ...protocol.wire import Wire
from .encoded_publication import EncodedPublication
from .filters import Filter, compile_filter

__all__ = ["Variant", "variant_of"]


@define(eq=False)
class Variant:
    """What is special about one subscription: a filter, or else deltas.

    ``linked``: it has the newest publication of those it was sent, and the next may
    be a delta to that.  Kept up until it stands in a lane; then the lane tells.
    """

    passes: Filter | None = None
    #: The filter as bytes, by which those with the same one find together.
    filter: bytes = b""
    delta: bool = False
    linked: bool = False

    def push(self, encoded: EncodedPublication, wire: Wire) -> Push | None:
        """Return what this subscriber is sent; None: nothing.

        :raises EncodeError: *wire* cannot say it.
        """
        if self.passes is not None:
            wanted = self.passes(encoded.publication.tags)
            return encoded.raw(wire) if wanted else None
        linked = self.linked
        self.linked = encoded.publication.offset > 0
        return encoded.delta(wire) if linked else encoded.full(wire)


def variant_of(options: SubscribeOptions, request: SubscribeRequest) -> Variant | None:
    """Return what is special about a subscription, None if nothing is.

    Deltas and a filter exclude each other: a delta needs the publication before.

    :raises ReplyError: 107, there may be no filter, or it means nothing.
    """
    if request.tf is not None:
        if not options.tags_filter:
            raise ReplyError(BAD_REQUEST)
        passes = compile_filter(request.tf)
        return Variant(passes, msgspec.json.encode(request.tf))
    if request.delta and request.delta in options.delta_types:
        return Variant(delta=True)
    return None
