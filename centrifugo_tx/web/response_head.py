"""Heads of HTTP/1.1 responses."""

from collections.abc import Iterable
from http import HTTPStatus

from twisted.web.http import datetimeToString

from ..options import Answer
from ..transports.cors import Headers

__all__ = ["head_of", "headers_of"]

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


def head_of(
    answer: Answer,
    now: float,
    version: bytes = b"HTTP/1.1",
    more: Iterable[tuple[bytes, list[bytes]]] = (),
) -> bytes:
    """Return the status line and headers of *answer*, and the empty line.

    :param now: seconds since 1970.
    :param more: further headers, by name.
    """
    head = b"%b %d %b\r\nDate: %b\r\n" % (
        version,
        answer.status,
        _REASONS.get(answer.status, b"Unknown"),
        _date.at(now),
    )
    if answer.status != 204:  # RFC 9110, 8.6
        head += b"Content-Length: %d\r\n" % len(answer.body)
    if answer.content_type:
        head += b"Content-Type: %b\r\n" % answer.content_type.encode()
    for name, value in headers_of(answer):
        head += b"%b: %b\r\n" % (name, value)
    for name, values in more:
        for value in values:
            head += b"%b: %b\r\n" % (name, value)
    return head + b"\r\n"


def headers_of(answer: Answer) -> Headers:
    """Return the headers of *answer*; text errors forbid content sniffing."""
    if answer.status >= 400 and answer.content_type.startswith("text/plain"):
        return (*answer.headers, (b"X-Content-Type-Options", b"nosniff"))
    return answer.headers


class _Date:
    """The Date header, formatted once a second."""

    _second = -1
    _text = b""

    def at(self, seconds: float) -> bytes:
        second = int(seconds)
        if second != self._second:
            self._second, self._text = second, datetimeToString(second)
        return self._text


_date = _Date()
