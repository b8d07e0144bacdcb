"""A node inside an ASGI application: Starlette, FastAPI, Django, under uvicorn."""

from .endpoints import Endpoints
from .interface import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ASGIApp", "Endpoints", "Message", "Receive", "Scope", "Send"]
