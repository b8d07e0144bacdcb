"""Cross-origin access of web pages (client protocol, "Endpoints")."""

import re
from typing import Any

from attrs import define

from ..options import Answer
from .origin import OriginRule

__all__ = ["CORS", "Headers"]

#: Headers of a response, in order.
Headers = tuple[tuple[bytes, bytes], ...]

#: Seconds for which a browser may cache the answer to a preflight request.
MAX_AGE = b"300"

_TEXT = re.compile(rb"[\t\x20-\x7e\x80-\xff]+")


@define(eq=False)
class CORS:
    """Allows pages of permitted origins to read responses, with credentials.

    Requests from other pages are served as well, but the browser withholds the
    response from the page.
    """

    _origins: OriginRule

    def headers(self, request: Any) -> Headers:
        """Return the headers to add to the response to *request*."""
        headers = self.of_origin(request.getHeader(b"origin"))
        if not headers:
            return ()
        asked = _text(request.getHeader(b"access-control-request-headers"))
        if asked and asked != b"null":
            headers += ((b"Access-Control-Allow-Headers", asked),)
        return headers

    def of_origin(self, given: bytes | None) -> Headers:
        """Return the headers that allow pages of an origin to read a response."""
        origin = _text(given)
        if not origin or not self._origins.passes(origin.decode("latin-1")):
            return ()
        return (
            (b"Access-Control-Allow-Origin", origin),
            (b"Access-Control-Allow-Credentials", b"true"),
        )

    def preflight(self, request: Any) -> Answer:
        """Answer a preflight request: pages of permitted origins may send POST."""
        return Answer(
            204,
            headers=(
                *self.headers(request),
                (b"Access-Control-Max-Age", MAX_AGE),
                (b"Access-Control-Allow-Methods", b"POST, OPTIONS"),
            ),
        )


def _text(value: bytes | None) -> bytes:
    """Return the value of a header if it is safe to repeat, else nothing."""
    return value if value is not None and _TEXT.fullmatch(value) else b""
