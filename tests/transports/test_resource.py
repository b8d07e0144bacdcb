"""Clients of a node in any Twisted Web application."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from centrifugo_tx.core import Client
from centrifugo_tx.errors import ReplyError
from centrifugo_tx.options import Admission, NodeOptions, SubscribeOptions
from centrifugo_tx.protocol.codes import FORCE_DISCONNECT, TOKEN_EXPIRED
from centrifugo_tx.transports import (
    emulation_resource,
    http_stream_resource,
    sse_resource,
    uni_http_stream_resource,
    uni_sse_resource,
    uni_websocket_resource,
    websocket_resource,
)
from centrifugo_tx.transports.uni_http_stream import UniHTTPStreamOptions
from centrifugo_tx.transports.uni_response_stream import (
    CodeToResponse,
    CodeToResponseTransforms,
    ResponseTarget,
)

from ..integration.websocket import frame
from ..support import World, unframed
from .streams import Answered, chunks, request
from .websocket_stream import Stream, handshake

GOOD = "http://good.example"


class ResourceTestCase(SynchronousTestCase):
    """Has a stock site with one resource, ``/``."""

    def setUp(self) -> None:
        self.world = World()
        subs = {"news": SubscribeOptions()}
        self.world.policy.admission = Admission(user="u", subs=subs)

    def serve(self, resource: Resource) -> None:
        """Put *resource* on a site, and connect to it."""
        site = Site(resource, reactor=self.world.clock)
        site.log = lambda request: None
        self.stream = Stream()
        self.stream.protocol = site.buildProtocol(None)
        self.stream.protocol.makeConnection(self.stream)

    def ask(self, data: bytes) -> bytes:
        """Send bytes; return the response."""
        self.stream.protocol.dataReceived(data)
        self.world.clock.advance(0)
        return self.stream.take()


class WebSocketResourceTests(ResourceTestCase):
    """WebSockets in both directions, and in one."""

    def test_bidirectional(self) -> None:
        """A client sends commands."""
        self.serve(websocket_resource(self.world.node))
        self.assertIn(b" 101 ", self.ask(handshake()))
        (reply,) = unframed(self.ask(frame(b'{"id":1,"connect":{}}')))
        self.assertEqual(json.loads(reply)["id"], 1)

    def test_unidirectional(self) -> None:
        """A client sends its connect request."""
        self.serve(uni_websocket_resource(self.world.node))
        self.assertIn(b" 101 ", self.ask(handshake()))
        (push,) = unframed(self.ask(frame(b"{}")))
        self.assertIn("news", json.loads(push)["connect"]["subs"])

    def test_plain(self) -> None:
        """A request without an upgrade gets 426."""
        for resource in (websocket_resource, uni_websocket_resource):
            self.serve(resource(self.world.node))
            self.assertIn(b" 426 ", self.ask(request("GET", "/")))

    def test_origins(self) -> None:
        """Pages that may not connect get 403."""
        for resource in (websocket_resource, uni_websocket_resource):
            for origin, status in ((GOOD, b" 101 "), ("http://bad.example", b" 403 ")):
                self.serve(resource(self.world.node, [GOOD]))
                self.assertIn(status, self.ask(handshake(Origin=origin)))


class SettingTests(ResourceTestCase):
    """What a resource takes from its arguments and from the node."""

    def last_client(self) -> Client:
        """Return the client that has connected last."""
        return list(self.world.node.connections.open)[-1]

    def test_headers(self) -> None:
        """The policy reads the headers that the application names, and no others."""
        self.serve(websocket_resource(self.world.node, headers=["Cookie"]))
        self.ask(handshake(Cookie="a=b", Accept="c"))
        info = self.last_client().transport.info
        self.assertEqual(info.headers, {"cookie": ("a=b",)})
        self.serve(uni_sse_resource(self.world.node, headers=["cookie"]))
        self.ask(request("GET", "/", b"", "1.1", Cookie="a=b"))
        info = self.last_client().transport.info
        self.assertEqual(info.headers, {"cookie": ("a=b",)})

    def test_queue(self) -> None:
        """As much may wait for a slow client as the node's options say."""
        self.world = World(NodeOptions(queue_max_size=1000))
        self.serve(websocket_resource(self.world.node))
        self.ask(handshake())
        transport: Any = self.last_client().transport
        self.assertEqual(transport.limit, 1000)


