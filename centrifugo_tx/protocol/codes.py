"""The codes that clients receive: errors, disconnects and unsubscribes.

See client protocol, "Errors", "Disconnects" and "Unsubscribes".

Rules about a code, such as whether the client will reconnect, are properties of the
value, so no other module compares numbers.
"""

import msgspec

__all__ = [
    "ALREADY_SUBSCRIBED",
    "BAD_REQUEST",
    "CHANNEL_LIMIT",
    "CONCURRENT_PAGINATION",
    "CONNECTION_CLOSED",
    "CONNECTION_EXPIRED",
    "CONNECTION_LIMIT",
    "DISCONNECTS",
    "ERRORS",
    "EXPIRED",
    "FORCE_DISCONNECT",
    "FORCE_RECONNECT",
    "INAPPROPRIATE_PROTOCOL",
    "INSUFFICIENT_STATE",
    "INTERNAL",
    "INVALID_TOKEN",
    "LIMIT_EXCEEDED",
    "LOST_POSITION",
    "MALFORMED",
    "METHOD_NOT_FOUND",
    "NOT_AVAILABLE",
    "NOT_SERVED",
    "NO_PONG",
    "PERMISSION_DENIED",
    "RATE_LIMITED",
    "REFUSED",
    "SERVER_ERROR",
    "SERVER_UNSUBSCRIBE",
    "SHUTDOWN",
    "SLOW",
    "STALE",
    "STATE_INVALIDATED",
    "SUBSCRIPTION_EXPIRED",
    "SUBSCRIPTION_OVER",
    "SUBSCRIPTION_STATE_INVALIDATED",
    "TOKEN_EXPIRED",
    "TOO_MANY_ERRORS",
    "TOO_MANY_REQUESTS",
    "UNAUTHORIZED",
    "UNKNOWN_CHANNEL",
    "UNRECOVERABLE_POSITION",
    "UNSUBSCRIBES",
    "WRITE_ERROR",
    "Disconnect",
    "Error",
    "Unsubscribe",
    "as_disconnect",
]


