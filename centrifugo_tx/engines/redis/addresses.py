"""Addresses of shards, in all forms that the configuration allows.

See engines, "Redis addresses".
"""

from typing import Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import msgspec

from ...durations import parse_duration
from ...errors import ConfigError
from ...options import TLSOptions
from .options import RedisConnectionOptions

__all__ = ["Login", "ShardAddress", "TCPAddress", "UnixAddress", "shard_addresses"]


class TCPAddress(msgspec.Struct, frozen=True):
    """A host and its port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class UnixAddress(msgspec.Struct, frozen=True):
    """The path of a Unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


class Login(msgspec.Struct, frozen=True):
    """The credentials, database and client name of a connection; empty parts are
    skipped.
    """

    user: str = ""
    password: str = ""
    client_name: str = ""
    db: int = 0
    tls: TLSOptions | None = None


class ShardAddress(msgspec.Struct, frozen=True, kw_only=True):
    """One server, one master behind Sentinels, or one Cluster.

    ``single`` becomes ``cluster`` if the server is part of one, and may have several
    nodes only in that case.  With ``sentinel`` the nodes are the Sentinels.
    """

    kind: Literal["single", "sentinel", "cluster"]
    nodes: tuple[TCPAddress | UnixAddress, ...]
    login: Login
    connect_timeout: float
    io_timeout: float
    master_name: str = ""
    sentinel_login: Login = Login()

    def __str__(self) -> str:
        nodes = ", ".join(map(str, self.nodes))
        return f"{self.master_name} at {nodes}" if self.master_name else nodes


_SCHEMES = {
    "redis": "single",
    "rediss": "single",
    "tcp": "single",
    "unix": "single",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
}
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def shard_addresses(options: RedisConnectionOptions) -> list[ShardAddress]:
    """Return the shards of *options*, in order.

    :raises ConfigError: an address is malformed.
    """
    if options.cluster_address:
        return [_cluster(options, each) for each in options.cluster_address]
    if options.sentinel_address:
        return [_sentinel(options, each) for each in options.sentinel_address]
    return [_single(options, each) for each in options.address or ("127.0.0.1:6379",)]


def _login(options: RedisConnectionOptions) -> Login:
    return Login(
        options.user,
        options.password,
        options.client_name,
        options.db,
        options.tls if options.tls.enabled else None,
    )


def _sentinel_login(options: RedisConnectionOptions) -> Login:
    return Login(
        options.sentinel_user,
        options.sentinel_password,
        options.sentinel_client_name,
        0,
        options.sentinel_tls if options.sentinel_tls.enabled else None,
    )


def _cluster(options: RedisConnectionOptions, text: str) -> ShardAddress:
    return ShardAddress(
        kind="cluster",
        nodes=_nodes(text, "cluster_address"),
        login=_login(options),
        connect_timeout=options.connect_timeout,
        io_timeout=options.io_timeout,
    )


def _sentinel(options: RedisConnectionOptions, text: str) -> ShardAddress:
    if not options.sentinel_master_name:
        raise ConfigError("sentinel_address needs sentinel_master_name")
    return ShardAddress(
        kind="sentinel",
        nodes=_nodes(text, "sentinel_address"),
        login=_login(options),
        connect_timeout=options.connect_timeout,
        io_timeout=options.io_timeout,
        master_name=options.sentinel_master_name,
        sentinel_login=_sentinel_login(options),
    )


def _single(options: RedisConnectionOptions, text: str) -> ShardAddress:
    if text.partition("://")[0] in _SCHEMES and "://" in text:
        return _URL(options, text).shard()
    return ShardAddress(
        kind="single",
        nodes=(_tcp(text, "address"),),
        login=_login(options),
        connect_timeout=options.connect_timeout,
        io_timeout=options.io_timeout,
    )


def _nodes(text: str, key: str) -> tuple[TCPAddress, ...]:
    return tuple(_tcp(each, key) for each in text.split(","))


def _tcp(text: str, key: str) -> TCPAddress:
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not colon or not host or " " in host or not _is_port(port):
        raise ConfigError(f"{key}: {text!r} must be host:port or a URL")
    return TCPAddress(host, int(port))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) < 65536


