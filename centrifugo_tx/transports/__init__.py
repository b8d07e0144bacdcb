"""The ways by which clients come."""

from .resource import websocket_resource

__all__ = ["websocket_resource"]