class Error(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The error of one command; the connection stays open.

    Codes 0-99 belong to the SDKs, 100-399 to the server, 400-1999 to the application.
    ``temporary`` means that the client may retry.
    """

    code: int = 0
    message: str = ""
    temporary: bool = False


class Disconnect(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Why the server ends a connection.

    ``reason`` is ASCII, not empty, not JSON and at most 123 bytes, since it
    travels in a close frame (RFC 6455, 5.5.1).
    """

    code: int = 0
    reason: str = ""

    @property
    def reconnect(self) -> bool:
        """Whether an official SDK reconnects after this.

        See client protocol, "Disconnects".
        """
        return not (3500 <= self.code <= 3999 or 4500 <= self.code <= 4999)

    def in_v1(self, limit: int) -> str:
        """Return the reason in the JSON form of protocol v1.

        See client protocol v1, "Close reasons".

        :param limit: maximum size in bytes; a longer reason is truncated.
        """
        said = msgspec.json.encode
        reason = self.reason
        while True:
            form = said({"reason": reason, "reconnect": self.reconnect})
            if len(form) <= limit or not reason:
                return form.decode()
            reason = reason[: -max(1, (len(form) - limit) // 6)]


class Unsubscribe(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Why the server ends a subscription; also the push that announces it."""

    code: int = 0
    reason: str = ""

    @property
    def resubscribe(self) -> bool:
        """Whether an official SDK subscribes again.

        See client protocol, "Unsubscribes".
        """
        return self.code >= 2500


# Errors: the answer to one command (client protocol, "Errors").
INTERNAL = Error(100, "internal server error", True)
UNAUTHORIZED = Error(101, "unauthorized")
UNKNOWN_CHANNEL = Error(102, "unknown channel")
PERMISSION_DENIED = Error(103, "permission denied")
METHOD_NOT_FOUND = Error(104, "method not found")
ALREADY_SUBSCRIBED = Error(105, "already subscribed")
LIMIT_EXCEEDED = Error(106, "limit exceeded")
BAD_REQUEST = Error(107, "bad request")
NOT_AVAILABLE = Error(108, "not available")
TOKEN_EXPIRED = Error(109, "token expired")
EXPIRED = Error(110, "expired")
TOO_MANY_REQUESTS = Error(111, "too many requests", True)
UNRECOVERABLE_POSITION = Error(112, "unrecoverable position")
CONCURRENT_PAGINATION = Error(113, "concurrent pagination", True)

ERRORS = (
    INTERNAL,
    UNAUTHORIZED,
    UNKNOWN_CHANNEL,
    PERMISSION_DENIED,
    METHOD_NOT_FOUND,
    ALREADY_SUBSCRIBED,
    LIMIT_EXCEEDED,
    BAD_REQUEST,
    NOT_AVAILABLE,
    TOKEN_EXPIRED,
    EXPIRED,
    TOO_MANY_REQUESTS,
    UNRECOVERABLE_POSITION,
    CONCURRENT_PAGINATION,
)

# Disconnects: the end of a connection (client protocol, "Disconnects").
CONNECTION_CLOSED = Disconnect(3000, "connection closed")
SHUTDOWN = Disconnect(3001, "shutdown")
SERVER_ERROR = Disconnect(3004, "internal server error")
CONNECTION_EXPIRED = Disconnect(3005, "connection expired")
SUBSCRIPTION_EXPIRED = Disconnect(3006, "subscription expired")
SLOW = Disconnect(3008, "slow")
WRITE_ERROR = Disconnect(3009, "write error")
INSUFFICIENT_STATE = Disconnect(3010, "insufficient state")
FORCE_RECONNECT = Disconnect(3011, "force reconnect")
NO_PONG = Disconnect(3012, "no pong")
RATE_LIMITED = Disconnect(3013, "too many requests")
STATE_INVALIDATED = Disconnect(3014, "state invalidated")
INVALID_TOKEN = Disconnect(3500, "invalid token")
MALFORMED = Disconnect(3501, "bad request")
STALE = Disconnect(3502, "stale")
FORCE_DISCONNECT = Disconnect(3503, "force disconnect")
CONNECTION_LIMIT = Disconnect(3504, "connection limit")
CHANNEL_LIMIT = Disconnect(3505, "channel limit")
INAPPROPRIATE_PROTOCOL = Disconnect(3506, "inappropriate protocol")
REFUSED = Disconnect(3507, "permission denied")
NOT_SERVED = Disconnect(3508, "not available")
TOO_MANY_ERRORS = Disconnect(3509, "too many errors")

DISCONNECTS = (
    CONNECTION_CLOSED,
    SHUTDOWN,
    SERVER_ERROR,
    CONNECTION_EXPIRED,
    SUBSCRIPTION_EXPIRED,
    SLOW,
    WRITE_ERROR,
    INSUFFICIENT_STATE,
    FORCE_RECONNECT,
    NO_PONG,
    RATE_LIMITED,
    STATE_INVALIDATED,
    INVALID_TOKEN,
    MALFORMED,
    STALE,
    FORCE_DISCONNECT,
    CONNECTION_LIMIT,
    CHANNEL_LIMIT,
    INAPPROPRIATE_PROTOCOL,
    REFUSED,
    NOT_SERVED,
    TOO_MANY_ERRORS,
)

# Unsubscribes: the end of a subscription (client protocol, "Unsubscribes").
SERVER_UNSUBSCRIBE = Unsubscribe(2000, "server unsubscribe")
LOST_POSITION = Unsubscribe(2500, "insufficient state")
SUBSCRIPTION_OVER = Unsubscribe(2501, "subscription expired")
SUBSCRIPTION_STATE_INVALIDATED = Unsubscribe(2502, "state invalidated")

UNSUBSCRIBES = (
    SERVER_UNSUBSCRIBE,
    LOST_POSITION,
    SUBSCRIPTION_OVER,
    SUBSCRIPTION_STATE_INVALIDATED,
)


_AS_DISCONNECT = {
    TOKEN_EXPIRED.code: CONNECTION_EXPIRED,
    EXPIRED.code: CONNECTION_EXPIRED,
    TOO_MANY_REQUESTS.code: RATE_LIMITED,
    PERMISSION_DENIED.code: REFUSED,
}


def as_disconnect(error: Error) -> Disconnect:
    """Return the disconnect that a unidirectional client receives for a connect error.

    See client protocol, "Unidirectional transports".
    """
    return _AS_DISCONNECT.get(error.code, SERVER_ERROR)
