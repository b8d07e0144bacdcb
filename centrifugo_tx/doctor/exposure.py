"""Internal endpoints must not be reachable through the public URL."""

from collections.abc import Iterator

from ..config.model import Config
from .findings import Finding, ok, problem, warning
from .site import Reply, Site, Unreachable

__all__ = ["check_exposure"]

_CHECK = "exposure"
#: A path that no application has.
_NOWHERE = "/centrifugo-tx-doctor"
_REMEDY = (
    "set http_server.internal_port, or let the proxy pass only /connection/ and"
    " /emulation"
)


def check_exposure(site: Site, config: Config) -> list[Finding]:
    """Ask for each internal endpoint that is enabled; this blocks."""
    found = list(_exposed(site, config))
    return found or [ok(_CHECK, f"no internal endpoint answers at {site}")]


def _exposed(site: Site, config: Config) -> Iterator[Finding]:
    if not config.http_api.disabled:
        yield from _check_api(site, config.http_api.handler_prefix.rstrip("/"))
    if config.prometheus.enabled:
        path = config.prometheus.handler_prefix
        if b"centrifugo_" in _body(site, path):
            said = f"everybody can read the metrics at {site}{path}"
            yield warning(_CHECK, said, _REMEDY)
    if config.admin.enabled:
        path = f"{config.admin.handler_prefix.rstrip('/')}/admin/settings"
        if b'"insecure"' in (body := _body(site, path)):
            said = f"the admin page is at {site}{config.admin.handler_prefix}"
            if b'"insecure":true' in body.replace(b" ", b""):
                yield problem(_CHECK, f"{said}, and asks for no password", _REMEDY)
            else:
                yield warning(_CHECK, said, _REMEDY)
    if config.debug.enabled:
        path = config.debug.handler_prefix
        page = _body(site, f"{path.rstrip('/')}/") or _body(site, path)
        # An application may answer every path with one and the same page.
        if page and page != _body(site, _NOWHERE):
            said = f"everybody can inspect the process at {site}{path}"
            yield problem(_CHECK, said, _REMEDY)
    if config.swagger.enabled:
        path = config.swagger.handler_prefix
        if b'"openapi"' in _body(site, f"{path.rstrip('/')}/openapi.json"):
            said = f"everybody can read the description of the API at {site}{path}"
            yield warning(_CHECK, said, _REMEDY)


def _check_api(site: Site, prefix: str) -> Iterator[Finding]:
    """Call without a key; the API refuses a GET before it looks for the key."""
    path = f"{prefix}/info"
    reply = _reply(site, "POST", path)
    if reply is None:
        return
    if reply.status == 200 and b'"nodes"' in reply.body:
        said = f"everybody can call the server API at {site}{prefix}: it wants no key"
        yield problem(_CHECK, said, f"{_REMEDY}; and do not set http_api.insecure")
    elif reply.status == 401:
        other = _reply(site, "GET", path)
        if other is not None and other.status == 405:
            said = f"the server API is at {site}{prefix}; only its key protects it"
            yield warning(_CHECK, said, _REMEDY)


def _body(site: Site, path: str) -> bytes:
    """Return the body of a page that is there, else nothing."""
    reply = _reply(site, "GET", path)
    return reply.body if reply is not None and reply.status == 200 else b""


def _reply(site: Site, method: str, path: str) -> Reply | None:
    body = b"{}" if method == "POST" else None
    try:
        return site.request(method, path, body)
    except Unreachable:
        return None
