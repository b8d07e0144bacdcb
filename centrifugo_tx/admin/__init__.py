"""The admin page: its login, its files, and its requests to the nodes."""

from .endpoints import ADMIN_PATHS, AdminEndpoints
from .inspector import Inspector
from .login import AdminOptions

__all__ = ["ADMIN_PATHS", "AdminEndpoints", "AdminOptions", "Inspector"]
