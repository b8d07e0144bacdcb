"""Calls of the HTTP API from a short-lived process, without a reactor."""

import json
import socket
import ssl
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote

import msgspec
from attrs import define, field

from .outcome import (
    CANNOT_CONNECT,
    FAILED,
    FOREIGN_ANSWER,
    UNAUTHORIZED,
    USAGE,
    CommandFailed,
)
from .server_address import APIAddress

__all__ = ["APIClient", "APIError", "tls_context"]

#: Bytes of the largest answer that is read.
LARGEST_ANSWER = 256 * 1024 * 1024


class APIError(CommandFailed):
    """The server answered an error."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(f"error {number}: {message}", FAILED)
        self.number, self.message = number, message


@define(eq=False)
class APIClient:
    """One API, called over a connection that is kept while the server keeps it."""

    address: APIAddress
    #: Seconds that connecting, and each read and write, may take.
    timeout: float = 10.0
    _connection: HTTPConnection | None = field(default=None, init=False)

    def call(self, method: str, request: object) -> dict[str, Any]:
        """Return the result of a method; *request* may hold `msgspec.Raw` JSON.

        :raises APIError: the server answered an error.
        :raises CommandFailed: there was no answer, or not one of this API's.
        """
        path = quote(f"{self.address.server.path}/", safe="/%") + quote(method, "")
        status, body = self._post(path, msgspec.json.encode(request))
        if status == 401:
            key = "the server did not accept this key"
            if not self.address.key:
                key = "the server wants a key: give --key, or --config"
            raise CommandFailed(f"{self._where}: {key} (HTTP 401)", UNAUTHORIZED)
        answer = _parsed(body)
        error = answer if status != 200 and "code" in answer else answer.get("error")
        if isinstance(error, dict):
            raise APIError(int(error.get("code", 0)), str(error.get("message", "")))
        if status == 404:
            raise CommandFailed(
                f"{self._where}/{method}: not found (HTTP 404); the address may lack"
                " the path of the API, or name a port without it",
                FOREIGN_ANSWER,
            )
        if status == 400:
            raise CommandFailed(
                f"{self._where}/{method}: the request was malformed (HTTP 400)", FAILED
            )
        result = answer.get("result", answer if method == "batch" else None)
        if status != 200 or not isinstance(result, dict):
            raise CommandFailed(
                f"{self._where}/{method}: HTTP {status}, which is no answer of this"
                " API",
                FOREIGN_ANSWER,
            )
        return result

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _where(self) -> str:
        return str(self.address.server)

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": b"application/json"}
        if self.address.key:
            headers["X-API-Key"] = self.address.key.encode()
        reused = self._connection is not None
        try:
            return self._exchange(path, body, headers)
        except ConnectionError:
            # A server may close a kept connection at any time.  Only `top`, which
            # changes nothing, calls more than once.
            if not reused:
                raise self._gone("the server closed the connection") from None
        except HTTPException:
            raise CommandFailed(
                f"{self._where}: the answer is not HTTP; perhaps this port wants"
                " https://",
                FOREIGN_ANSWER,
            ) from None
        except ssl.SSLCertVerificationError as error:
            reason = error.verify_message
            raise self._gone(f"its certificate is not trusted: {reason}") from None
        except ssl.SSLError as error:
            reason = (
                (getattr(error, "reason", None) or "error").replace("_", " ").lower()
            )
            raise self._gone(f"TLS failed: {reason}") from None
        except TimeoutError:
            raise self._gone(f"no answer within {self.timeout:g} s") from None
        except socket.gaierror as error:
            raise self._gone(f"unknown host: {error.strerror}") from None
        except OSError as error:
            raise self._gone((error.strerror or str(error)).lower()) from None
        return self._post(path, body)

    def _exchange(
        self, path: str, body: bytes, headers: dict[str, bytes]
    ) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connected()
        try:
            self._connection.request("POST", path, body, headers)
            response = self._connection.getresponse()
            content = response.read(LARGEST_ANSWER)
        except BaseException:
            self.close()
            raise
        if response.will_close or not response.isclosed():
            self.close()
        return response.status, content

    def _connected(self) -> HTTPConnection:
        server = self.address.server
        context = tls_context(self.address.ca) if server.encrypted else None
        connection = HTTPConnection(server.host, server.port, timeout=self.timeout)
        try:
            connection.connect()
            if context is not None:
                name = self.address.tls_name or server.host
                plain = connection.sock
                connection.sock = context.wrap_socket(plain, server_hostname=name)
        except ConnectionRefusedError:
            raise self._gone("connection refused; is the server running?") from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _gone(self, why: str) -> CommandFailed:
        self.close()
        return CommandFailed(f"{self._where}: {why}", CANNOT_CONNECT)


def tls_context(ca: str) -> ssl.SSLContext:
    """Return what verifies servers, by the authorities in a file or the system's.

    :raises CommandFailed: the file holds no certificates.
    """
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if isinstance(error, FileNotFoundError) else "no PEM"
        raise CommandFailed(f"--ca: {ca}: {reason}", USAGE) from None


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
