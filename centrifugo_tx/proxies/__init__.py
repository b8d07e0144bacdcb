"""What asks the application's backend about events (proxies)."""

from .http import HTTPBackend
from .polling import Polling

__all__ = ["HTTPBackend", "Polling"]
