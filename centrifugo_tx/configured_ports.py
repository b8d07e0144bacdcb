"""The ports of a server, as configured, and the endpoints on each."""

import socket
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.ssl import CertificateOptions

from .admin_page import AdminPage
from .api import Api, http_handlers
from .api.http import BODY_LIMIT
from .api.openapi import openapi
from .api.spans import Tracer
from .client_endpoints import ClientEndpoints
from .config.model import Config
from .core import Node
from .debug import Diagnostics, debug_handlers
from .tls import server_context
from .transports.connection_limit import ConnectionLimiter
from .web.exposition import exposition
from .web.probes import Health, metrics
from .web.site import Endpoints
from .web.swagger import swagger

__all__ = [
    "Address",
    "Exposition",
    "Gather",
    "addresses",
    "api_document",
    "endpoints",
    "interface_of",
    "port_tls",
]

#: Host and port.
Address = tuple[str, int]
#: Renders metrics as text.
Exposition = Callable[[], "bytes | Deferred[bytes]"]
#: Wraps one process's exposition into that of all workers.
Gather = Callable[[Callable[[], bytes]], Exposition]


def port_tls(config: Config, address: Address) -> CertificateOptions | None:
    """Return the TLS context of a port, None without TLS.

    See configuration rules, "Ports and endpoints".
    """
    http = config.http_server
    options = http.tls
    if address != addresses(config)[0]:
        if http.internal_tls.enabled:
            options = http.internal_tls
        elif http.tls_external:
            return None
    return server_context(options) if options.enabled else None


def interface_of(host: str) -> str:
    """Return the interface for *host*; an empty host means all interfaces."""
    return host or ("::" if socket.has_dualstack_ipv6() else "")


def addresses(config: Config) -> tuple[Address, Address]:
    """Return the addresses of client endpoints and of all other endpoints."""
    http = config.http_server
    inside = http.internal_address or http.address, int(http.internal_port or http.port)
    return (http.address, http.port), inside


def endpoints(
    reactor: Any,
    config: Config,
    node: Node,
    gather: Gather | None = None,
    health: Health | None = None,
    admin: AdminPage | None = None,
    limiter: ConnectionLimiter | None = None,
    tracer: Tracer | None = None,
    diagnostics: Diagnostics | None = None,
) -> "dict[Address, tuple[Endpoints, list[str]]]":
    """Return the endpoints by address, with their names.

    See configuration rules, "Ports and endpoints".
    """
    outside, inside = addresses(config)
    by_address: dict[Address, tuple[Endpoints, list[str]]] = {}

    def place(address: Address, name: str, served: Endpoints) -> None:
        endpoints, names = by_address.setdefault(address, (Endpoints(), []))
        endpoints.merge(served)
        names.append(name)

    for name, served in ClientEndpoints(reactor, config, node, limiter).enabled():
        place(outside, name, served)
    if not config.http_api.disabled:
        handlers = http_handlers(Api(node, tracer=tracer), config.http_api)
        where = outside if config.http_api.external else inside
        limits = dict.fromkeys(handlers, BODY_LIMIT)
        place(where, "api", Endpoints(handlers=handlers, body_limits=limits))
    if config.prometheus.enabled:
        path = config.prometheus.handler_prefix.encode()
        own = exposition(node)
        handler = metrics(own if gather is None else gather(own))
        place(inside, "prometheus", Endpoints(handlers={path: handler}))
    if config.health.enabled:
        path = config.health.handler_prefix.encode()
        place(inside, "health", Endpoints(handlers={path: health or Health()}))
    page = admin.endpoints() if admin is not None else None
    if page is not None:
        place(outside if config.admin.external else inside, "admin", page)
    if diagnostics is not None:
        handlers = debug_handlers(diagnostics, node.id, config.debug.handler_prefix)
        place(inside, "debug", Endpoints(handlers=handlers))
    if config.swagger.enabled:
        handlers = swagger(config.swagger.handler_prefix, api_document(config))
        place(inside, "swagger", Endpoints(handlers=handlers))
    return by_address


def api_document(config: Config) -> dict[str, Any]:
    """Return the OpenAPI document of the HTTP API, as configured."""
    outside, inside = addresses(config)
    server: dict[str, Any] = {"url": config.http_api.handler_prefix.rstrip("/") or "/"}
    if config.http_api.external and outside != inside:
        secure = port_tls(config, outside) is not None
        scheme, (_, port) = "https" if secure else "http", outside
        server["url"] = f"{scheme}://{{host}}:{port}{server['url']}"
        server["variables"] = {"host": {"default": "localhost"}}
    return openapi(version("centrifugo-tx"), server, config.http_api.insecure)
