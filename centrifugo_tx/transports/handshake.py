"""The usual form of the opening handshake (RFC 6455, 4.2).

Unusual requests are left to Autobahn, which also reports their errors.
"""

import re
from binascii import b2a_base64
from hashlib import sha1
from urllib.parse import parse_qs

import msgspec

from .http1_head import read_head

__all__ = ["Upgrade", "accepted", "plain_upgrade"]

#: Bytes of the longest head that is read here.
HEAD_LIMIT = 4096

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_PROTOCOL = re.compile(r"[A-Za-z0-9._-]+")


class Upgrade(msgspec.Struct, frozen=True, gc=False):
    """A request for a WebSocket, with the attributes of Autobahn's ConnectionRequest.

    ``size`` is the number of bytes that it occupies.
    """

    headers: dict[str, str]
    params: dict[str, list[str]]
    protocols: list[str]
    key: bytes
    size: int


def plain_upgrade(data: bytes, extensions: bool) -> Upgrade | None:
    """Read a plain request from the start of *data*.

    :param extensions: whether extensions are negotiated, which Autobahn does.
    :return: None if the request is incomplete or unusual.
    """
    end = data.find(b"\r\n\r\n", 0, HEAD_LIMIT)
    if end < 0:
        return None
    text = data[:end]
    head = read_head(text) if text.isascii() else None
    if head is None or head.method != "GET" or "#" in head.target:
        return None
    headers = head.headers
    key = headers.get("sec-websocket-key", "")
    if (
        headers.get("upgrade", "").lower() != "websocket"
        or "upgrade" not in headers.get("connection", "").lower().split(", ")
        or headers.get("sec-websocket-version") != "13"
        or _KEY.fullmatch(key) is None
        or "content-length" in headers
        or "transfer-encoding" in headers
        or (extensions and "sec-websocket-extensions" in headers)
    ):
        return None
    offered = headers.get("sec-websocket-protocol", "")
    protocols = [each.strip() for each in offered.split(",")] if offered else []
    if not all(map(_PROTOCOL.fullmatch, protocols)):
        return None
    query = head.target.partition("?")[2]
    params = parse_qs(query) if query else {}
    return Upgrade(headers, params, protocols, key.encode(), end + 4)


def accepted(key: bytes, protocol: str | None) -> bytes:
    """Return the response that opens the WebSocket (RFC 6455, 4.2.2)."""
    digest = sha1(key + _GUID, usedforsecurity=False).digest()
    proof = b2a_base64(digest, newline=False)
    chosen = b"Sec-WebSocket-Protocol: %b\r\n" % protocol.encode() if protocol else b""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n%b\r\n" % (proof, chosen)
    )
