"""The method of the server API that reads receipts (docs/receipts.rst)."""

from ..errors import ReplyError
from ..options import ReceiptQuery
from ..protocol.codes import BAD_REQUEST
from . import api_messages as m
from .api import Api

__all__ = ["receipts"]


async def receipts(api: Api, request: m.ReceiptsRequest) -> m.ReceiptsResult:
    """Return which users have received a publication."""
    if not request.channel:
        raise ReplyError(BAD_REQUEST, "channel required for receipts")
    if not request.offset:
        raise ReplyError(BAD_REQUEST, "offset required for receipts")
    found = await api.node.receipts_of(
        ReceiptQuery(
            request.channel,
            request.offset,
            request.epoch,
            tuple(request.users or ()),
            max(0, request.limit),
            request.cursor,
        )
    )
    counts = found.counts
    return m.ReceiptsResult(
        m.ReceiptCounts(
            counts.get("received", 0),
            counts.get("pending", 0),
            counts.get("away", 0),
            counts.get("unknown", 0),
            counts.get("missed", 0),
        ),
        [
            m.UserReceipt(each.user, each.state, each.offset, each.at)
            for each in found.users
        ],
        found.cursor,
    )
