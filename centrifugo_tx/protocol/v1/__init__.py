"""Version 1 of the client protocol, in terms of the messages of version 2.

`forms` has its messages and how they become ours and are made of ours, `json` and
`binary` write and read them, `choice` tells the versions apart.
"""

from . import binary, json
from .choice import version_of
from .forms import Dialect

__all__ = ["Dialect", "binary", "json", "version_of"]
