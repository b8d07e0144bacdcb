"""Map channels: keyed entries that subscribers have in full.

See client protocol, "Maps".
"""

from .maps import Maps

__all__ = ["Maps"]
