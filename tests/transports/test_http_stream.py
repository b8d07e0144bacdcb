"""The endpoint of HTTP streaming: methods, statuses, encodings."""

from centrifugo_tx.errors import ReplyError
from centrifugo_tx.protocol.codes import TOKEN_EXPIRED
from centrifugo_tx.protocol.proto import client_pb2
from centrifugo_tx.protocol.wire import http_stream_json, http_stream_protobuf
from centrifugo_tx.transports.http_stream import HTTPStream
from centrifugo_tx.web.request import StreamHandler

from .streams import CONNECT, GOOD, StreamTestCase, chunks

OCTETS = "application/octet-stream"
#: `CONNECT` in Protobuf, after its length.
BINARY_CONNECT = b"\x04\x08\x01\x22\x00"


class HTTPStreamTestCase(StreamTestCase):
    """Has the endpoint."""

    def handler(self) -> StreamHandler:
        return HTTPStream(self.streams, self.body_limit)


class StatusTests(HTTPStreamTestCase):
    """Which requests open a stream."""

    def test_preflight(self) -> None:
        """OPTIONS returns the permitted methods and headers."""
        found = self.ask(
            "OPTIONS", "/", Origin=GOOD, Access_Control_Request_Headers="content-type"
        )
        self.assertEqual((found.status, found.rest), (204, b""))
        self.assertEqual(
            found.headers,
            {
                "Access-Control-Allow-Origin": GOOD,
                "Access-Control-Allow-Credentials": "true",
                "Access-Control-Allow-Headers": "content-type",
                "Access-Control-Max-Age": "300",
                "Access-Control-Allow-Methods": "POST, OPTIONS",
            },
        )

    def test_methods(self) -> None:
        """Methods but POST get 405."""
        for method in ("GET", "PUT", "DELETE", "HEAD"):
            found = self.ask(method, "/", Origin=GOOD)
            self.assertEqual(found.status, 405, method)
            self.assertEqual(found.headers["Access-Control-Allow-Origin"], GOOD)
            self.assertEqual(list(self.node.connections.open), [])

    def test_body_limit(self) -> None:
        """A body of more bytes than the limit gets 413, also in chunks."""
        body = CONNECT + b" " * (100 - len(CONNECT))
        self.assertEqual(self.ask("POST", "/", body).status, 200)
        self.connect()
        found = self.ask("POST", "/", body + b" ", Origin=GOOD)
        self.assertEqual(found.status, 413)
        self.assertEqual(found.headers["Access-Control-Allow-Origin"], GOOD)
        chunked = b"65\r\n%b \r\n0\r\n\r\n" % body
        found = self.ask("POST", "/", chunked, Transfer_Encoding="chunked")
        self.assertEqual(found.status, 413)

    def test_default_limit(self) -> None:
        """A limit of 0 means 65536 bytes."""
        self.body_limit = 0
        self.setUp()
        body = CONNECT + b" " * (65536 - len(CONNECT))
        self.assertEqual(self.ask("POST", "/", body).status, 200)
        self.connect()
        self.assertEqual(self.ask("POST", "/", body + b" ").status, 413)

    def test_full_node(self) -> None:
        """A full node answers 503, but preflights as ever."""
        self.limit = 1
        self.setUp()
        self.ask("POST", "/", CONNECT)
        self.connect()
        self.assertEqual(self.ask("POST", "/", CONNECT).status, 503)
        self.assertEqual(self.ask("OPTIONS", "/").status, 204)


