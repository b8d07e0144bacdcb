"""The ways by which clients come."""

from .resource import (
    uni_http_stream_resource,
    uni_sse_resource,
    uni_websocket_resource,
    websocket_resource,
)

__all__ = [
    "uni_http_stream_resource",
    "uni_sse_resource",
    "uni_websocket_resource",
    "websocket_resource",
]
