"""POST requests of backends, read without Twisted Web where they are plain."""

from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any

from attrs import define

from ..transports.http1_head import read_head

__all__ = ["PostRequest", "read_post"]

#: Bytes of the longest head that is read here.
HEAD_LIMIT = 2048

_REFUSED = frozenset({"transfer-encoding", "expect", "upgrade", "connection"})


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
    target, headers, length = found
    start = end + 4
    stop = start + length
    if len(data) < stop:
        return None
    request = PostRequest(target, headers, BytesIO(data[start:stop]))
    return request, target.partition(b"?")[0], stop


@lru_cache(maxsize=256)
def _post_head(text: bytes) -> tuple[bytes, dict[bytes, bytes], int] | None:
    """Return the target, the headers, and the length of the body.

    Cached, because backends send the same few heads over and over.
    """
    head = read_head(text)
    if head is None or head.method != "POST" or not _REFUSED.isdisjoint(head.headers):
        return None
    length = head.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()) or len(length) > 9:
        return None
    headers = {
        name.encode(): value.encode("latin-1") for name, value in head.headers.items()
    }
    return head.target.encode(), headers, int(length)
