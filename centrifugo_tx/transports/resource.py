"""Resources that serve clients of a node in a Twisted Web application."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ..core import Node
from ..options import Answer
from .cors import CORS
from .emulation import EmulationEndpoint
from .http_stream import HTTPStream
from .protocol_switch import upgrade_connection
from .response_stream import BODY_LIMIT, StreamFactory
from .settings import TransportSettings
from .sse import SSE
from .uni_http_stream import UniHTTPStream, UniHTTPStreamOptions
from .uni_sse import UniSSE, UniSSEOptions
from .uni_websocket import UniWebSocketFactory, UniWebSocketOptions
from .websocket import WebSocketFactory, WebSocketOptions

__all__ = [
    "AnyNode",
    "StreamResource",
    "WebSocketResource",
    "emulation_resource",
    "http_stream_resource",
    "sse_resource",
    "uni_http_stream_resource",
    "uni_sse_resource",
    "uni_websocket_resource",
    "websocket_resource",
]

#: Returns a response, now or later, or None for a stream that it has opened.
Endpoint = Callable[[Any], "Answer | Deferred[Answer] | Deferred[Answer | None] | None"]


class AnyNode(Protocol):
    """A node, in either of its forms for applications."""

    @property
    def core(self) -> object:
        """The node's machinery, which is not a public interface."""


class WebSocketResource(Resource):  # type: ignore[misc]  # untyped
    """Makes requests for a WebSocket clients; works with a stock ``Site``."""

    isLeaf = True

    def __init__(self, factory: WebSocketFactory) -> None:
        super().__init__()
        self._factory = factory

    def render(self, request: Any) -> Any:
        """Switch the connection to WebSocket, or answer 426."""
        upgrade = request.getHeader(b"upgrade") or b""
        channel = request.channel
        can_upgrade = isinstance(channel, HTTPChannel) and request.method == b"GET"
        if not can_upgrade or b"websocket" not in upgrade.lower():
            request.setResponseCode(426, b"Upgrade Required")
            request.setHeader(b"upgrade", b"websocket")
            return b""
        channel.setRawMode()
        upgrade_connection(channel, request, self._factory)
        return NOT_DONE_YET


class StreamResource(Resource):  # type: ignore[misc]  # untyped
    """Passes requests to a streaming endpoint; works with a stock ``Site``."""

    isLeaf = True

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def render(self, request: Any) -> Any:
        """Open a stream, or send the response of the endpoint."""
        found: Any = self._endpoint(request)
        if isinstance(found, Answer):
            _answer(found, request)
        elif found is not None:
            found.addCallback(_answer, request).addErrback(request.processingFailed)
        return NOT_DONE_YET


def _answer(answer: Answer | None, request: Any) -> None:
    if answer is None or request.channel is None:
        return
    request.setResponseCode(answer.status)
    request.defaultContentType = None
    for name, value in answer.headers:
        request.setHeader(name, value)
    if answer.content_type:
        request.setHeader(b"content-type", answer.content_type.encode())
    if answer.status != 204:
        request.setHeader(b"content-length", b"%d" % len(answer.body))
    request.write(b"" if request.method == b"HEAD" else answer.body)
    request.finish()


def websocket_resource(
    node: AnyNode,
    allowed_origins: Sequence[str] = (),
    options: WebSocketOptions | None = None,
    *,
    headers: Collection[str] = (),
) -> Resource:
    """Return a resource whose clients belong to *node*.

    :param allowed_origins: globs of the origins whose pages may connect; without any,
        only clients outside browsers can.
    :param headers: names of the request headers that the policy reads in
        ``client.transport.info.headers``, such as ``cookie``.
    :raises ValueError: an origin is not a glob.
    """
    settings = _settings(node, allowed_origins, headers)
    return WebSocketResource(WebSocketFactory(settings, options or WebSocketOptions()))


def http_stream_resource(
    node: AnyNode,
    allowed_origins: Sequence[str] = (),
    body_limit: int = BODY_LIMIT,
    *,
    headers: Collection[str] = (),
) -> Resource:
    """Return a resource that streams lines; commands go to `emulation_resource`.

    :param allowed_origins: globs of the origins whose pages may read the responses.
    :param body_limit: bytes that the body of a request may have.
    :raises ValueError: an origin is not a glob.
    """
    return StreamResource(
        HTTPStream(_streams(node, allowed_origins, headers), body_limit)
    )


def sse_resource(
    node: AnyNode,
    allowed_origins: Sequence[str] = (),
    body_limit: int = BODY_LIMIT,
    *,
    headers: Collection[str] = (),
) -> Resource:
    """Return a resource that streams server-sent events; else as above."""
    return StreamResource(SSE(_streams(node, allowed_origins, headers), body_limit))


def emulation_resource(
    node: AnyNode, allowed_origins: Sequence[str] = (), body_limit: int = BODY_LIMIT
) -> Resource:
    """Return a resource for the commands of streaming clients of all nodes."""
    settings = _settings(node, allowed_origins)
    endpoint = EmulationEndpoint(settings.node, CORS(settings.origins), body_limit)
    return StreamResource(endpoint)


def uni_websocket_resource(
    node: AnyNode,
    allowed_origins: Sequence[str] = (),
    options: UniWebSocketOptions | None = None,
    *,
    headers: Collection[str] = (),
) -> Resource:
    """Return a resource whose unidirectional clients belong to *node*."""
    settings = _settings(node, allowed_origins, headers)
    return WebSocketResource(
        UniWebSocketFactory(settings, options or UniWebSocketOptions())
    )


def uni_sse_resource(
    node: AnyNode,
    allowed_origins: Sequence[str] = (),
    options: UniSSEOptions | None = None,
    *,
    headers: Collection[str] = (),
) -> Resource:
    """Return a resource that streams events to unidirectional clients of *node*.

    :param allowed_origins: globs of the origins whose pages may read the responses.
    :raises ValueError: an origin is not a glob.
    """
    endpoint = UniSSE(
        _streams(node, allowed_origins, headers), options or UniSSEOptions()
    )
    return StreamResource(endpoint)


def uni_http_stream_resource(
    node: AnyNode,
    allowed_origins: Sequence[str] = (),
    options: UniHTTPStreamOptions | None = None,
    *,
    headers: Collection[str] = (),
) -> Resource:
    """Return a resource that streams lines to unidirectional clients of *node*."""
    streams = _streams(node, allowed_origins, headers)
    return StreamResource(UniHTTPStream(streams, options or UniHTTPStreamOptions()))


def _settings(
    node: AnyNode, allowed_origins: Sequence[str], headers: Collection[str] = ()
) -> TransportSettings:
    return TransportSettings.unlimited(cast(Node, node.core), allowed_origins, headers)


def _streams(
    node: AnyNode, allowed_origins: Sequence[str], headers: Collection[str]
) -> StreamFactory:
    return StreamFactory(_settings(node, allowed_origins, headers))
