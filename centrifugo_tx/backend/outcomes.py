"""The outcomes that a backend may return instead of a result."""

from __future__ import annotations

__all__ = ["BAD_REQUEST", "MAX_BODY", "Disconnect", "Error", "InvalidRequest"]

#: Code and message of the error for a payload that cannot be decoded.
BAD_REQUEST = (107, "bad request")
#: Largest request that a view reads, in bytes, where the framework has no limit.
MAX_BODY = 4 * 1024 * 1024


class Error(Exception):
    """An error that the client receives; raise it or return it.

    ``temporary`` says that the client may try again.
    """

    def __init__(self, code: int, message: str = "", temporary: bool = False) -> None:
        super().__init__(code, message, temporary)
        self.code = code
        self.message = message
        self.temporary = temporary


class Disconnect(Exception):
    """The end of the client's connection; raise it or return it.

    The SDKs reconnect after the codes 3000-3499 and 4000-4499, and not after
    3500-3999 and 4500-4999.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class InvalidRequest(ValueError):
    """A request that the server has not sent, or that is malformed.

    ``status`` is the HTTP status with which a view answers.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
