"""The running server, as clients reach it: its URL, and single HTTP requests."""

import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPResponse

from attrs import frozen

from ..errors import CentrifugoError

__all__ = ["Reply", "Site", "Unreachable"]

#: Bytes of a response body that are read at most.
LARGEST_BODY = 65536


class Unreachable(CentrifugoError):
    """There was no response; the message is the reason."""


@frozen
class Reply:
    """A response whose body was read as far as it matters."""

    status: int
    body: bytes
    date: str | None


@frozen
class Site:
    """A public URL, or the address of the configuration.

    ``path`` is in front of the path of every endpoint; ``tls`` is None without TLS.
    """

    host: str
    port: int
    path: str = ""
    tls: ssl.SSLContext | None = None
    #: File of trusted authorities, empty: the system's.
    ca: str = ""
    timeout: float = 5.0
    #: Whether it is the URL of the clients, with what is in front of the server.
    is_public: bool = False

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self._authority}{self.path}"

    @property
    def _authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.tls else 80
        return host if self.port == default else f"{host}:{self.port}"

    def websocket_url(self, path: str) -> str:
        """Return the URL of a WebSocket endpoint."""
        scheme = "wss" if self.tls else "ws"
        return f"{scheme}://{self._authority}{self.path}{path}"

    def connect(self) -> HTTPConnection:
        """Return an open connection; the caller closes it.

        :raises Unreachable: the connection fails.
        """
        connection = HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            connection.connect()
            if self.tls is not None:
                connection.sock = self.tls.wrap_socket(
                    connection.sock, server_hostname=self.host
                )
        except OSError as error:
            connection.close()
            raise Unreachable(_reason(error, self.timeout)) from None
        return connection

    def send(
        self,
        connection: HTTPConnection,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> HTTPResponse:
        """Send a request; return the response, of which only the head has come.

        :raises Unreachable: no head came.
        """
        try:
            # http.client leaves out a port that is the scheme's only if it knows TLS.
            given = {"Host": self._authority, **(headers or {})}
            connection.request(method, self.path + path, body, given)
            return connection.getresponse()
        except (OSError, HTTPException) as error:
            raise Unreachable(_reason(error, self.timeout)) from None

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send one request over a connection of its own.

        :raises Unreachable: no response came.
        """
        connection = self.connect()
        try:
            response = self.send(connection, method, path, body, headers)
            return Reply(
                response.status,
                response.read(LARGEST_BODY),
                response.getheader("Date"),
            )
        except (OSError, HTTPException) as error:
            raise Unreachable(_reason(error, self.timeout)) from None
        finally:
            connection.close()


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return f"unknown host: {error.strerror}"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, HTTPException):
        return "the answer is not HTTP"
    return str(getattr(error, "strerror", None) or error or "connection lost").lower()
