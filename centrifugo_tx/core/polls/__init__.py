"""Shared poll: keys that the node polls for all who track them.

See client protocol, "Shared poll".
"""

from .polls import Polls

__all__ = ["Polls"]
