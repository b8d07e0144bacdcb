"""Results of the event proxies (event proxies, "Common fields").

In fields typed ``Any``, ``bytes`` are binary and travel as base64, a ``msgspec.Raw`` is
JSON that is inserted as it is, and anything else is encoded to JSON.  ``UNSET``, the
default, leaves a field out; None is the JSON value ``null``.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET

__all__ = [
    "UNSET",
    "ChangedItem",
    "ConnectResult",
    "MapPublishResult",
    "MapRemoveResult",
    "Override",
    "PublishResult",
    "RPCResult",
    "RefreshResult",
    "SharedPollRefreshResult",
    "SubRefreshResult",
    "SubscribeOptions",
    "SubscribeResult",
    "as_json",
]

#: Fields that have a second form, with ``b64`` before the name.
_BINARY = frozenset({"data", "info"})


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the namespace to replace for one subscription; None keeps them."""

    presence: bool | None = None
    join_leave: bool | None = None
    force_push_join_leave: bool | None = None
    force_recovery: bool | None = None
    force_positioning: bool | None = None


class SubscribeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A server-side subscription."""

    #: The info of the subscriber in presence, join and leave events of the channel.
    info: Any = UNSET
    #: Sent to the client with the subscription.
    data: Any = UNSET
    override: Override | None = None
    #: Send the latest publication at once, in a channel with cache recovery.
    cache_recover: bool = False


class ConnectResult(msgspec.Struct, frozen=True, kw_only=True):
    """The connection is accepted."""

    #: Id of the user; empty for anonymous users.
    user: str = ""
    #: When the connection expires, in Unix seconds; 0 for never.
    expire_at: int = 0
    #: The info of the client in presence, join and leave events.
    info: Any = UNSET
    #: Sent to the client with the reply.
    data: Any = UNSET
    #: Server-side subscriptions with the options of their namespaces.
    channels: Sequence[str] = ()
    #: Server-side subscriptions with options, by channel.
    subs: Mapping[str, SubscribeOptions] = msgspec.field(default_factory=dict)
    #: Kept with the connection, never sent to the client.
    meta: Any = UNSET


class RefreshResult(msgspec.Struct, frozen=True, kw_only=True):
    """How long the connection may continue; without ``expire_at`` it is closed."""

    expired: bool = False
    #: When the connection expires, in Unix seconds.
    expire_at: int = 0
    info: Any = UNSET
    #: Replaces the data stored with the connection.
    meta: Any = UNSET


class SubscribeResult(msgspec.Struct, frozen=True, kw_only=True):
    """The subscription is allowed."""

    #: When the subscription expires, in Unix seconds; 0 for never.
    expire_at: int = 0
    info: Any = UNSET
    data: Any = UNSET
    override: Override | None = None


class SubRefreshResult(msgspec.Struct, frozen=True, kw_only=True):
    """How long the subscription may continue; without ``expire_at``, for ever."""

    expired: bool = False
    #: When the subscription expires, in Unix seconds.
    expire_at: int = 0
    info: Any = UNSET


class PublishResult(msgspec.Struct, frozen=True, kw_only=True):
    """The publication is allowed."""

    #: Published instead of the client's data.
    data: Any = UNSET
    #: Do not add the publication to the channel's history.
    skip_history: bool = False
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    idempotency_key: str = ""
    delta: bool = False
    version: int = 0
    version_epoch: str = ""


class RPCResult(msgspec.Struct, frozen=True, kw_only=True):
    """The reply of a call."""

    data: Any = UNSET


class MapPublishResult(msgspec.Struct, frozen=True, kw_only=True):
    """The key may be set."""

    #: Set instead of the key that the client named.
    key: str = ""
    #: Set instead of the client's value.
    data: Any = UNSET
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    #: Condition on the key: ``if_new`` or ``if_exists``.
    key_mode: str = ""
    idempotency_key: str = ""
    delta: bool = False
    version: int = 0
    version_epoch: str = ""


class MapRemoveResult(msgspec.Struct, frozen=True, kw_only=True):
    """The key may be removed."""

    #: Removed instead of the key that the client named.
    key: str = ""
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    idempotency_key: str = ""


class ChangedItem(msgspec.Struct, frozen=True, kw_only=True):
    """A key with a new value, or without one; ``data`` is JSON only."""

    key: str
    data: Any = UNSET
    version: int = 0
    removed: bool = False
    #: The value before, for deltas.
    prev_data: Any = UNSET


class SharedPollRefreshResult(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that have changed."""

    items: Sequence[ChangedItem] = ()
    #: When it changes, all versions count as old.
    epoch: str = ""


def as_json(result: msgspec.Struct) -> bytes:
    """Return a result as the server reads it.

    :raises TypeError: a value cannot be encoded to JSON.
    """
    return msgspec.json.encode(_plain(result))


def _plain(result: msgspec.Struct) -> dict[str, Any]:
    """Return the fields that are set, by the names that the server knows."""
    plain: dict[str, Any] = {}
    for name, default in _defaults(type(result)).items():
        content = getattr(result, name)
        if default is UNSET:
            if isinstance(content, (bytes, bytearray, memoryview)):
                if name not in _BINARY or isinstance(result, ChangedItem):
                    raise TypeError(f"{name} must be JSON, not bytes")
                name, content = f"b64{name}", base64.b64encode(content).decode()
            if content is not UNSET:
                plain[name] = content
        elif content and content != default:
            plain[name] = _nested(content)
    return plain


@cache
def _defaults(type: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.name: field.default for field in msgspec.structs.fields(type)}


def _nested(content: Any) -> Any:
    """Return the content of a field as plain values."""
    if isinstance(content, Override):
        return {
            option: {"value": choice}
            for option, choice in msgspec.structs.asdict(content).items()
            if choice is not None
        }
    if isinstance(content, msgspec.Struct):
        return _plain(content)
    if isinstance(content, Mapping):
        return {key: _nested(value) for key, value in content.items()}
    if isinstance(content, Sequence) and not isinstance(content, str):
        return [_nested(item) for item in content]
    return content
