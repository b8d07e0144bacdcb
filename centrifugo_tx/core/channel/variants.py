"""Subscriptions that differ from others by a tag filter or deltas."""

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
    """One subscription that differs from the others: by a tag filter, or by deltas.

    ``holds_previous``: the subscriber has the newest publication, so the next one may
    be a delta to it.  Valid only until the subscriber enters a lane.
    """

    passes: Filter | None = None
    #: The filter as bytes: subscribers with equal filters share a lane.
    filter: bytes = b""
    delta: bool = False
    holds_previous: bool = False

    def push(self, encoded: EncodedPublication, wire: Wire) -> Push | None:
        """Return the push for this subscriber; None: the filter drops it.

        :raises EncodeError: *wire* cannot encode it.
        """
        if self.passes is not None:
            wanted = self.passes(encoded.publication.tags)
            return encoded.raw(wire) if wanted else None
        holds_previous = self.holds_previous
        self.holds_previous = encoded.publication.offset > 0
        return encoded.delta(wire) if holds_previous else encoded.full(wire)


def variant_of(options: SubscribeOptions, request: SubscribeRequest) -> Variant | None:
    """Return the variant that a request asks for, if any.

    A filter excludes deltas, since a delta needs the previous publication.

    :raises ReplyError: 107, the requested filter is invalid or not permitted.
    """
    if request.tf is not None:
        if not options.tags_filter:
            raise ReplyError(BAD_REQUEST)
        passes = compile_filter(request.tf)
        return Variant(passes, msgspec.json.encode(request.tf))
    if request.delta and request.delta in options.delta_types:
        return Variant(delta=True)
    return None
