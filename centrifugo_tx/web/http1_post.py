"""POST requests of backends, read without Twisted Web where they are plain."""

from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any

from attrs import define

from ..transports.http1_head import RequestHead, read_head

__all__ = ["PostRequest", "read_post"]

#: Bytes of the longest head that is read here.
HEAD_LIMIT = 2048

_REFUSED = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"connection"})


@define(eq=False)
class PostRequest:
    """A POST request, as handlers see it."""

    uri: bytes
    headers: Mapping[bytes, bytes]
    content: BytesIO
    method: bytes = b"POST"
    #: The connection on which the request arrived.
    transport: Any = None

    def getClientAddress(self) -> Any:
        """Return the address of the peer."""
        return None if self.transport is None else self.transport.getPeer()

    def getHeader(self, name: bytes | str) -> bytes | None:
        """Return the value of a header, or None."""
        key = name.encode() if isinstance(name, str) else name
        return self.headers.get(key.lower())


def read_post(data: bytes) -> tuple[PostRequest, bytes, int] | None:
    """Read a whole, plain POST request from the start of *data*.

    :return: the request, its path, and the number of bytes that it occupies; None if
        *data* begins with anything else.
    """
    end = data.find(b"\r\n\r\n", 0, HEAD_LIMIT)
    if end < 0:
        return None
    found = _post_head(data[:end])
    if found is None:
        return None
    head, path, length = found
    start = end + 4
    stop = start + length
    if len(data) < stop:
        return None
    request = PostRequest(head.target, head.headers, BytesIO(data[start:stop]))
    return request, path, stop


@lru_cache(maxsize=256)
def _post_head(text: bytes) -> tuple[RequestHead, bytes, int] | None:
    """Return a head, its path, and the length of the body.

    Cached, because backends send the same few heads over and over.
    """
    head = read_head(text)
    if head is None or head.method != b"POST" or not _REFUSED.isdisjoint(head.headers):
        return None
    length = head.headers.get(b"content-length", b"")
    if not length.isdigit() or len(length) > 9:
        return None
    return head, head.target.partition(b"?")[0], int(length)
