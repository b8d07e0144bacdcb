"""Messages between nodes: structs, and their Protobuf encoding.

See engines, "Control messages".
"""

import msgspec

from .messages import EMPTY, Raw, StreamPosition
from .proto import control_pb2
from .struct_bridge import bridge

__all__ = [
    "ControlCommand",
    "Disconnect",
    "Metrics",
    "Node",
    "Notification",
    "Refresh",
    "Shutdown",
    "Subscribe",
    "SurveyRequest",
    "SurveyResponse",
    "Unsubscribe",
    "decode",
    "decode_channels_request",
    "decode_channels_result",
    "encode",
    "encode_channels_request",
    "encode_channels_result",
]


class Metrics(msgspec.Struct, frozen=True):
    """The metrics of a node, measured during ``interval`` seconds."""

    interval: float = 0.0
    items: dict[str, float] = {}


class Node(msgspec.Struct, frozen=True):
    """The state of a node; ``uptime`` is in seconds."""

    uid: str = ""
    name: str = ""
    version: str = ""
    num_clients: int = 0
    num_users: int = 0
    num_channels: int = 0
    uptime: int = 0
    metrics: Metrics | None = None
    data: Raw = EMPTY
    num_subs: int = 0


class Unsubscribe(msgspec.Struct, frozen=True):
    """Unsubscribe the connections of ``user`` from ``channel``."""

    channel: str = ""
    user: str = ""
    client: str = ""
    session: str = ""
    code: int = 0
    reason: str = ""


class Disconnect(msgspec.Struct, frozen=True):
    """Close the connections of ``user``, except the client ids in ``whitelist``."""

    user: str = ""
    whitelist: list[str] = []
    code: int = 0
    reason: str = ""
    reconnect: bool = False
    client: str = ""
    session: str = ""


class Shutdown(msgspec.Struct, frozen=True):
    """The sender is shutting down."""


class SurveyRequest(msgspec.Struct, frozen=True):
    """A request that every node answers."""

    id: int = 0
    op: str = ""
    data: Raw = EMPTY


class SurveyResponse(msgspec.Struct, frozen=True):
    """The response to a survey; ``code`` 0 means success."""

    id: int = 0
    code: int = 0
    data: Raw = EMPTY


class Subscribe(msgspec.Struct, frozen=True):
    """Subscribe the connections of ``user`` to ``channel``."""

    user: str = ""
    channel: str = ""
    emit_presence: bool = False
    emit_join_leave: bool = False
    expire_at: int = 0
    position: bool = False
    recover: bool = False
    channel_info: Raw = EMPTY
    client: str = ""
    data: Raw = EMPTY
    recover_since: StreamPosition | None = None
    session: str = ""
    push_join_leave: bool = False
    source: int = 0


class Notification(msgspec.Struct, frozen=True):
    """A notification from an application to all nodes."""

    op: str = ""
    data: Raw = EMPTY


class Refresh(msgspec.Struct, frozen=True):
    """Change the expiry of the connections of ``user``."""

    user: str = ""
    client: str = ""
    expired: bool = False
    expire_at: int = 0
    info: Raw = EMPTY
    session: str = ""


class ControlCommand(msgspec.Struct, frozen=True):
    """One message from the node ``uid``; exactly one of the other fields is set."""

    uid: str = ""
    node: Node | None = None
    unsubscribe: Unsubscribe | None = None
    disconnect: Disconnect | None = None
    shutdown: Shutdown | None = None
    survey_request: SurveyRequest | None = None
    survey_response: SurveyResponse | None = None
    subscribe: Subscribe | None = None
    notification: Notification | None = None
    refresh: Refresh | None = None


def encode(command: ControlCommand) -> bytes:
    """Return the bytes of *command*."""
    return bridge(ControlCommand, control_pb2.ControlCommand).encode(command)


def decode(data: bytes) -> ControlCommand:
    """Return the command in *data*.

    :raises DecodeError: *data* is malformed.
    """
    return bridge(ControlCommand, control_pb2.ControlCommand).decode(data)


class _ChannelsRequest(msgspec.Struct, frozen=True):
    pattern: str = ""


class _ChannelInfo(msgspec.Struct, frozen=True):
    num_clients: int = 0


class _ChannelsResult(msgspec.Struct, frozen=True):
    channels: dict[str, _ChannelInfo] = {}


def encode_channels_request(pattern: str) -> bytes:
    """Return the request of the survey ``channels``."""
    request = bridge(_ChannelsRequest, control_pb2.ChannelsRequest)
    return request.encode(_ChannelsRequest(pattern))


def decode_channels_request(data: bytes) -> str:
    """Return the pattern in a request of the survey ``channels``.

    :raises DecodeError: it is malformed.
    """
    return bridge(_ChannelsRequest, control_pb2.ChannelsRequest).decode(data).pattern


def encode_channels_result(channels: dict[str, int]) -> bytes:
    """Return the response to the survey ``channels``: subscribers by channel."""
    result = _ChannelsResult(
        {name: _ChannelInfo(count) for name, count in channels.items()}
    )
    return bridge(_ChannelsResult, control_pb2.ChannelsResult).encode(result)


def decode_channels_result(data: bytes) -> dict[str, int]:
    """Return the number of subscribers by channel, from such a response.

    :raises DecodeError: it is malformed.
    """
    result = bridge(_ChannelsResult, control_pb2.ChannelsResult).decode(data)
    return {name: info.num_clients for name, info in result.channels.items()}
