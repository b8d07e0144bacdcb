"""Heads of HTTP/1.1 requests that every reader understands alike (RFC 9112).

A proxy in front of the server reads the same bytes.  So unusual heads are left to
Autobahn or Twisted Web, which report their errors (RFC 9112, 11.2).
"""

import re

from attrs import frozen

__all__ = ["RequestHead", "read_head"]

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(rb"/[\x21-\x7e]*")


@frozen
class RequestHead:
    """The request line and the headers, by lower-case name."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]


def read_head(text: bytes) -> RequestHead | None:
    """Read a head, without the empty line that ends it.

    :return: None for a malformed line, a repeated header, a head without ``Host``,
        another version than HTTP/1.1, or a target that is not a path.
    """
    first, *lines = text.split(b"\r\n")
    words = first.split(b" ")
    if len(words) != 3 or words[2] != b"HTTP/1.1":
        return None
    if _TARGET.fullmatch(words[1]) is None:
        return None
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            return None
        name = name.lower()
        if name in headers:
            return None
        headers[name] = value.strip(b" \t")
    return RequestHead(words[0], words[1], headers) if b"host" in headers else None
