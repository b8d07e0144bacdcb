"""The endpoint of emulated commands: methods, statuses, encodings."""

import json
from typing import Any

from centrifugo_tx.protocol.proto import client_pb2
from centrifugo_tx.transports.emulation import EmulationEndpoint
from centrifugo_tx.transports.http_stream import HTTPStream
from centrifugo_tx.transports.sse import SSE
from centrifugo_tx.web.request import StreamHandler
from centrifugo_tx.web.site import Endpoints, HTTPSite

from .streams import CONNECT, GOOD, Answered, StreamTestCase, request

OCTETS = "application/octet-stream"
RPC = '{"id":9,"rpc":{}}'


class EmulationTestCase(StreamTestCase):
    """Has a client on a stream, and another connection beside it."""

    body_limit = 200

    def handler(self) -> StreamHandler:
        return HTTPStream(self.streams)

    def setUp(self) -> None:
        super().setUp()
        endpoint = EmulationEndpoint(self.node, self.streams.cors, self.body_limit)
        endpoints = Endpoints(
            handlers={b"/emulation": endpoint},
            streams={b"/": self.handler(), b"/sse": SSE(self.streams)},
            body_limits={b"/emulation": self.body_limit},
        )
        self.site = HTTPSite(self.clock, endpoints)
        self.client, self.down = self.opened("/", CONNECT)
        self.connect()

    def opened(self, path: str, body: bytes, **headers: str) -> tuple[Any, Any]:
        """Open a stream; return its client and its connection."""
        self.connect()
        self.assertEqual(self.ask("POST", path, body, **headers).status, 200)
        return list(self.node.connections.open)[-1], self.stream

    def received(self, connection: Any) -> bytes:
        """Return the frames since the last call."""
        self.clock.advance(0)
        data: bytes = connection.take()
        return data

    def send_commands(self, data: object = RPC, **changes: Any) -> Answered:
        """Send commands in JSON."""
        given = {"session": self.client.session, "node": self.node.id, "data": data}
        return self.ask("POST", "/emulation", json.dumps({**given, **changes}).encode())


class StatusTests(EmulationTestCase):
    """Responses of the emulation endpoint."""

    def test_accepted(self) -> None:
        """Commands get 204; the replies come in the stream."""
        found = self.send_commands()
        self.assertEqual((found.status, found.headers, found.rest), (204, {}, b""))
        self.assertIn(b'{"id":9,"rpc":{"data":{"pong":1}}}\n', self.received(self.down))

    def test_accepted_anyway(self) -> None:
        """So do unknown sessions, and data that is not a string."""
        self.assertEqual(self.send_commands(session="x").status, 204)
        self.assertEqual(self.send_commands({"id": 9, "rpc": {}}).status, 204)
        self.assertEqual(self.received(self.down), b"")
        self.assertEqual(self.send_commands("nonsense").status, 204)
        self.assertIn(b'"code":3501', self.received(self.down))

    def test_unknown_node(self) -> None:
        """Nodes that are not there get 404, no node at all among them."""
        for name in ("x", ""):
            self.assertEqual(self.send_commands(node=name).status, 404)
        self.assertEqual(self.ask("POST", "/emulation", b"{}").status, 404)
        self.assertEqual(self.ask("POST", "/emulation", b"null").status, 404)

    def test_unreadable(self) -> None:
        """A malformed request gets 400."""
        for body in (b"", b"nonsense", b"[]", b'{"node":5}', b'{"node":"\xff"}'):
            found = self.ask("POST", "/emulation", body)
            self.assertEqual(found.status, 400, body)
        found = self.ask("POST", "/emulation", b"\xff", Content_Type=OCTETS)
        self.assertEqual(found.status, 400)

    def test_body_limit(self) -> None:
        """A body of more bytes than the limit gets 413, by length or by chunks."""
        self.assertEqual(self.ask("POST", "/emulation", b" " * 200).status, 400)
        found = self.ask("POST", "/emulation", b" " * 201)
        self.assertEqual(found.status, 413)
        self.connect()
        chunked = b"c9\r\n%b\r\n0\r\n\r\n" % (b" " * 201)
        found = self.ask("POST", "/emulation", chunked, Transfer_Encoding="chunked")
        self.assertEqual((found.status, found.rest), (413, b""))
        self.assertTrue(self.stream.disconnecting)

    def test_methods(self) -> None:
        """Methods but POST get 405."""
        for method in ("GET", "PUT", "DELETE"):
            found = self.ask(method, "/emulation", Origin=GOOD)
            self.assertEqual(found.status, 405)
            self.assertEqual(found.headers["Access-Control-Allow-Origin"], GOOD)

    def test_preflight(self) -> None:
        """OPTIONS returns the permitted methods and headers."""
        found = self.ask("OPTIONS", "/emulation", Origin=GOOD)
        self.assertEqual(found.status, 204)
        self.assertEqual(found.headers["Access-Control-Max-Age"], "300")
        self.assertEqual(found.headers["Access-Control-Allow-Methods"], "POST, OPTIONS")
        self.assertNotIn("Content-Length", found.headers)

    def test_origin(self) -> None:
        """A page may read the status if its origin passes; all are served."""
        body = json.dumps(
            {"session": self.client.session, "node": self.node.id, "data": RPC}
        ).encode()
        for origin, allowed in ((GOOD, GOOD), ("http://bad.example", None)):
            found = self.ask("POST", "/emulation", body, Origin=origin)
            self.assertEqual(found.status, 204)
            self.assertEqual(found.headers.get("Access-Control-Allow-Origin"), allowed)
            self.assertIn(b'"id":9', self.received(self.down))

    def test_full_node(self) -> None:
        """Commands are taken also when no more clients are."""
        self.limit = 1
        self.setUp()
        self.assertEqual(self.send_commands().status, 204)

    def test_timeout(self) -> None:
        """A node that does not answer makes it 500, after 10 s."""
        self.client.transport.pause()
        body = json.dumps(
            {"session": self.client.session, "node": self.node.id, "data": RPC}
        ).encode()
        self.protocol.dataReceived(request("POST", "/emulation", body))
        self.clock.advance(9)
        self.assertEqual(self.stream.take(), b"")
        self.clock.advance(1)
        self.assertEqual(Answered.of(self.stream.take()).status, 500)


