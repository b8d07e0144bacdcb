"""The server API that backends call: its methods, and HTTP access to them."""

from .api import Api, Method
from .http import HTTPAPIOptions, http_handlers
from .methods import METHODS

__all__ = ["METHODS", "Api", "HTTPAPIOptions", "Method", "http_handlers"]
