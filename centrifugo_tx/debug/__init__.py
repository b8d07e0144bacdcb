"""Pages about a running process for the people who operate it."""

from .diagnostics import Diagnostics
from .endpoints import DEBUG_PATHS, debug_handlers

__all__ = ["DEBUG_PATHS", "Diagnostics", "debug_handlers"]
