"""Where a PostgreSQL database is, and how connections to it are encrypted."""

import asyncio
import re
import shutil
import ssl
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from attrs import define, field
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

from ..options import TLSOptions
from ..renewed_tls import current_tls

__all__ = ["Database", "parameters_of"]

#: Defaults of connections unless the DSN sets them: they detect a host that is gone,
#: and do not wait minutes for one.
DEFAULTS = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "application_name": "centrifugo",
}
#: Parameters of the reference's driver in a DSN that libpq does not know.
_FOREIGN = re.compile(
    r"pool_\w+|default_query_exec_mode|(statement|description)_cache_capacity"
)
_PAIR = re.compile(rf"\b({_FOREIGN.pattern})\s*=\s*('[^']*'|\S*)")
#: Ways to run queries with which no statement stays prepared on a connection.
_UNPREPARED = frozenset({"cache_describe", "describe_exec", "exec", "simple_protocol"})
_PLAIN = TLSOptions()
#: The authorities of Debian and its kin.
_SYSTEM = "/etc/ssl/certs/ca-certificates.crt"


def parameters_of(dsn: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parameters of *dsn*, and those that libpq does not know.

    :raises ValueError: it is malformed; the message shows nothing of it.
    """
    try:
        dsn, foreign = _separated(dsn)
        found = conninfo_to_dict(dsn)
    except (psycopg.Error, ValueError):
        raise ValueError("must be a URL or key=value pairs for libpq") from None
    return {name: str(value) for name, value in found.items()}, foreign


def _separated(dsn: str) -> tuple[str, dict[str, str]]:
    """Return *dsn* without the parameters that libpq does not know, and these."""
    if not dsn.startswith(("postgres://", "postgresql://")):
        foreign = {pair[1]: pair[3].strip("'") for pair in _PAIR.finditer(dsn)}
        return _PAIR.sub("", dsn), foreign
    parts = urlsplit(dsn)
    query = parse_qsl(parts.query, keep_blank_values=True)
    foreign = {name: value for name, value in query if _FOREIGN.fullmatch(name)}
    if not foreign:
        return dsn, foreign
    rest = urlencode([each for each in query if each[0] not in foreign])
    return urlunsplit((*parts[:3], rest, parts.fragment)), foreign


@define(eq=False)
class Database:
    """Makes connections; certificates lie in a folder of their own meanwhile."""

    _dsn: str
    _tls: TLSOptions = _PLAIN
    _folder: str = field(default="", init=False)

    async def connect(self, autocommit: bool = False) -> "AsyncConnection[Any]":
        """Return a new connection.

        :raises psycopg.Error: the connection fails.
        """
        given, foreign = parameters_of(self._dsn)
        parameters: dict[str, Any] = {**DEFAULTS, **given}
        tls = current_tls(self._tls)
        if tls.enabled:
            parameters.update(self._encryption(tls))
            if tls.server_name:
                parameters.update(await self._renamed(parameters, tls.server_name))
        unprepared = foreign.get("default_query_exec_mode") in _UNPREPARED
        return await AsyncConnection.connect(
            autocommit=autocommit,
            prepare_threshold=None if unprepared else 5,
            **parameters,
        )

    async def _renamed(self, parameters: dict[str, Any], name: str) -> dict[str, Any]:
        """Return parameters by which the certificate is checked for another name."""
        host, port = parameters.get("host", ""), parameters.get("port") or 5432
        if not host or host.startswith("/"):
            return {}
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, int(port))
        return {"host": name, "hostaddr": found[0][4][0]}

    def _encryption(self, tls: TLSOptions) -> dict[str, str]:
        if tls.insecure_skip_verify:
            # An authority that is there would be used.
            found = {"sslmode": "require", "sslrootcert": self._path("none")}
        else:
            authorities = _authorities()
            if tls.server_ca_pem:
                authorities = self._file("authorities.pem", tls.server_ca_pem)
            found = {"sslmode": "verify-full", "sslrootcert": authorities}
        if tls.cert_pem:
            found["sslcert"] = self._file("certificate.pem", tls.cert_pem)
            found["sslkey"] = self._file("key.pem", tls.key_pem)
        return found

    def _path(self, name: str) -> str:
        if not self._folder:
            self._folder = mkdtemp(prefix="centrifugo-tls-")
        return str(Path(self._folder, name))

    def _file(self, name: str, text: str) -> str:
        """Return the path of a file with *text* that only this user can read."""
        # Each text has a file of its own, as it may change while libpq reads.
        digest = sha256(text.encode()).hexdigest()[:16]
        path = Path(self._path(f"{digest}-{name}"))
        if not path.exists():
            path.touch(0o600)
            path.write_text(text)
        return str(path)

    def forget(self) -> None:
        """Remove the certificates; they are written again when needed."""
        folder, self._folder = self._folder, ""
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _authorities() -> str:
    """Return the file with the authorities of the system."""
    for path in (ssl.get_default_verify_paths().cafile, _SYSTEM):
        if path and Path(path).exists():
            return path
    return "system"
