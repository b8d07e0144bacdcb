"""Rules between endpoints: no path and no port is used twice."""

from collections.abc import Iterator

from attrs import frozen

from ..admin import ADMIN_PATHS
from ..api import METHODS
from ..debug import DEBUG_PATHS
from .findings import Finding
from .model import Config

__all__ = ["check_paths", "check_ports", "internal_address", "is_loopback"]

_OUTSIDE = (
    *("websocket", "sse", "http_stream", "emulation", "webtransport"),
    *("uni_websocket", "uni_sse", "uni_http_stream", "init"),
)
_INSIDE = ("prometheus", "health", "swagger", "debug")
#: The paths that ``web.swagger`` serves below its prefix.
_SWAGGER_FILES = ("", "openapi.json", "page.css", "page.js")
#: Addresses that mean all addresses of the machine.
_ALL = ("", "0.0.0.0", "::")


@frozen
class _Port:
    """One port to listen on; the names are those of options."""

    port_name: str
    port: int
    address_name: str
    address: str

    def clashes(self, other: "_Port") -> bool:
        """Whether not both can be listened on."""
        return self.port == other.port and (
            self.address == other.address
            or self.address in _ALL
            or other.address in _ALL
        )


def internal_address(config: Config) -> str:
    """Return the address of the internal endpoints; empty: all addresses."""
    return config.http_server.internal_address or config.http_server.address


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches *host*."""
    return host in ("localhost", "::1", "[::1]") or host.startswith("127.")


def check_paths(config: Config) -> Iterator[Finding]:
    """Yield paths that are none, and those that two endpoints of a port have."""
    for section in (*_OUTSIDE, *_INSIDE, "http_api", "admin"):
        prefix = getattr(config, section).handler_prefix
        if section == "admin" and not prefix:
            continue
        if not prefix.startswith("/") or not prefix.isascii() or " " in prefix:
            yield f"{section}.handler_prefix", f"{prefix!r} must begin with a slash"
    taken: dict[tuple[object, str], str] = {}
    for place, section in _enabled(config):
        name = f"{section}.handler_prefix"
        prefix = getattr(config, section).handler_prefix
        path = prefix.rstrip("/") or "/"
        paths = [path]
        if section == "http_api":
            paths += [f"{path.rstrip('/')}/{method}" for method in METHODS]
        if section == "admin":
            paths = [f"{path.rstrip('/')}{each}" for each in ADMIN_PATHS]
        if section == "debug":
            paths = [f"{path.rstrip('/')}{each}" for each in DEBUG_PATHS]
        if section == "swagger":
            paths += [f"{path.rstrip('/')}/{file}" for file in _SWAGGER_FILES]
        for each in paths:
            other = taken.setdefault((place, each), name)
            if other != name:
                yield name, f"{prefix!r} takes {each!r}, which {other} already uses"
                break


def _enabled(config: Config) -> Iterator[tuple[object, str]]:
    """Yield the sections that have an endpoint, each with the place of its port."""
    outside, inside = _http_ports(config)
    # Equal addresses are one port with all endpoints.
    here, there = (outside.address, outside.port), (inside.address, inside.port)
    for section in _OUTSIDE:
        if section == "websocket":
            on = not config.websocket.disabled
        elif section == "emulation":
            on = config.sse.enabled or config.http_stream.enabled
        else:
            on = getattr(config, section).enabled
        if on:
            yield here, section
    for section in _INSIDE:
        if getattr(config, section).enabled:
            yield there, section
    if config.admin.enabled:
        yield here if config.admin.external else there, "admin"
    if not config.http_api.disabled:
        yield here if config.http_api.external else there, "http_api"


def check_ports(config: Config) -> Iterator[Finding]:
    """Yield ports that two listeners cannot have at once."""
    places = dict.fromkeys(place for place, _ in _enabled(config))
    ports = [
        port for port in _http_ports(config) if (port.address, port.port) in places
    ]
    if len(ports) == 2 and len(places) == 1:
        del ports[1]
    for section in ("grpc_api", "uni_grpc"):
        options = getattr(config, section)
        if options.enabled:
            names = f"{section}.port", f"{section}.address"
            ports.append(_Port(names[0], options.port, names[1], options.address))
    for index, port in enumerate(ports):
        for other in ports[:index]:
            if not port.clashes(other):
                continue
            message = f"{port.port} is already used by {other.port_name}"
            if port.address != other.address:
                message += (
                    f", and {port.address_name} {port.address!r} overlaps"
                    f" {other.address_name} {other.address!r}"
                )
            yield port.port_name, message


def _http_ports(config: Config) -> tuple[_Port, _Port]:
    """Return the port of clients, and that of all others."""
    http = config.http_server
    outside = _Port("http_server.port", http.port, "http_server.address", http.address)
    port = http.port
    if http.internal_port.isascii() and http.internal_port.isdigit():
        port = int(http.internal_port)
    return outside, _Port(
        "http_server.internal_port" if http.internal_port else "http_server.port",
        port,
        "http_server.internal_address"
        if http.internal_address
        else outside.address_name,
        http.internal_address or http.address,
    )
