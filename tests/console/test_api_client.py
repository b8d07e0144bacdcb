"""The message and the exit code of a command whose call fails."""

import socket
import ssl

from .command_case import ADDRESS, CommandCase, http

PUBLISH = ("publish", "news", "1")


class FailureTests(CommandCase):
    """One line on standard error, and a code that says where the fault is."""

    def failing(self, answer: "bytes | Exception", code: int, *words: str) -> None:
        """Expect a line with all *words*."""
        self.answers = [answer]
        self.assertEqual(self.command(*PUBLISH, *ADDRESS, code=code), "")
        self.assertEqual(self.complaints.count("\n"), 1, self.complaints)
        for word in words:
            self.assertIn(word, self.complaints)

    def test_api_error(self) -> None:
        """The server answers an error: 1."""
        error = {"code": 102, "message": "unknown channel"}
        self.failing(http(200, {"error": error}), 1, "error 102: unknown channel")

    def test_transport_error(self) -> None:
        """An error as an HTTP status is the same."""
        error = {"code": 102, "message": "unknown channel"}
        self.failing(http(404, error), 1, "error 102: unknown channel")

    def test_malformed(self) -> None:
        """The server does not understand the request: 1."""
        self.failing(http(400, b"Bad Request\n"), 1, "malformed (HTTP 400)")

    def test_no_connection(self) -> None:
        """Nobody there: 3."""
        for error, words in (
            (ConnectionRefusedError(), "connection refused; is the server running?"),
            (TimeoutError(), "no answer within 10 s"),
            (socket.gaierror(-2, "Name not known"), "unknown host: Name not known"),
            (OSError(113, "No route to host"), "no route to host"),
            (ssl.SSLError(1, "x"), "TLS failed"),
        ):
            self.failing(error, 3, "http://server:8000/api: ", words)
        self.assertEqual(self.connected, [("server", 8000)] * 5)

    def test_closed(self) -> None:
        """The connection ends without an answer: 3."""
        self.failing(ConnectionResetError(), 3, "the server closed the connection")

    def test_key(self) -> None:
        """A wrong key: 4; a missing one is named."""
        self.failing(http(401, b""), 4, "did not accept this key (HTTP 401)")
        self.answers = [http(401, b"")]
        self.command(*PUBLISH, "--address", "server:8000", code=4)
        self.assertIn("the server wants a key", self.complaints)

    def test_foreign(self) -> None:
        """Something else is there: 5."""
        self.failing(http(404, b"404 page not found"), 5, "not found (HTTP 404)")
        self.failing(http(200, b"<html>"), 5, "HTTP 200, which is no answer of this")
        self.failing(http(200, [1]), 5, "which is no answer")
        self.failing(http(502, b""), 5, "HTTP 502")
        self.failing(b"SSH-2.0-x\r\n", 5, "not HTTP; perhaps this port wants https://")

    def test_authorities(self) -> None:
        """An invalid file of authorities: 2."""
        arguments = ("--address", "https://server", "--key", "k", "--ca", "/nowhere")
        self.command(*PUBLISH, *arguments, code=2)
        self.assertIn("--ca: /nowhere: No such file or directory", self.complaints)
        self.assertEqual(self.connected, [])
