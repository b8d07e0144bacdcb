"""The key of the server API, which HTTP and gRPC check alike."""

from collections.abc import Iterable
from hmac import compare_digest
from typing import Any

from attrs import frozen

from ..bounded_log import BoundedLog

__all__ = ["APIKey"]


@frozen
class APIKey:
    """The key that callers must send (server API, "API keys").

    An empty key accepts no caller.
    """

    _key: str
    _log: BoundedLog

    def accepts(self, received: Iterable[bytes]) -> bool:
        """Return whether one of the *received* keys is this one."""
        key = self._key.encode()
        return key != b"" and any(compare_digest(each, key) for each in received)

    def log_refusal(self, received: bool, **caller: Any) -> None:
        """Log why a caller is refused.

        :param received: whether the caller sent any key.
        :param caller: log fields that identify the caller.
        """
        if not self._key:
            self._log.error("API key is empty", **caller)
        elif received:
            self._log.warn("wrong API key", **caller)
        else:
            self._log.warn("API key required", **caller)
