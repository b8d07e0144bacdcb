"""Engines: what carries publications, presence and control between nodes."""

from .memory import memory_engine, memory_maps

__all__ = ["memory_engine", "memory_maps"]
