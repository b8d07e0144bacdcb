"""What backends call: the methods of the server API, and the ways to them."""

from .http import HTTPAPIOptions, http_handlers
from .methods import METHODS, Api, Method

__all__ = ["METHODS", "Api", "HTTPAPIOptions", "Method", "http_handlers"]
