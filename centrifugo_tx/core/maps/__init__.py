"""Map channels: keyed entries that subscribers have in full (client protocol, 10.1)."""

from .maps import Maps

__all__ = ["Maps"]
