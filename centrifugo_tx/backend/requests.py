"""Requests of the event proxies (event proxies, "Common fields")."""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar

import msgspec

from .outcomes import BAD_REQUEST, Error

__all__ = [
    "ConnectRequest",
    "MapPublishRequest",
    "MapRemoveRequest",
    "PolledItem",
    "PublishRequest",
    "RPCRequest",
    "RefreshRequest",
    "SharedPollRefreshRequest",
    "SubRefreshRequest",
    "SubscribeRequest",
]

T = TypeVar("T")

_ABSENT = msgspec.Raw(b"")


class _Payload:
    """Reads the payload that the client sent, in either form."""

    __slots__ = ()

    raw_data: msgspec.Raw
    b64data: str

    def __post_init__(self) -> None:
        if self.b64data:
            try:
                base64.b64decode(self.b64data, validate=True)
            except binascii.Error as error:
                raise ValueError(f"b64data is not base64: {error}") from None

    @property
    def payload(self) -> bytes:
        """Return the payload as the client sent it; empty if it sent none."""
        if self.b64data:
            return base64.b64decode(self.b64data)
        return bytes(self.raw_data)

    @property
    def data(self) -> Any:
        """Return the payload decoded from JSON; None if the client sent none.

        :raises Error: 107 "bad request", the payload is not JSON; only a binary payload
            can be so.
        """
        return self.data_as(Any) if self.payload else None

    def data_as(self, type: type[T]) -> T:
        """Return the payload decoded from JSON and checked, as msgspec does.

        :param type: a struct, a dataclass, a TypedDict or any other annotation.
        :raises Error: 107 "bad request", the payload does not have this form.
        """
        try:
            return msgspec.json.decode(self.payload, type=type)
        except msgspec.DecodeError:
            raise Error(*BAD_REQUEST) from None


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that describe the connection; unknown fields are ignored."""

    #: Id of the connection.
    client: str = ""
    #: ``websocket``, ``http_stream``, ``sse``, ``uni_websocket`` or alike.
    transport: str = ""
    #: ``json`` or ``protobuf``.
    protocol: str = ""
    #: ``json``, or ``binary`` where the proxy has ``binary_encoding``.
    encoding: str = ""


class _UserRequest(_Request, frozen=True, kw_only=True):
    """Also the user, and the connection's ``meta`` where the proxy includes it."""

    #: Id of the user; empty for anonymous users.
    user: str = ""
    raw_meta: msgspec.Raw = msgspec.field(name="meta", default=_ABSENT)

    @property
    def meta(self) -> Any:
        """Return the decoded ``meta`` of the connection; None without one."""
        return msgspec.json.decode(self.raw_meta) if self.raw_meta else None


class _PayloadRequest(_Request, _Payload, frozen=True, kw_only=True):
    raw_data: msgspec.Raw = msgspec.field(name="data", default=_ABSENT)
    b64data: str = ""


class _UserPayloadRequest(_UserRequest, _Payload, frozen=True, kw_only=True):
    raw_data: msgspec.Raw = msgspec.field(name="data", default=_ABSENT)
    b64data: str = ""


class ConnectRequest(_PayloadRequest, frozen=True, kw_only=True):
    """A client connects without a token."""

    #: Name and version of the client library, as it gives them.
    name: str = ""
    version: str = ""
    #: Server-side channels that the client asks for.
    channels: tuple[str, ...] = ()


class RefreshRequest(_UserRequest, frozen=True, kw_only=True):
    """A connection is about to expire."""


class SubscribeRequest(_UserPayloadRequest, frozen=True, kw_only=True):
    """A client subscribes to a channel."""

    channel: str = ""
    token: str = ""


class SubRefreshRequest(_UserRequest, frozen=True, kw_only=True):
    """A subscription is about to expire."""

    channel: str = ""


class PublishRequest(_UserPayloadRequest, frozen=True, kw_only=True):
    """A client publishes into a channel."""

    channel: str = ""


class RPCRequest(_UserPayloadRequest, frozen=True, kw_only=True):
    """A client calls a method; ``method`` may be empty."""

    method: str = ""


class MapPublishRequest(_UserPayloadRequest, frozen=True, kw_only=True):
    """A client sets a key of a map."""

    channel: str = ""
    key: str = ""


class MapRemoveRequest(_UserRequest, frozen=True, kw_only=True):
    """A client removes a key of a map."""

    channel: str = ""
    key: str = ""


class PolledItem(msgspec.Struct, frozen=True):
    """A key that subscribers watch, and the version that they have."""

    key: str = ""
    version: int = 0


class SharedPollRefreshRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The server asks which keys of a channel have changed."""

    channel: str = ""
    items: tuple[PolledItem, ...] = ()
