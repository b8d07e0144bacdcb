"""Clients that receive frames in the body of a streaming response.

Their commands arrive in separate requests (client protocol, "HTTP streaming",
"Server-sent events" and "Emulation").
"""

from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from ..bounded_log import BoundedLog
from ..core import Client, Node
from ..interfaces import IEmulatedTransport
from ..options import Answer, TransportInfo
from ..protocol.codes import SLOW, WRITE_ERROR, Disconnect
from ..protocol.messages import Push
from ..protocol.wire import Wire
from .connection_limit import ConnectionLimiter
from .cors import CORS, Headers
from .frame_writer import FlushBatch, FrameWriter
from .response_body import ResponseBody, body_of
from .settings import TransportSettings
from .websocket import WITHOUT_PUSH

__all__ = ["BODY_LIMIT", "StreamFactory", "StreamTransport", "read_body"]

#: Bytes of the largest request body, if 0 is configured.
BODY_LIMIT = 65536

#: No proxy may cache, buffer or change the response.
UNCACHED: Headers = (
    (b"X-Accel-Buffering", b"no"),
    (
        b"Cache-Control",
        b"private, no-cache, no-store, must-revalidate, max-age=0",
    ),
    (b"Pragma", b"no-cache"),
    (b"Expire", b"0"),
)


@implementer(IEmulatedTransport)
@define(eq=False)
class StreamTransport(FrameWriter):
    """One client's streaming response.

    Nothing is read from it, so `pause` cannot pause reading.  It sets ``busy`` instead,
    a Deferred for which other requests of this client wait.
    """

    wire: Wire
    info: TransportInfo
    _body: ResponseBody | None
    client: Client | None = field(default=None, init=False)
    busy: "Deferred[None] | None" = field(default=None, init=False)

    @property
    def peer_address(self) -> str:
        """Return the address of the other end, empty once it is gone."""
        return "" if self._body is None else self._body.peer_address

    @property
    def ended(self) -> bool:
        """Whether the response has ended."""
        return self._stream is None

    def begin(self, headers: Headers, first: bytes = b"") -> None:
        """Send the head, and *first*."""
        assert self._body is not None
        self._body.start(
            (*UNCACHED, *headers), self._flush_batch.clock.seconds(), first
        )

    def attach(self, node: Node) -> Client:
        """Connect a new client of *node* to this response."""
        assert self._body is not None
        self._body.closed().addBoth(self._lost)
        self.open()
        client = node.connect(self)
        if self.ended:
            client.transport_lost()
        else:
            self.client = client
        return client

    def queue_overflowed(self) -> None:
        """Close a client that reads too slowly."""
        if self.client is not None:
            self.client.close(SLOW)

    def write_timed_out(self) -> None:
        """Close a client that has read nothing for too long."""
        if self.client is not None:
            self.client.close(WRITE_ERROR)

    def close(self, disconnect: Disconnect) -> None:
        """End the body with a disconnect push, or abort the connection."""
        body, self._body = self._body, None
        if body is None or self.ended:
            return
        if disconnect.code in WITHOUT_PUSH:
            self.end(drop=True)
            body.abort()
        else:
            frame = self.wire.push(Push(disconnect=disconnect))
            self.write(frame)
            if self.client is not None:
                self.client.count_disconnect_push(len(frame))
            self.end(drop=False)
            body.finish()

    def pause(self) -> None:
        """Make other requests of this client wait."""
        if self.busy is None and not self.ended:
            self.busy = Deferred()

    def resume(self) -> None:
        """Let the waiting requests continue."""
        busy, self.busy = self.busy, None
        if busy is not None:
            busy.callback(None)

    def _lost(self, result: object) -> None:
        """Clean up when the response has ended or the peer has disconnected."""
        self.end(drop=True)
        self._body = None
        client, self.client = self.client, None
        if client is not None:
            client.transport_lost()
        self.resume()


@define(eq=False)
class StreamFactory:
    """Makes clients of a node out of HTTP requests; the responses carry frames."""

    _settings: TransportSettings
    node: Node = field(init=False)
    limiter: ConnectionLimiter = field(init=False)
    flush_batch: FlushBatch = field(init=False)
    cors: CORS = field(init=False)
    log: BoundedLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = self._settings
        self.node, self.limiter = settings.node, settings.limiter
        self.flush_batch = settings.flush_batch()
        self.cors = CORS(settings.origins)
        self.log = BoundedLog(Logger(), self.node.clock)

    @property
    def limit(self) -> int:
        """Return how many bytes may wait for a slow client."""
        return self._settings.queue_max_size

    def transport(
        self, request: Any, wire: Wire, info: TransportInfo
    ) -> StreamTransport:
        """Return the transport of a response that has not started yet."""
        body = body_of(request)
        return StreamTransport(body, self.flush_batch, self.limit, wire, info, body)

    def open(
        self,
        request: Any,
        wire: Wire,
        info: TransportInfo,
        headers: Headers = (),
        first: bytes = b"",
    ) -> Client:
        """Start the response, and return its client.

        :param headers: headers beside those that all streams have.
        :param first: the first bytes of the body.
        """
        transport = self.transport(request, wire, info)
        self.begin(transport, request, headers, first)
        return transport.attach(self.node)

    def begin(
        self, transport: StreamTransport, request: Any, headers: Headers, first: bytes
    ) -> None:
        """Start the response of *transport*."""
        transport.begin((*self.cors.headers(request), *headers), first)
        slim = getattr(request, "slim", None)
        if slim is not None:
            slim()

    def info(self, request: Any, plain: TransportInfo) -> TransportInfo:
        """Return *plain* with the headers of *request* that the policy reads."""
        headers = {}
        for name in self._settings.kept_headers:
            values = request.requestHeaders.getRawHeaders(name.encode())
            if values is not None:
                headers[name] = tuple(each.decode(errors="replace") for each in values)
        return msgspec.structs.replace(plain, headers=headers) if headers else plain

    def post_body(self, request: Any, limit: int) -> bytes | Answer:
        """Return the body of a POST request, or the answer that refuses the request.

        :param limit: bytes that the body may have; 0 means `BODY_LIMIT`.
        """
        if (refusal := self.limiter.refusal()) is not None:
            return refusal
        if request.method != b"POST":
            return self.refuse(request, 405)
        body = read_body(request, limit)
        return self.refuse(request, 413) if body is None else body

    def sse_argument(self, request: Any, limit: int) -> bytes | Answer:
        """Return the commands of an SSE request, or the answer that refuses it.

        They are the parameter ``cf_connect`` of a GET request, empty without one, or
        the body of a POST request.

        :param limit: bytes that the body may have; 0 means `BODY_LIMIT`.
        """
        if request.method != b"GET":
            return self.post_body(request, limit)
        if (refusal := self.limiter.refusal()) is not None:
            return refusal
        argument: bytes = request.args.get(b"cf_connect", (b"",))[0]
        return argument

    def refuse(self, request: Any, status: int) -> Answer:
        """Return the response that refuses *request* with *status*."""
        if status == 413:
            path: bytes = request.uri.partition(b"?")[0]
            self.log.info("request body too large", path=path.decode(errors="replace"))
        return Answer(status, headers=self.cors.headers(request))


def read_body(request: Any, limit: int) -> bytes | None:
    """Return the body of *request*; None if it is longer than *limit* bytes.

    :param limit: 0 means `BODY_LIMIT`.
    """
    body: bytes = request.content.read()
    return body if len(body) <= (limit or BODY_LIMIT) else None