class StreamResourceTests(ResourceTestCase):
    """Responses that do not end."""

    def answered(self, method: str, body: bytes = b"", **headers: str) -> Answered:
        """Return the answer to a request."""
        data = self.ask(request(method, "/", body, "1.1", **headers))
        answer = Answered.of(data)
        answer.headers.pop("Server", None)
        return answer

    def test_events(self) -> None:
        """A page is sent events until the server ends the stream."""
        self.serve(uni_sse_resource(self.world.node, [GOOD]))
        found = self.answered("GET", Origin=GOOD)
        self.assertEqual(found.status, 200)
        self.assertEqual(found.headers["Access-Control-Allow-Origin"], GOOD)
        first, event = chunks(found.rest)
        self.assertEqual(first, b"\r\n")
        self.assertIn(b'data: {"connect":', event)
        self.world.publish("news", 1)
        (client,) = self.world.node.connections.open
        client.close(FORCE_DISCONNECT)
        news, last = chunks(self.ask(b""))
        self.assertIn(b'data: {"channel":"news"', news)
        self.assertIn(b'data: {"disconnect":{"code":3503', news)
        self.assertEqual(last, b"")
        self.assertEqual(len(self.world.node.connections.open), 0)

    def test_lines(self) -> None:
        """Or lines."""
        self.serve(uni_http_stream_resource(self.world.node))
        found = self.answered("POST", b"{}")
        self.assertIn(b'{"connect":', chunks(found.rest)[0])
        self.stream.lose(self.stream.protocol)
        self.assertEqual(len(self.world.node.connections.open), 0)

    def test_both_directions(self) -> None:
        """Clients that have more to say do so beside their stream."""
        for resource in (http_stream_resource, sse_resource):
            self.serve(resource(self.world.node))
            found = self.answered("POST", b'{"id":1,"connect":{}}')
            self.assertIn(b'{"id":1,"connect":', chunks(found.rest)[-1])
            down, (client,) = self.stream, list(self.world.node.connections.open)
            self.serve(emulation_resource(self.world.node, [GOOD]))
            asked = {"session": client.session, "node": self.world.node.id}
            body = json.dumps({**asked, "data": '{"id":2,"rpc":{}}'}).encode()
            found = self.answered("POST", body, Origin=GOOD)
            self.assertEqual((found.status, found.rest), (204, b""))
            self.assertEqual(found.headers["Access-Control-Allow-Origin"], GOOD)
            self.assertIn(b'"id":2', down.take())
            client.close(FORCE_DISCONNECT)

    def test_body_limit(self) -> None:
        """A body of more bytes than allowed gets 413."""
        for resource in (http_stream_resource, sse_resource, emulation_resource):
            self.serve(resource(self.world.node, (), 10))
            self.assertEqual(self.answered("POST", b"x" * 11).status, 413)

    def test_statuses(self) -> None:
        """A request that opens no stream gets a response."""
        self.serve(uni_http_stream_resource(self.world.node))
        for method, body, status in (
            ("POST", b"x", 400),
            ("GET", b"", 405),
            ("OPTIONS", b"", 204),
        ):
            found = self.answered(method, body)
            self.assertEqual((found.status, found.rest), (status, b""))

    def test_refusals(self) -> None:
        """The outcome of connect may decide, whenever it comes."""
        target = ResponseTarget(401, "expired")
        refusals = CodeToResponseTransforms(True, (CodeToResponse(109, target),))
        options = UniHTTPStreamOptions(connect_code_to_http_response=refusals)
        self.serve(uni_http_stream_resource(self.world.node, (), options))
        self.world.policy.admission = ReplyError(TOKEN_EXPIRED)
        found = self.answered("POST", b"{}")
        self.assertEqual((found.status, found.rest), (401, b"expired"))
        answer: Deferred[Admission] = Deferred()
        self.world.policy.admission = answer
        self.assertEqual(self.ask(request("POST", "/", b"{}")), b"")
        answer.errback(ReplyError(TOKEN_EXPIRED))
        self.assertIn(b" 401 ", self.ask(b""))
        accepted: Deferred[Admission] = Deferred()
        self.world.policy.admission = accepted
        self.assertEqual(self.ask(request("POST", "/", b"{}")), b"")
        accepted.callback(Admission())
        self.assertIn(b" 200 ", self.ask(b""))
