"""Backends that decide about events: in Flask, in FastAPI, and one that dies."""

import json
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from typing import Any
from unittest import SkipTest

from attrs import define, field

__all__ = ["Backend", "FastAPIBackend", "FlaskBackend", "KillableBackend", "Request"]

#: Seconds in which a backend has to start, and to stop.
PATIENCE = 60.0

#: A response for each event; a test changes what it needs.
ANSWERS: dict[str, Any] = {
    "connect": {
        "result": {
            "user": "anna",
            "data": {"hello": 1},
            "meta": {"plan": "pro"},
            "channels": ["news"],
        }
    },
    "refresh": {"result": {"expired": True}},
    "subscribe": {"result": {"data": {"topic": "t"}}},
    "sub_refresh": {"result": {"expired": True}},
    "publish": {"result": {"data": {"checked": True}}},
    "rpc": {"result": {"data": {"answer": 42}}},
    "map_publish": {"result": {}},
    "map_remove": {"result": {}},
    "shared_poll_refresh": {"result": {"items": []}},
}


@define
class Request:
    """A request as the backend saw it; names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the event."""
        return json.loads(self.body)


@define(eq=False)
class Backend:
    """Keeps requests, and responds by the last part of the path.

    An answer is JSON, a status, or a pair of both.
    """

    answers: dict[str, Any] = field(factory=lambda: dict(ANSWERS))
    requests: list[Request] = field(factory=list)
    port: int = field(default=0, init=False)

    def url(self, event: str) -> str:
        """Return the endpoint for an event."""
        return f"http://127.0.0.1:{self.port}/{event}"

    def respond(
        self, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        """Keep a request; return status and body of the response."""
        self.requests.append(Request(path, headers, body))
        answer = self.answers[path.rpartition("/")[2]]
        if isinstance(answer, int):
            return answer, b""
        if isinstance(answer, bytes):
            return 200, answer
        return 200, json.dumps(answer).encode()

    def of(self, event: str) -> list[Request]:
        """Return the requests for an event."""
        return [each for each in self.requests if each.path == f"/{event}"]

    def close(self) -> None:
        """Stop serving."""


class FlaskBackend(Backend):
    """A Flask application on werkzeug's server, in a thread of the tests."""

    def __init__(self) -> None:
        super().__init__()
        try:
            import flask
            from werkzeug.serving import make_server
        except ImportError:
            raise SkipTest("Flask is not installed") from None
        app = flask.Flask(__name__)

        @app.post("/<event>")
        def answer(event: str) -> Any:
            request = flask.request
            given = {name.lower(): value for name, value in request.headers}
            status, body = self.respond(request.path, given, request.get_data())
            return flask.Response(body, status, content_type="application/json")

        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


class FastAPIBackend(Backend):
    """A FastAPI application on uvicorn, in a thread of the tests."""

    def __init__(self) -> None:
        super().__init__()
        try:
            import uvicorn
            from fastapi import FastAPI, Response
            from starlette.requests import Request as Asked
        except ImportError:
            raise SkipTest("FastAPI and uvicorn are not installed") from None
        app = FastAPI()

        @app.post("/{event}")
        async def answer(event: str, request: Asked) -> Any:
            given = dict(request.headers)
            body = await request.body()
            status, content = self.respond(request.url.path, given, body)
            return Response(content, status, media_type="application/json")

        # The annotation is a local name, which FastAPI cannot look up as a text.
        assert answer.__annotations__["request"] is Asked
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(app, log_level="error", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        self._socket.close()


_SERVE = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"result": {"data": event.get("data")}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass

ThreadingHTTPServer.allow_reuse_address = True
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@define(eq=False)
class KillableBackend:
    """A process that answers each call with the data of its event."""

    port: int
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._process = subprocess.Popen([sys.executable, "-c", _SERVE, str(self.port)])
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the backend did not start")
            time.sleep(0.02)

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None
