"""Version 1 of the client protocol, in terms of the messages of version 2.

`old_messages` defines its messages and converts them to and from those of version
2, `json_codec` and `protobuf_codec` read and write them, and `version_detection`
tells the versions apart.
"""

from . import json_codec, protobuf_codec
from .old_messages import Dialect
from .version_detection import detect_version

__all__ = ["Dialect", "detect_version", "json_codec", "protobuf_codec"]
