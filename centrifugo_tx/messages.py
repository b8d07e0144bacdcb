"""The messages of the client protocol, for engines and transports of applications.

Policies meet some of them as well; `centrifugo_tx` exports those.
"""

from .protocol import messages as _messages
from .protocol.messages import *  # noqa: F403  # this module is its public name
from .protocol.payloads import Binary, checked
from .protocol.wire import Wire

__all__ = ["Binary", "Wire", "checked"]
__all__ += _messages.__all__
