"""Where the HTTP API of the server is, and the key to it.

Only the options that say so are read from the configuration: the option classes of
the whole server would take ten times as long to import.
"""

import argparse
import os
from typing import TypeVar, cast
from urllib.parse import urlsplit

from attrs import frozen
from msgspec import Struct

from ..config.files import read_file
from ..config.reader import Reader
from ..config.schema import ENVIRONMENT_PREFIX
from ..errors import ConfigError
from .outcome import USAGE, CommandFailed
from .server_arguments import ADDRESS, CA, CONFIG, KEY

__all__ = [
    "MODERN",
    "APIAddress",
    "APIOptions",
    "ServerAddress",
    "api_address",
    "parse_address",
    "reachable",
    "read_options",
    "set_or",
]

#: Sections at the top of a file of today.  A file with any other name at the top may
#: have the flat names of Centrifugo v5, and is read in full.
MODERN = frozenset(
    {"http_server", "http_api", "grpc_api", "client", "channel", "rpc", "engine"}
    | {"broker", "presence_manager", "map_broker", "admin", "health", "prometheus"}
    | {"log", "websocket", "sse", "http_stream", "uni_websocket", "uni_sse"}
    | {"uni_http_stream", "uni_grpc", "emulation", "shutdown", "node", "proxies"}
    | {"consumers", "graphite", "swagger", "debug", "opentelemetry", "usage_stats"}
)


T = TypeVar("T", bound=Struct)


class Encryption(Struct, frozen=True):
    """Whether a port is encrypted."""

    enabled: bool = False


class HTTPServer(Struct, frozen=True):
    """The part of ``http_server`` that says where the ports are."""

    address: str = ""
    port: int = 8000
    internal_address: str = ""
    internal_port: str = ""
    tls: Encryption = Encryption()
    tls_external: bool = False
    internal_tls: Encryption = Encryption()


class HTTPAPI(Struct, frozen=True):
    """The part of ``http_api`` that callers need."""

    disabled: bool = False
    handler_prefix: str = "/api"
    key: str = ""
    external: bool = False


class APIOptions(Struct, frozen=True):
    """The sections that say where the API is."""

    http_server: HTTPServer = HTTPServer()
    http_api: HTTPAPI = HTTPAPI()


@frozen
class ServerAddress:
    """The root of a server, or of one of its endpoints; ``path`` may be empty."""

    host: str
    port: int
    encrypted: bool = False
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            f"{'https' if self.encrypted else 'http'}://{host}:{self.port}{self.path}"
        )


@frozen
class APIAddress:
    """An API, its key, and what is needed for its TLS."""

    server: ServerAddress
    key: str = ""
    #: Path of a file of trusted authorities, empty: the system's.
    ca: str = ""
    #: The name that the certificate must have, empty: the host.
    tls_name: str = ""


def parse_address(text: str) -> ServerAddress:
    """Read ``HOST[:PORT]`` or a URL of HTTP or WebSocket; the port is 8000 without one.

    With a scheme the port is the scheme's, as in a browser.

    :raises CommandFailed: it is neither.
    """
    schemes = {"http": 80, "ws": 80, "https": 443, "wss": 443}
    given = text if "://" in text else f"//{text}"
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if not host or (parts.scheme and parts.scheme not in schemes) or parts.query:
        raise CommandFailed(
            f"address: {text!r} must be HOST, HOST:PORT or a URL such as"
            " https://HOST/PATH",
            USAGE,
        )
    default = schemes.get(parts.scheme, 8000)
    encrypted = parts.scheme in ("https", "wss")
    return ServerAddress(host, port or default, encrypted, parts.path.rstrip("/"))


def set_or(flag: str | None, variable: str) -> str:
    """Return a flag, or else the environment variable that stands in for it."""
    return flag if flag is not None else os.environ.get(variable, "")


def api_address(options: argparse.Namespace) -> APIAddress:
    """Return the API that a command calls: flags, then variables, then configuration.

    :raises CommandFailed: what is given cannot be read.
    """
    address, key = set_or(options.address, ADDRESS), set_or(options.key, KEY)
    ca = set_or(options.ca, CA)
    config = APIOptions()
    if options.config is not None or not (address and key):
        config = read_options(options.config, APIOptions)
    prefix = config.http_api.handler_prefix.rstrip("/")
    server = parse_address(address) if address else _configured(config)
    if not server.path:
        server = ServerAddress(server.host, server.port, server.encrypted, prefix)
    key = key or config.http_api.key
    if not key.isprintable():
        raise CommandFailed("key: must be one line of printable text", USAGE)
    return APIAddress(server, key, ca, options.tls_name)


def read_options(path: str | None, part: type[T]) -> T:
    """Return a part of the configuration.

    :param path: None for the file of the usual name, which may be missing.
    :raises CommandFailed: the file is missing or malformed.
    """
    try:
        tree = read_file(path or CONFIG)
        if tree is None and path is not None:
            raise CommandFailed(f"{path}: no such file", USAGE)
        reader = Reader(os.environ, {})
        members = reader.members(tree or {}, "")
        if members.keys() - MODERN:
            return _part_of_any_version(path or CONFIG, part)
        section = reader.section(part, members, "", ENVIRONMENT_PREFIX)
    except ConfigError as error:
        raise CommandFailed(str(error).partition("\n")[0], USAGE) from None
    if reader.problems:
        raise CommandFailed(reader.problems[0], USAGE)
    return cast(T, section)


def _part_of_any_version(path: str, part: type[T]) -> T:
    """Read a file in full, its flat names included; this imports the server."""
    from ..config.load import load

    return _part(load(path, os.environ).config, part)


def _part(whole: Struct, part: type[T]) -> T:
    """Return the options of *whole* that *part* has, too."""
    values = {}
    for name in part.__struct_fields__:
        value = getattr(whole, name)
        section = getattr(part(), name)
        if isinstance(section, Struct):
            value = _part(value, type(section))
        values[name] = value
    return part(**values)


def _configured(config: APIOptions) -> ServerAddress:
    """Return where the configuration puts the API.

    See configuration rules, "Ports and endpoints".
    """
    http = config.http_server
    if config.http_api.disabled:
        raise CommandFailed("http_api.disabled: this server has no HTTP API", USAGE)
    host, port, encrypted = http.address, http.port, http.tls.enabled
    internal_host = http.internal_address or http.address
    text = http.internal_port or str(http.port)
    if not (text.isascii() and text.isdigit()):
        raise CommandFailed(f"http_server.internal_port: {text!r} is no port", USAGE)
    internal_port = int(text)
    inside = (internal_host, internal_port) != (host, port)
    if inside and not config.http_api.external:
        host, port = internal_host, internal_port
        if http.internal_tls.enabled:
            encrypted = True
        elif http.tls_external:
            encrypted = False
    return ServerAddress(reachable(host), port, encrypted)


def reachable(host: str) -> str:
    """Return where to connect to a server that listens on *host*."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
