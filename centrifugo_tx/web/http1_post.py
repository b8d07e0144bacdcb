"""The common request of backends, read without ceremony.

A proxy in front may read the same bytes, so only what can be read in one way is read
here; anything out of the ordinary is Twisted Web's (RFC 9112, 11.2).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any

from attrs import define

__all__ = ["PostRequest", "read_post"]

#: Bytes of the longest head that is read here.
HEAD_LIMIT = 2048

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TEXT = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(rb"/[\x21-\x7e]*")
_REFUSED = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"connection"})


@define(eq=False)
class PostRequest:
    """What a handler needs to see of a request."""

    uri: bytes
    headers: Mapping[bytes, bytes]
    content: BytesIO
    method: bytes = b"POST"
    #: The connection on which it came.
    transport: Any = None

    def getClientAddress(self) -> Any:
        """Return the address of the other end of the connection."""
        return None if self.transport is None else self.transport.getPeer()

    def getHeader(self, name: bytes | str) -> bytes | None:
        """Return a header by its name."""
        key = name.encode() if isinstance(name, str) else name
        return self.headers.get(key.lower())


@define(eq=False)
class _Head:
    uri: bytes
    path: bytes
    headers: Mapping[bytes, bytes]
    length: int


def read_post(data: bytes) -> tuple[PostRequest, bytes, int] | None:
    """Read a whole, plain POST request from the start of *data*.

    :return: the request, its path, and how many bytes it took; None if *data* begins
        with anything else.
    """
    end = data.find(b"\r\n\r\n", 0, HEAD_LIMIT)
    if end < 0:
        return None
    head = _head(data[:end])
    if head is None:
        return None
    start = end + 4
    stop = start + head.length
    if len(data) < stop:
        return None
    return (
        PostRequest(head.uri, head.headers, BytesIO(data[start:stop])),
        head.path,
        stop,
    )


@lru_cache(maxsize=256)
def _head(text: bytes) -> _Head | None:
    """Take a head apart; backends send the same few over and over."""
    first, *lines = text.split(b"\r\n")
    words = first.split(b" ")
    if len(words) != 3 or words[0] != b"POST" or words[2] != b"HTTP/1.1":
        return None
    uri = words[1]
    if _TARGET.fullmatch(uri) is None:
        return None
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or not _TEXT.fullmatch(value):
            return None
        name = name.lower()
        if name in headers or name in _REFUSED:
            return None
        headers[name] = value.strip(b" \t")
    length = headers.get(b"content-length", b"")
    if b"host" not in headers or not length.isdigit() or len(length) > 9:
        return None
    return _Head(uri, uri.partition(b"?")[0], headers, int(length))