class JSONTests(HTTPStreamTestCase):
    """Streams in JSON."""

    def test_connect(self) -> None:
        """The commands in the body are answered in the stream, a line each."""
        found = self.ask("POST", "/", CONNECT + b'\n{"id":2,"rpc":{}}')
        self.assertEqual(found.status, 200)
        self.assertEqual(found.headers["Content-Type"], "text/plain; charset=utf-8")
        (chunk,) = chunks(found.rest)
        connect, rpc = self.replies(chunk)
        (client,) = self.node.connections.open
        self.assertEqual(connect["id"], 1)
        self.assertEqual(connect["connect"]["client"], client.id)
        self.assertEqual(connect["connect"]["session"], client.session)
        self.assertEqual(connect["connect"]["node"], self.node.id)
        self.assertEqual(rpc, {"id": 2, "rpc": {"data": {"pong": 1}}})
        self.assertIs(client.transport.wire, http_stream_json())

    def test_kinds(self) -> None:
        """Any content type but that of bytes means JSON."""
        for kind in ("", "text/plain", f"{OCTETS}; a=b", OCTETS.upper()):
            found = self.ask("POST", "/", CONNECT, Content_Type=kind)
            self.assertIn(b'"connect"', found.rest, kind)
            self.connect()

    def test_malformed(self) -> None:
        """A malformed command ends an open stream with 3501."""
        for body in (b"", b"nonsense", b'{"id":1}'):
            found = self.ask("POST", "/", body)
            self.assertEqual(found.status, 200)
            push = b'{"push":{"disconnect":{"code":3501,"reason":"bad request"}}}\n'
            self.assertEqual(chunks(found.rest), [push, b""], body)

    def test_refused(self) -> None:
        """A client whose connect failed has the stream until it is stale."""
        self.world.policy.admission = ReplyError(TOKEN_EXPIRED)
        (chunk,) = chunks(self.ask("POST", "/", CONNECT).rest)
        (reply,) = self.replies(chunk)
        self.assertEqual(reply["error"]["code"], 109)
        self.clock.advance(9)
        self.assertEqual(self.take(), [])
        self.clock.advance(2)
        push, end = self.take()
        self.assertIn(b'"code":3502', push)
        self.assertEqual(end, b"")
        sent = {
            dict(labels)["frame_type"]: counter.value
            for name, labels, counter in self.node.metrics.counters()
            if name == "transport_messages_sent"
        }
        self.assertEqual(sent, {"connect": 1, "push_disconnect": 1})

    def test_kept_headers(self) -> None:
        """A client keeps the headers that were asked for, and no others."""
        self.ask("POST", "/", CONNECT, X_User="u1", Cookie="c")
        (client,) = self.node.connections.open
        info = client.transport.info
        self.assertEqual(info.headers, {"x-user": ("u1",)})
        self.assertEqual((info.name, info.emulated), ("http_stream", True))
        self.connect()
        self.ask("POST", "/", CONNECT)
        self.assertEqual(list(self.node.connections.open)[1].transport.info.headers, {})

    def test_publication(self) -> None:
        """A publication comes as a line, which is a chunk."""
        self.ask("POST", "/", CONNECT + b'\n{"id":2,"subscribe":{"channel":"c"}}')
        self.world.publish("c", "grüße")
        (chunk,) = self.take()
        (push,) = self.replies(chunk)
        self.assertEqual(push["push"]["pub"]["data"], "grüße")


class ProtobufTests(HTTPStreamTestCase):
    """Streams in Protobuf."""

    def test_connect(self) -> None:
        """Replies come with their lengths, whole ones in a chunk."""
        found = self.ask("POST", "/", BINARY_CONNECT, Content_Type=OCTETS)
        self.assertEqual(found.status, 200)
        self.assertEqual(found.headers["Content-Type"], OCTETS)
        (chunk,) = chunks(found.rest)
        self.assertEqual(chunk[0], len(chunk) - 1)
        reply = client_pb2.Reply.FromString(chunk[1:])
        (client,) = self.node.connections.open
        self.assertEqual(reply.connect.session, client.session)
        self.assertEqual(reply.connect.node, self.node.id)
        self.assertIs(client.transport.wire, http_stream_protobuf())
        self.assertEqual(client.transport.info.protocol, "protobuf")

    def test_malformed(self) -> None:
        """A malformed command ends the stream with 3501."""
        found = self.ask("POST", "/", b"\x05\x08", Content_Type=OCTETS)
        push, end = chunks(found.rest)
        reply = client_pb2.Reply.FromString(push[1:])
        self.assertEqual(reply.push.disconnect.code, 3501)
        self.assertEqual(end, b"")

    def test_ping(self) -> None:
        """A ping is one byte, a message without content."""
        self.ask("POST", "/", BINARY_CONNECT, Content_Type=OCTETS)
        self.clock.advance(25)
        self.assertEqual(self.take(), [b"\x00"])
