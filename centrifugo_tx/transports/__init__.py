"""The transports by which clients connect: resources for Twisted Web applications."""

from .resource import (
    AnyNode,
    emulation_resource,
    http_stream_resource,
    sse_resource,
    uni_http_stream_resource,
    uni_sse_resource,
    uni_websocket_resource,
    websocket_resource,
)
from .uni_http_stream import UniHTTPStreamOptions
from .uni_response_stream import (
    CodeToResponse,
    CodeToResponseTransforms,
    ResponseTarget,
)
from .uni_sse import UniSSEOptions
from .uni_websocket import UniWebSocketOptions
from .websocket import WebSocketOptions

__all__ = [
    "AnyNode",
    "CodeToResponse",
    "CodeToResponseTransforms",
    "ResponseTarget",
    "UniHTTPStreamOptions",
    "UniSSEOptions",
    "UniWebSocketOptions",
    "WebSocketOptions",
    "emulation_resource",
    "http_stream_resource",
    "sse_resource",
    "uni_http_stream_resource",
    "uni_sse_resource",
    "uni_websocket_resource",
    "websocket_resource",
]
