"""Rules of the admin page."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from .findings import Finding
from .model import Config

__all__ = ["check_admin"]


def check_admin(config: Config) -> Iterator[Finding]:
    """Yield errors that make a login impossible, or the files unreachable."""
    admin = config.admin
    if admin.enabled and not admin.insecure:
        for name in ("password", "secret"):
            if not getattr(admin, name):
                yield (
                    f"admin.{name}",
                    "is empty; the admin page needs a password and a secret (or"
                    " admin.insecure, behind a firewall)",
                )
    if admin.web_path and not Path(admin.web_path).is_dir():
        yield "admin.web_path", f"{admin.web_path!r} must be an existing folder"
    if admin.web_proxy_address:
        yield from _proxied_page(admin.web_proxy_address)
        if admin.web_path:
            yield "admin.web_proxy_address", "cannot be used together with web_path"


def _proxied_page(address: str) -> Iterator[Finding]:
    try:
        url = urlsplit(address)
        right = url.scheme == "http" and url.hostname and (url.port or 80)
    except ValueError:
        right = False
    if not right:
        yield (
            "admin.web_proxy_address",
            f"{address!r} must be the URL of a server, such as http://localhost:3000",
        )
