"""A test case that runs a command in process, against scripted responses."""

import json
import os
import socket
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from http.client import HTTPConnection
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.cli import main
from centrifugo_tx.console import api_client

ADDRESS = ("--address", "server:8000", "--key", "k")


class Terminal(StringIO):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        """Return true."""
        return True


def http(status: int, body: object = None, head: str = "") -> bytes:
    """Return an answer of HTTP; *body* is bytes, or becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    length = f"Content-Length: {len(content)}\r\n"
    return f"HTTP/1.1 {status} x\r\n{length}{head}\r\n".encode() + content


class CommandCase(SynchronousTestCase):
    """Something that runs commands which call a server."""

    def setUp(self) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CENTRIFUGO_")}
        kept.pop("NO_COLOR", None)
        self.patch(os, "environ", kept)
        #: The server's responses to successive connections.
        self.answers: list[bytes | Exception] = []
        #: Host and port of each connection.
        self.connected: list[tuple[str, int]] = []
        self._peers: list[socket.socket] = []
        self.patch(api_client, "HTTPConnection", self._connection)

    def tearDown(self) -> None:
        for peer in self._peers:
            peer.close()

    def _connection(self, host: str, port: int, timeout: float) -> HTTPConnection:
        """Return a connection of the standard library to a scripted peer."""
        case = self

        class Connection(HTTPConnection):
            def connect(self) -> None:
                case.connected.append((self.host, self.port))
                answer = case.answers.pop(0)
                if isinstance(answer, Exception):
                    raise answer
                self.sock, peer = socket.socketpair()
                self.sock.settimeout(timeout)
                peer.sendall(answer)
                case._peers.append(peer)

        return Connection(host, port, timeout=timeout)

    def sent(self) -> tuple[str, dict[str, str], Any]:
        """Return the path, the headers and the JSON of the latest request."""
        head, _, body = self._peers[-1].recv(65536).decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return first.split(" ")[1], headers, json.loads(body)

    def command(
        self, *arguments: str, code: int = 0, out: StringIO | None = None
    ) -> str:
        """Run a command and return its standard output."""
        printed, complained = out or StringIO(), StringIO()
        with redirect_stdout(printed), redirect_stderr(complained):
            try:
                ended = main(arguments)
            except SystemExit as error:
                ended = int(str(error.code))
        self.complaints = complained.getvalue()
        self.assertEqual(ended, code, printed.getvalue() + self.complaints)
        return printed.getvalue()

    def call(self, *arguments: str, result: object, code: int = 0) -> str:
        """Run a command whose call has a result."""
        self.answers = [http(200, {"result": result})]
        return self.command(*arguments, *ADDRESS, code=code)

    def write(self, tree: Mapping[str, object]) -> str:
        """Write a configuration file and return its path."""
        path = Path(self.mktemp() + ".json")
        path.write_text(json.dumps(tree))
        return str(path)
