"""Sources of API commands: queues and tables, read at least once.

Each source module imports its client library; only the modules named here do not.
"""

from .delivery import Dispatch, IConsumer
from .publications import PublicationNames

__all__ = ["Dispatch", "IConsumer", "PublicationNames"]
