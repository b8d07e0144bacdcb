"""Messages with headers: commands, or publications whose headers say where they go.

See consumers, "Consumer messages".
"""

from collections.abc import Mapping
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred

from ..bounded_log import BoundedLog
from ..core.time_slices import Slices
from .delivery import Dispatch

__all__ = ["Malformed", "Messages", "PublicationNames", "Target", "target_of"]

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
#: The largest version.
_MOST = 2**64 - 1


class Malformed(ValueError):
    """A header has a value that it cannot have."""


@frozen
class PublicationNames:
    """The names of the headers; an empty name disables a header."""

    channels: str = "centrifugo-channels"
    idempotency_key: str = "centrifugo-idempotency-key"
    delta: str = "centrifugo-delta"
    version: str = "centrifugo-version"
    version_epoch: str = "centrifugo-version-epoch"
    tags_prefix: str = "centrifugo-tag-"


@frozen
class Target:
    """Where a publication goes, and the options it goes with."""

    channels: tuple[str, ...]
    options: dict[str, Any]


@define(eq=False)
class Messages:
    """Dispatches messages of one consumer as their headers say.

    :param names: None unless messages are publications.
    :param empty_is_bad: see `target_of`.
    :param retry_malformed: whether a message with a malformed header is tried again;
        otherwise it is left behind.
    """

    _dispatch: Dispatch
    _log: BoundedLog
    consumer: str
    method_header: str
    names: PublicationNames | None = None
    empty_is_bad: bool = False
    retry_malformed: bool = False

    def slices(self) -> Slices:
        """Return slices that spread a batch over turns of the reactor."""
        return self._dispatch.slices()

    def dispatch(
        self, headers: Mapping[str, str], body: bytes
    ) -> "str | Deferred[str]":
        """Dispatch a message; return why it must be tried again, or ``""``."""
        if self.names is None:
            return self._dispatch.command(headers.get(self.method_header, ""), body)
        try:
            target = target_of(headers, self.names, self.empty_is_bad)
        except Malformed as error:
            if self.retry_malformed:
                return str(error)
            self._log.error(
                "malformed header, skipping message",
                consumer=self.consumer,
                error=str(error),
            )
            return ""
        if target is None:
            self._log.info(
                "no channels found, skipping message", consumer=self.consumer
            )
            return ""
        return self._dispatch.publication(target.channels, body, **target.options)


def target_of(
    headers: Mapping[str, str], names: PublicationNames, empty_is_bad: bool = False
) -> Target | None:
    """Return the options in *headers*; None if they name no channels.

    :param empty_is_bad: whether an empty delta or version is an error, rather than
        absent.
    :raises Malformed: the delta is not a truth value, or the version not a number.
    """

    def header(name: str) -> str | None:
        found = headers.get(name) if name else None
        return None if found == "" and not empty_is_bad else found

    delta = _truth(names.delta, header(names.delta))
    channels = headers.get(names.channels, "") if names.channels else ""
    if not channels:
        return None
    tags = {}
    if prefix := names.tags_prefix:
        tags = {
            name.removeprefix(prefix): value
            for name, value in headers.items()
            if name.startswith(prefix)
        }
    options = {
        "idempotency_key": header(names.idempotency_key) or "",
        "delta": delta,
        "tags": tags,
        "version": _number(names.version, header(names.version)),
        "version_epoch": header(names.version_epoch) or "",
    }
    return Target(tuple(channels.split(",")), options)


def _truth(name: str, text: str | None) -> bool:
    if text is None:
        return False
    if text not in _TRUE | _FALSE:
        raise Malformed(f"{name}: {text!r:.100} is neither true nor false")
    return text in _TRUE


def _number(name: str, text: str | None) -> int:
    if text is None:
        return 0
    # More digits than a 64-bit number has may be zeros only; they are not counted.
    if text.isascii() and text.isdigit() and len(text.lstrip("0")) <= 20:
        number = int(text.lstrip("0") or "0")
        if number <= _MOST:
            return number
    raise Malformed(f"{name}: {text!r:.100} is no whole number of at most 64 bits")
