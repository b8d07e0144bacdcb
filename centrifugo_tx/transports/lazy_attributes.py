"""Storage of the attributes of Autobahn's protocol, so that instances keep few.

Autobahn sets about a hundred attributes on each connection.  Options and initial
values move to a class, rarely needed attributes are created on first access, and
attributes of a handshake or a message are deleted when it is complete.
"""

from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import WebSocketProtocol

__all__ = ["MISSING", "TRANSIENT", "LazyAttribute", "initial_values", "subclass_with"]

#: Attributes that only the handshake needs.
HANDSHAKE = frozenset(
    {
        *("http_request_data", "http_status_line", "http_headers"),
        *("http_request_uri", "http_request_path", "http_request_params"),
        *("http_request_host", "http_response_data", "websocket_protocols"),
        *("websocket_origin", "websocket_extensions", "_wskey", "is_open"),
        *("_transport_details", "openHandshakeTimeoutCall", "connected", "factory"),
        "peer",
    }
)
#: Attributes that are only needed while a message is read.
MESSAGE = frozenset(
    {
        *("utf8validator", "utf8validateLast", "utf8validateIncomingCurrentMessage"),
        *("message_data", "message_is_binary", "message_data_total_length"),
        *("frame_length", "frame_data", "current_frame_masker"),
        *("control_frame_data", "_isMessageCompressed"),
        *("maxMessagePayloadSize", "message_wire_size"),
        "message_inflated_size",
    }
)
TRANSIENT = HANDSHAKE | MESSAGE
#: A sentinel that no attribute equals.
MISSING = object()


class LazyAttribute:
    """An attribute that is created, and stored on the instance, on first access."""

    def __init__(self, make: Callable[[Any], object]) -> None:
        self.make = make
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.make(instance)
        return value


def initial_values(factory: Any) -> dict[str, object]:
    """Return the attributes that Autobahn sets on a protocol of *factory*.

    They are the plain values and the options, without the attributes for which the
    factory's protocol has a `LazyAttribute`.
    """
    probe = WebSocketServerProtocol()
    probe.factory = factory
    WebSocketProtocol._connectionMade(probe)
    if probe.openHandshakeTimeoutCall is not None:
        probe.openHandshakeTimeoutCall.cancel()
        probe.openHandshakeTimeoutCall = None
    values: dict[str, object] = {
        # A function on a class would be bound.
        name: staticmethod(value) if callable(value) else value
        for name, value in vars(probe).items()
        if name in probe.CONFIG_ATTRS
        or isinstance(value, int | str | bytes | type(None))
    }
    lazy = [
        name
        for name in values
        if isinstance(_of(factory.protocol, name), LazyAttribute)
    ]
    for name in (*lazy, "factory", "state"):
        values.pop(name, None)
    values.update(
        websocket_version=13,
        websocket_protocol_in_use=None,
        current_frame=None,
        inside_message=False,
        send_queue=(),
        websocket_extensions_in_use=[],
    )
    return values


def _of(cls: type, name: str) -> object:
    """Return an attribute of a class, without calling descriptors."""
    return next((vars(c)[name] for c in cls.__mro__ if name in vars(c)), None)


def subclass_with(cls: type, values: dict[str, object]) -> type:
    """Return a subclass of *cls* with *values* as class attributes."""
    return type(cls.__name__, (cls,), values)