class EncodingTests(EmulationTestCase):
    """How commands are said."""

    def test_ordinary_browser(self) -> None:
        """A request as browsers send it is taken like one of a backend."""
        body = json.dumps(
            {"session": self.client.session, "node": self.node.id, "data": RPC}
        ).encode()
        found = self.ask(
            *("POST", "/emulation", body),
            Connection="keep-alive",
            Content_Type="application/json",
        )
        self.assertEqual(found.status, 204)
        self.assertIn(b'"id":9', self.received(self.down))

    def test_several(self) -> None:
        """One request may hold several commands."""
        self.send_commands(f"{RPC}\n{RPC}\n")
        self.assertEqual(self.received(self.down).count(b'"id":9'), 2)

    def test_pong(self) -> None:
        """Pongs come this way, too."""
        self.clock.advance(25)
        self.assertIn(b"{}\n", self.received(self.down))
        self.assertEqual(self.send_commands("{}").status, 204)
        self.clock.pump([1] * 8)
        self.assertFalse(self.client.closed)
        self.clock.pump([1] * 26)
        self.assertIn(b'"code":3012', self.received(self.down))

    def test_protobuf(self) -> None:
        """In Protobuf the commands have their lengths before them."""
        client, down = self.opened("/", b"\x04\x08\x01\x22\x00", Content_Type=OCTETS)
        self.connect()
        asked = client_pb2.EmulationRequest(
            session=client.session, node=self.node.id, data=b"\x04\x08\x09\x6a\x00"
        )
        body = asked.SerializeToString()
        found = self.ask("POST", "/emulation", body, Content_Type=OCTETS)
        self.assertEqual(found.status, 204)
        (chunk,) = [self.received(down)]
        self.assertIn(b'{"pong":1}', chunk)

    def test_protobuf_envelope(self) -> None:
        """The format of the body is independent of that of the commands."""
        client, down = self.opened("/sse", CONNECT)
        self.connect()
        asked = client_pb2.EmulationRequest(
            session=client.session, node=self.node.id, data=json.dumps(RPC).encode()
        )
        body = asked.SerializeToString()
        found = self.ask("POST", "/emulation", body, Content_Type=OCTETS)
        self.assertEqual(found.status, 204)
        self.assertIn(b'data: {"id":9,"rpc"', self.received(down))

    def test_odd_json(self) -> None:
        """Names in other cases, unknown ones, nulls and what follows are forgiven."""
        body = json.dumps(
            {
                "Session": self.client.session,
                "NODE": self.node.id,
                "data": RPC,
                "more": [1],
            }
        ).encode()
        self.assertEqual(self.ask("POST", "/emulation", body + b" x").status, 204)
        self.assertIn(b'"id":9', self.received(self.down))
