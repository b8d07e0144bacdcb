"""Loading of configurations for commands."""

import os

from ..config.check import check
from ..config.load import Loaded, load
from ..config.model import Config
from ..errors import ConfigError
from .outcome import Refusal

__all__ = ["checked", "loaded"]


def loaded(path: str) -> Loaded:
    """Return the configuration in the file *path*; only types are checked.

    :raises Refusal: the file cannot be read.
    """
    try:
        return load(path, os.environ)
    except ConfigError as error:
        raise Refusal(f"error getting config: {error}") from None


def checked(path: str) -> Config:
    """Return the configuration in the file *path*, fully checked.

    :raises Refusal: the file cannot be read, or the server would refuse it.
    """
    config = loaded(path).config
    try:
        check(config)
    except ConfigError as error:
        raise Refusal(f"error: {error}") from None
    return config
