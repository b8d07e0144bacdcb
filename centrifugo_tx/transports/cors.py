"""What web pages of other origins may read (client protocol, "Endpoints")."""

import re
from typing import Any

from attrs import define

from ..options import Answer
from .origin import OriginRule

__all__ = ["CORS", "Headers"]

#: Headers of an answer, in order.
Headers = tuple[tuple[bytes, bytes], ...]

#: Seconds for which a browser remembers what it may do.
MAX_AGE = b"300"

_TEXT = re.compile(rb"[\t\x20-\x7e\x80-\xff]+")


@define(eq=False)
class CORS:
    """Lets pages whose origin passes read answers, with the user's credentials.

    Others are served as well, but their browsers keep the answers from them.
    """

    _origins: OriginRule

    def headers(self, request: Any) -> Headers:
        """Return what is to be added to the answer to *request*."""
        headers = self.of_origin(request.getHeader(b"origin"))
        if not headers:
            return ()
        asked = _text(request.getHeader(b"access-control-request-headers"))
        if asked and asked != b"null":
            headers += ((b"Access-Control-Allow-Headers", asked),)
        return headers

    def of_origin(self, given: bytes | None) -> Headers:
        """Return the headers that let pages of an origin read an answer."""
        origin = _text(given)
        if not origin or not self._origins.passes(origin.decode("latin-1")):
            return ()
        return (
            (b"Access-Control-Allow-Origin", origin),
            (b"Access-Control-Allow-Credentials", b"true"),
        )

    def preflight(self, request: Any) -> Answer:
        """Answer a browser that asks whether it may send a POST request."""
        return Answer(
            204,
            headers=(
                *self.headers(request),
                (b"Access-Control-Max-Age", MAX_AGE),
                (b"Access-Control-Allow-Methods", b"POST, OPTIONS"),
            ),
        )


def _text(value: bytes | None) -> bytes:
    """Return a header's value if it can be repeated in a header."""
    return value if value is not None and _TEXT.fullmatch(value) else b""
