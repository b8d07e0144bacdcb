"""Load a configuration for a command."""

import os

from ..config.check import check
from ..config.load import Loaded, load
from ..config.model import Config
from ..errors import ConfigError
from .outcome import Refusal

__all__ = ["checked", "loaded"]


def loaded(path: str) -> Loaded:
    """Return the configuration; only types are checked.

    :raises Refusal: it cannot be read.
    """
    try:
        return load(path, os.environ)
    except ConfigError as error:
        raise Refusal(f"error getting config: {error}") from None


def checked(path: str) -> Config:
    """Return the configuration, which the server would accept.

    :raises Refusal: it cannot be read, or the server would not start with it.
    """
    config = loaded(path).config
    try:
        check(config)
    except ConfigError as error:
        raise Refusal(f"error: {error}") from None
    return config
