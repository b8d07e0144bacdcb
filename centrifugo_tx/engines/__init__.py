"""Engines: what carries publications, presence and control between nodes."""

from .memory import memory_engine

__all__ = ["memory_engine"]
