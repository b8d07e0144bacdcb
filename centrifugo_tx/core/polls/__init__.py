"""Shared poll: keys that the node polls for all who track them (10.2)."""

from .polls import Polls

__all__ = ["Polls"]