class _URL:
    """One address in the form of a URL; its parts take precedence over the options."""

    def __init__(self, options: RedisConnectionOptions, text: str) -> None:
        self.options = options
        try:
            self.parts: SplitResult = urlsplit(text)
            self.host, self.port = self.parts.hostname, self.parts.port
        except ValueError as error:
            raise ConfigError(f"address: {self._shown(text)} {error}") from None
        self.text = self._shown(text)
        self.query = parse_qs(self.parts.query, keep_blank_values=True)

    @staticmethod
    def _shown(text: str) -> str:
        """Return *text* without its secrets."""
        scheme, _, rest = text.partition("://")
        return repr(f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}")

    def shard(self) -> ShardAddress:
        """Return the shard at the URL."""
        scheme = self.parts.scheme
        kind = _SCHEMES[scheme]
        if "sentinel_master_name" in self.query and scheme != "unix":
            kind = "sentinel"
        master_name = self._one("sentinel_master_name", "")
        if kind == "sentinel" and not master_name:
            raise ConfigError(f"address: {self.text} needs sentinel_master_name")
        for accepted in ("force_resp2", "replica_client_enabled"):
            self._bool(accepted)
        tls = self._tls(self.options.tls, "tls_enabled")
        return ShardAddress(
            kind=kind,  # type: ignore[arg-type]  # one of the table's values
            nodes=self._nodes(),
            login=Login(
                self._user_info(self.parts.username, self.options.user),
                self._user_info(self.parts.password, self.options.password),
                self.options.client_name,
                self._db(),
                None if scheme == "unix" else tls,
            ),
            connect_timeout=self._seconds(
                "connect_timeout", self.options.connect_timeout
            ),
            io_timeout=self._seconds("io_timeout", self.options.io_timeout),
            master_name=master_name if kind == "sentinel" else "",
            sentinel_login=self._sentinel_login() if kind == "sentinel" else Login(),
        )

    @staticmethod
    def _user_info(given: str | None, default: str) -> str:
        return unquote(given) if given else default

    def _nodes(self) -> tuple[TCPAddress | UnixAddress, ...]:
        if self.parts.scheme == "unix":
            if not self.parts.path:
                raise ConfigError(f"address: {self.text} has no path")
            return (UnixAddress(unquote(self.parts.path)),)
        if not self.host or not self.port:
            raise ConfigError(f"address: {self.text} must have a host and a port")
        more = self.query.get("addr", [])
        return (
            TCPAddress(self.host, self.port),
            *(_tcp(each, "addr") for each in more),
        )

    def _db(self) -> int:
        path = self.parts.path
        if self.parts.scheme == "unix" or not path:
            return self.options.db
        if not (path[1:].isascii() and path[1:].isdecimal()):
            raise ConfigError(f"address: {self.text} must end in the number of a db")
        return int(path[1:])

    def _tls(self, tls: TLSOptions, switch: str) -> TLSOptions | None:
        """Return the TLS options; scheme and *switch* can enable TLS, but not disable
        it.
        """
        if tls.enabled:
            return tls
        if self.parts.scheme.startswith("rediss") or self._bool(switch):
            return msgspec.structs.replace(tls, enabled=True)
        return None

    def _sentinel_login(self) -> Login:
        default = _sentinel_login(self.options)
        return Login(
            self._one("sentinel_user", default.user),
            self._one("sentinel_password", default.password),
            default.client_name,
            0,
            self._tls(self.options.sentinel_tls, "sentinel_tls_enabled"),
        )

    def _one(self, name: str, default: str) -> str:
        return self.query[name][-1] if name in self.query else default

    def _bool(self, name: str) -> bool:
        text = self._one(name, "false")
        if text not in _TRUE | _FALSE:
            raise ConfigError(f"address: {name} of {self.text} must be true or false")
        return text in _TRUE

    def _seconds(self, name: str, default: float) -> float:
        if name not in self.query:
            return default
        text = self._one(name, "")
        try:
            seconds = parse_duration(text)
        except ValueError:
            seconds = -1.0
        if seconds < 0:
            raise ConfigError(
                f"address: {name} of {self.text} must be a duration such as 500ms"
            )
        return seconds
