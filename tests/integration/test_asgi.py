"""The official clients against a node under uvicorn."""

from importlib.util import find_spec
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from .asgi_server import shared_asgi_server
from .sdk_contract import OPTIONS, SDKContract
from .test_javascript_sdk import JavaScriptContract
from .test_python_sdk import PYTHON_SDK
from .websocket import Refused, WebSocket


class UvicornCase(SDKContract):
    """The contract, with uvicorn in place of the server."""

    loop = "asyncio"

    def serving(self) -> Any:
        if self.loop == "uvloop" and find_spec("uvloop") is None:
            raise SkipTest("uvloop is not installed")
        return shared_asgi_server(f"asgi-{self.loop}", OPTIONS, self.loop)


class JavaScriptTests(UvicornCase, JavaScriptContract, SynchronousTestCase):
    """centrifuge-js over WebSocket, in JSON."""


class JavaScriptProtobufTests(UvicornCase, JavaScriptContract, SynchronousTestCase):
    """centrifuge-js over WebSocket, in Protobuf, on uvloop."""

    encoding, loop = "protobuf", "uvloop"


class HTTPStreamTests(UvicornCase, JavaScriptContract, SynchronousTestCase):
    """centrifuge-js over HTTP streaming, in JSON."""

    transport = "http_stream"


class SSETests(UvicornCase, JavaScriptContract, SynchronousTestCase):
    """centrifuge-js over server-sent events."""

    transport = "sse"


class PythonTests(UvicornCase, SynchronousTestCase):
    """centrifuge-python, in JSON."""

    def sdk_command(self) -> list[str]:
        return PYTHON_SDK


class EndpointTests(SynchronousTestCase):
    """The endpoints, seen without an SDK."""

    def setUp(self) -> None:
        self.server = shared_asgi_server("asgi-asyncio", OPTIONS)

    def test_origin(self) -> None:
        """A page of another origin cannot connect; one of an allowed origin can."""
        with self.assertRaises(Refused) as refused:
            WebSocket(self.server.port, {"Origin": "http://evil.example"})
        self.assertEqual(refused.exception.status, 403)
        WebSocket(self.server.port, {"Origin": "http://localhost:3000"}).close()

    def test_api_key(self) -> None:
        """The API wants its key, before it reads a body."""
        status, _ = self.server.request("POST", "/api/info", b"{}")
        self.assertEqual(status, 401)
        self.assertEqual(self.server.api("info")["nodes"][0]["num_clients"], 0)

    def test_large_body(self) -> None:
        """A body over the limit is refused."""
        status, _ = self.server.request("POST", "/emulation", b"x" * 65537)
        self.assertEqual(status, 413)

    def test_large_message(self) -> None:
        """So is a message, with 1009."""
        socket = WebSocket(self.server.port)
        socket.send(b"x" * 65537)
        self.assertEqual(socket.closing()[0], 1009)

    def test_malformed(self) -> None:
        """What is no command ends in 3501."""
        socket = WebSocket(self.server.port)
        socket.send(b"[]")
        self.assertEqual(socket.closing()[0], 3501)
