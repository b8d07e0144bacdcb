"""The server API that backends call: its methods, and HTTP access to them."""

from .http import HTTPAPIOptions, http_handlers
from .methods import METHODS, Api, Method

__all__ = ["METHODS", "Api", "HTTPAPIOptions", "Method", "http_handlers"]
