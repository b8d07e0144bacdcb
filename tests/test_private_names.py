"""The private names of dependencies that this server leans on, all in one place.

A release of a dependency that lacks one of them fails here, and not in production.
"""

import ast
import inspect
import logging
from functools import cache
from pathlib import Path
from typing import Any

import txredisapi  # type: ignore[import-untyped]
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflate
from twisted.internet.abstract import FileDescriptor
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import BufferingTLSTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._http2 import H2Connection, H2Stream
from twisted.web.http import HTTPChannel, Request

import centrifugo_tx

from .syntax_trees import syntax_tree

#: The names, by the class that has them itself, by inheritance or in its instances.
PRIVATE: dict[type, tuple[str, ...]] = {
    HTTPChannel: (
        *("_networkProducer", "_HTTPChannel__first_line", "_buffer", "_command"),
        *("_path", "_version", "_dataBuffer", "_handlingRequest", "_savedTimeOut"),
        *("_maybeChooseTransferDecoder", "_respondToBadRequestAndDisconnect"),
        *("_transferDecoder", "_waitingForTransport", "_abortingCall"),
    ),
    Request: ("_disconnected",),
    H2Connection: (
        *("_abortingCall", "_consumerBlocked", "_handleWindowUpdate"),
        *("_outboundStreamQueues", "_requestAborted", "_requestDataReceived"),
        *("_requestDone", "_requestEnded", "_requestReceived"),
        *("_sendPrioritisedData", "_sendingDeferred", "_stillProducing"),
        *("_streamCleanupCallbacks", "_tryToWriteControlData"),
    ),
    H2Stream: ("_conn", "_request"),
    BufferingTLSTransport: ("_aggregator",),
    FileDescriptor: ("_tempDataLen", "_writeDisconnected"),
    WebSocketServerFactory: ("_batched_timer",),
    WebSocketServerProtocol: (
        *("_closeConnection", "_connectionLost", "_connectionMade", "_dataReceived"),
        *("_invalid_payload", "_isMessageCompressed", "_max_message_size_exceeded"),
        *("_onOpen", "_perMessageCompress", "_transport_details", "_wskey"),
    ),
    PerMessageDeflate: ("_decompressor",),
    txredisapi.HiredisProtocol: ("_encode_value", "_reader"),
}

PACKAGE = Path(centrifugo_tx.__file__).parent


@cache
def _source(owner: type) -> str:
    return inspect.getsource(owner)


def has_name(owner: type, name: str) -> bool:
    """Whether a class has *name*, or its code sets it on instances."""
    if hasattr(owner, name):
        return True
    prefix = f"_{owner.__name__}__"
    written = f"__{name.removeprefix(prefix)}" if name.startswith(prefix) else name
    return any(
        f"self.{written}" in _source(cls)
        for cls in inspect.getmro(owner)
        if cls.__module__.partition(".")[0] in ("twisted", "autobahn", "txredisapi")
    )


def foreign_names() -> set[str]:
    """Return the private attributes that our code uses and does not define."""
    used: set[str] = set()
    defined: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if path.name.endswith("_pb2.py"):
            continue
        for node in ast.walk(syntax_tree(path)):
            if isinstance(node, ast.Attribute):
                own = isinstance(node.value, ast.Name) and node.value.id == "self"
                stored = isinstance(node.ctx, ast.Store) and own
                (defined if stored else used).add(node.attr)
            elif isinstance(
                node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            ):
                defined.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                defined.add(node.id)
    return {
        name
        for name in used - defined
        if name.startswith("_") and not name.startswith("__")
    }


class PrivateNameTests(SynchronousTestCase):
    """Dependencies have the private names that are used of them."""

    def test_present(self) -> None:
        """Every name is there."""
        missing = [
            f"{owner.__name__}.{name}"
            for owner, names in PRIVATE.items()
            for name in names
            if not has_name(owner, name)
        ]
        self.assertEqual(missing, [])

    def test_complete(self) -> None:
        """Every private name that is used and not our own is listed."""
        listed = {name for names in PRIVATE.values() for name in names}
        self.assertEqual(foreign_names() - listed, set())

    def test_channel(self) -> None:
        """A channel of HTTP/1.1 sets the names by which a port is handed over."""
        channel: Any = HTTPChannel()
        channel.makeConnection(StringTransport())
        channel.dataReceived(b"GET / HTTP/1.1\r\n")
        for name in (*PRIVATE[HTTPChannel], "requests", "length", "line_mode"):
            if name != "_waitingForTransport":
                self.assertTrue(hasattr(channel, name), name)
        self.assertTrue(hasattr(channel._networkProducer, "unregisterProducer"))
        channel.setTimeout(None)

    def test_transport(self) -> None:
        """A transport starts with nothing to send."""
        descriptor = FileDescriptor(reactor=object())  # type: ignore[arg-type]
        self.assertEqual((descriptor.dataBuffer, descriptor._tempDataLen), (b"", 0))
        self.assertFalse(descriptor._writeDisconnected)

    def test_logger_of_grpc(self) -> None:
        """gRPC logs what its event loop reports under the name that is filtered."""
        from grpc._cython import cygrpc  # type: ignore[import-untyped]

        self.assertEqual(cygrpc.__name__, "grpc._cython.cygrpc")
        self.assertIn("grpc._cython.cygrpc", logging.root.manager.loggerDict)
