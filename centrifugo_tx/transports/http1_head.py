"""Heads of HTTP/1.1 requests that every reader understands alike (RFC 9112).

A proxy in front of the server reads the same bytes.  So unusual heads are left to
Autobahn or Twisted Web, which report their errors (RFC 9112, 11.2).
"""

import re

import msgspec

__all__ = ["RequestHead", "read_head"]

#: The header lines, each with the line break before it.
_LINES = re.compile(r"(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t\x20-\x7e\x80-\xff]*+)*+")
_TARGET = re.compile(r"/[\x21-\x7e]*")


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """The request line and the headers, by lower-case name, decoded as Latin-1."""

    method: str
    target: str
    headers: dict[str, str]


def read_head(text: bytes) -> RequestHead | None:
    """Read a head, without the empty line that ends it.

    :return: None for a malformed line, a repeated header, a head without ``Host``,
        another version than HTTP/1.1, or a target that is not a path.
    """
    decoded = text.decode("latin-1")
    line_end = decoded.find("\r\n")
    if line_end < 0 or _LINES.fullmatch(decoded, line_end) is None:
        return None
    words = decoded[:line_end].split(" ")
    if len(words) != 3 or words[2] != "HTTP/1.1":
        return None
    if _TARGET.fullmatch(words[1]) is None:
        return None
    headers: dict[str, str] = {}
    lines = decoded[line_end + 2 :].split("\r\n")
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip(" \t")
    if len(headers) != len(lines) or "host" not in headers:
        return None
    return RequestHead(words[0], words[1], headers)
