"""The transports by which clients connect."""

from .resource import (
    emulation_resource,
    http_stream_resource,
    sse_resource,
    uni_http_stream_resource,
    uni_sse_resource,
    uni_websocket_resource,
    websocket_resource,
)

__all__ = [
    "emulation_resource",
    "http_stream_resource",
    "sse_resource",
    "uni_http_stream_resource",
    "uni_sse_resource",
    "uni_websocket_resource",
    "websocket_resource",
]
