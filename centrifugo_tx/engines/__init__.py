"""Engines, which carry publications, presence and control messages between nodes."""

from .memory import memory_engine, memory_maps

__all__ = ["memory_engine", "memory_maps"]
