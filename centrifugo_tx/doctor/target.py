"""Which server is examined: the public URL, or where the configuration puts it."""

import ssl
from urllib.parse import urlsplit

from ..config.model import Config
from ..errors import ConfigError
from .site import Site

__all__ = ["site_of"]

_SCHEMES = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def site_of(url: str, config: Config, ca: str = "", timeout: float = 5.0) -> Site:
    """Return the site at a URL; without one, at the address of the configuration.

    :raises ConfigError: the URL or the file of authorities cannot be read.
    """
    http = config.http_server
    if not url:
        host = _ANY.get(http.address, http.address)
        tls = _context(ca) if http.tls.enabled else None
        return Site(host, http.port, "", tls, ca, timeout)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if parts.scheme not in _SCHEMES or not host or parts.query or parts.fragment:
        raise ConfigError(f"--url: {url!r} must be a URL such as https://example.com")
    tls = _context(ca) if parts.scheme in ("https", "wss") else None
    path = parts.path.rstrip("/")
    at = port or _SCHEMES[parts.scheme]
    return Site(host, at, path, tls, ca, timeout, is_public=True)


def _context(ca: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if isinstance(error, FileNotFoundError) else "no PEM"
        raise ConfigError(f"--ca: {ca!r}: {reason}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context
