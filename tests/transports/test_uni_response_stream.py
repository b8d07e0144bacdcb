"""Clients that only listen to a response: statuses, pushes, and refused connects."""

import json
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from centrifugo_tx.errors import DisconnectClient, ReplyError
from centrifugo_tx.interfaces import ITransport
from centrifugo_tx.options import Admission, SubscribeOptions
from centrifugo_tx.protocol.codes import (
    FORCE_DISCONNECT,
    INVALID_TOKEN,
    TOKEN_EXPIRED,
    UNKNOWN_CHANNEL,
    Error,
)
from centrifugo_tx.transports.uni_http_stream import (
    UniHTTPStream,
    UniHTTPStreamOptions,
)
from centrifugo_tx.transports.uni_response_stream import (
    CodeToResponse,
    CodeToResponseTransforms,
    ResponseTarget,
)
from centrifugo_tx.transports.uni_sse import UniSSE, UniSSEOptions
from centrifugo_tx.web.request import StreamHandler

from .streams import GOOD, StreamTestCase, chunks

TEXT = "text/plain; charset=utf-8"
#: Headers that keep proxies from holding a stream back.
UNCACHED = {
    "X-Accel-Buffering": "no",
    "Cache-Control": "private, no-cache, no-store, must-revalidate, max-age=0",
    "Pragma": "no-cache",
    "Expire": "0",
}
BY_CODE = CodeToResponseTransforms(
    True,
    (
        CodeToResponse(109, ResponseTarget(401, "expired")),
        CodeToResponse(3500, ResponseTarget(403)),
        CodeToResponse(400, ResponseTarget(418)),
        CodeToResponse(3001, ResponseTarget(503, "later")),
        CodeToResponse(3502, ResponseTarget(408)),
    ),
)


class UniStreamTestCase(StreamTestCase):
    """A world whose policy subscribes every client to the news."""

    refusals = CodeToResponseTransforms()

    def setUp(self) -> None:
        super().setUp()
        subs = {"news": SubscribeOptions()}
        self.world.policy.admission = Admission(user="u", subs=subs)


class UniHTTPStreamTestCase(UniStreamTestCase):
    """Has the endpoint of HTTP streaming."""

    def handler(self) -> StreamHandler:
        options = UniHTTPStreamOptions(
            max_request_body_size=self.body_limit,
            connect_code_to_http_response=self.refusals,
        )
        return UniHTTPStream(self.streams, options)

    def pushes(self) -> list[Any]:
        """Return the pushes that came since the last look."""
        return [each for chunk in self.take() for each in self.replies(chunk)]


class UniHTTPStreamTests(UniHTTPStreamTestCase):
    """Streams of lines."""

    def test_connect(self) -> None:
        """The request is the body, the answer a stream that begins with connect."""
        found = self.ask("POST", "/", b'{"name":"n"}', Origin=GOOD)
        self.assertEqual(found.status, 200)
        self.assertEqual(
            found.headers,
            {
                **UNCACHED,
                "Transfer-Encoding": "chunked",
                "Content-Type": TEXT,
                "Connection": "keep-alive",
                "Access-Control-Allow-Origin": GOOD,
                "Access-Control-Allow-Credentials": "true",
            },
        )
        (chunk,) = chunks(found.rest)
        (push,) = self.replies(chunk)
        self.assertEqual(push["connect"]["subs"], {"news": {}})
        self.assertNotIn("node", push["connect"])
        ((_, request),) = self.world.policy.calls
        self.assertEqual(request.name, "n")

    def test_null(self) -> None:
        """``null`` is an empty request."""
        self.assertIn(b"connect", self.ask("POST", "/", b"null").rest)

    def test_publications(self) -> None:
        """Pushes are lines, without an envelope; those of a turn share a chunk."""
        self.ask("POST", "/", b"{}")
        self.world.publish("news", 1)
        self.world.publish("news", 2)
        line = b'{"channel":"news","pub":{"data":%d}}\n'
        self.assertEqual(self.take(), [line % 1 + line % 2])

    def test_statuses(self) -> None:
        """Malformed or long bodies, and methods other than POST, have a status each."""
        for method, body, status in (
            ("POST", b"", 400),
            ("POST", b"{", 400),
            ("POST", b"[]", 400),
            ("POST", b'{"token":1}', 400),
            ("POST", b"{}" + b" " * 99, 413),
            ("GET", b"", 405),
            ("PUT", b"", 405),
        ):
            found = self.ask(method, "/", body, Origin=GOOD)
            self.assertEqual(found.status, status, (method, body))
            self.assertEqual(found.headers["Access-Control-Allow-Origin"], GOOD)
            self.connect()
        self.assertEqual(list(self.node.connections.open), [])

    def test_preflight(self) -> None:
        """OPTIONS returns the permitted methods and headers."""
        found = self.ask("OPTIONS", "/", Origin=GOOD)
        self.assertEqual((found.status, found.rest), (204, b""))
        allowed = found.headers["Access-Control-Allow-Methods"]
        self.assertEqual(allowed, "POST, OPTIONS")

    def test_full_node(self) -> None:
        """A full node answers 503."""
        self.limit = 1
        self.setUp()
        self.ask("POST", "/", b"{}")
        self.connect()
        self.assertEqual(self.ask("POST", "/", b"{}").status, 503)

    def test_transport(self) -> None:
        """The client's transport is one; it knows the headers that are kept."""
        self.ask("POST", "/", b"{}", X_User="42", X_Other="1")
        (client,) = self.node.connections.open
        verifyObject(ITransport, client.transport)
        info = client.transport.info
        self.assertEqual(info.headers, {"x-user": ("42",)})
        self.assertEqual((info.name, info.unidirectional), ("uni_http_stream", True))

    def test_end(self) -> None:
        """A push says why the stream ends."""
        self.ask("POST", "/", b"{}")
        (client,) = self.node.connections.open
        client.close(FORCE_DISCONNECT)
        push = b'{"disconnect":{"code":3503,"reason":"force disconnect"}}\n'
        self.assertEqual(self.take(), [push, b""])
        self.assertEqual(list(self.node.connections.open), [])

    def test_refused(self) -> None:
        """An error of connect is such a push, too; the status is 200."""
        self.world.policy.admission = ReplyError(TOKEN_EXPIRED)
        found = self.ask("POST", "/", b"{}")
        self.assertEqual(found.status, 200)
        push = b'{"disconnect":{"code":3005,"reason":"connection expired"}}\n'
        self.assertEqual(chunks(found.rest), [push, b""])

    def test_slow_connect(self) -> None:
        """The head does not wait for the outcome of connect."""
        answer: Deferred[Admission] = Deferred()
        self.world.policy.admission = answer
        found = self.ask("POST", "/", b"{}")
        self.assertEqual((found.status, found.rest), (200, b""))
        answer.callback(Admission())
        self.assertIn("connect", self.pushes()[0])


class UniSSETestCase(UniStreamTestCase):
    """Has the endpoint of server-sent events."""

    def handler(self) -> StreamHandler:
        options = UniSSEOptions(
            max_request_body_size=self.body_limit,
            connect_code_to_http_response=self.refusals,
        )
        return UniSSE(self.streams, options)


class UniSSETests(UniSSETestCase):
    """Streams of events."""

    def connected(self, found: Any) -> Any:
        """Return the connect push with which a stream begins."""
        self.assertEqual(found.status, 200)
        first, event = chunks(found.rest)
        self.assertEqual(first, b"\r\n")
        self.assertTrue(event.startswith(b"data: "), event)
        self.assertTrue(event.endswith(b"\n\n"), event)
        return json.loads(event.removeprefix(b"data: "))["connect"]

    def test_connect(self) -> None:
        """The request is in the URL; an empty line comes before the first event."""
        path = "/?cf_connect=" + quote('{"name":"n"}')
        found = self.ask("GET", path, Origin=GOOD)
        self.assertEqual(
            found.headers,
            {
                **UNCACHED,
                "Transfer-Encoding": "chunked",
                "Content-Type": "text/event-stream; charset=utf-8",
                "Connection": "keep-alive",
                "Access-Control-Allow-Origin": GOOD,
                "Access-Control-Allow-Credentials": "true",
            },
        )
        self.assertEqual(self.connected(found)["subs"], {"news": {}})
        ((_, request),) = self.world.policy.calls
        self.assertEqual(request.name, "n")

    def test_nothing(self) -> None:
        """Without one, or with ``null``, it is an empty request."""
        for path in ("/", "/?cf_connect=", "/?cf_connect=null"):
            self.connected(self.ask("GET", path))
            self.connect()

    def test_post(self) -> None:
        """The request can be a body as well."""
        self.connected(self.ask("POST", "/", b'{"name":"n"}'))

    def test_publications(self) -> None:
        """Each push is an event."""
        self.ask("GET", "/")
        self.world.publish("news", 1)
        self.world.publish("news", 2)
        event = b'data: {"channel":"news","pub":{"data":%d}}\n\n'
        self.assertEqual(self.take(), [event % 1 + event % 2])

    def test_statuses(self) -> None:
        """Malformed or long bodies, and other methods, have a status each."""
        for method, path, body, status in (
            ("GET", "/?cf_connect={", b"", 400),
            ("GET", "/?cf_connect=[]", b"", 400),
            ("POST", "/", b"", 400),
            ("POST", "/", b"{", 400),
            ("POST", "/", b"{}" + b" " * 99, 413),
            ("OPTIONS", "/", b"", 405),
            ("PUT", "/", b"", 405),
        ):
            found = self.ask(method, path, body, Origin=GOOD)
            self.assertEqual(found.status, status, (method, path, body))
            self.assertEqual(found.headers["Access-Control-Allow-Origin"], GOOD)
            self.connect()
        self.assertEqual(list(self.node.connections.open), [])

    def test_full_node(self) -> None:
        """A full node answers 503."""
        self.limit = 1
        self.setUp()
        self.ask("GET", "/")
        self.connect()
        self.assertEqual(self.ask("GET", "/").status, 503)

    def test_end(self) -> None:
        """An event says why the stream ends."""
        self.ask("GET", "/")
        (client,) = self.node.connections.open
        client.close(FORCE_DISCONNECT)
        push = b'data: {"disconnect":{"code":3503,"reason":"force disconnect"}}\n\n'
        self.assertEqual(self.take(), [push, b""])

    def test_info(self) -> None:
        """The node knows the transport by its name."""
        self.ask("GET", "/")
        (client,) = self.node.connections.open
        info = client.transport.info
        self.assertEqual((info.name, info.unidirectional), ("uni_sse", True))


class RefusalTests(UniHTTPStreamTestCase):
    """The outcome of connect decides on the status."""

    refusals = BY_CODE

    def refused(self, reason: Exception) -> tuple[int, bytes]:
        """Return status and body of the answer to a connect that fails."""
        self.connect()
        self.world.policy.admission = reason
        found = self.ask("POST", "/", b"{}", Origin=GOOD)
        self.assertEqual(found.headers.pop("Content-Length"), str(len(found.rest)))
        self.assertEqual(
            found.headers,
            {
                "Content-Type": TEXT,
                "X-Content-Type-Options": "nosniff",
                "Access-Control-Allow-Origin": GOOD,
                "Access-Control-Allow-Credentials": "true",
            },
        )
        self.assertEqual(list(self.node.connections.open), [])
        return found.status, found.rest

    def test_accepted(self) -> None:
        """A connect that succeeds opens the stream."""
        found = self.ask("POST", "/", b"{}", Origin=GOOD)
        self.assertEqual(found.status, 200)
        self.assertEqual(found.headers["Pragma"], "no-cache")
        (chunk,) = chunks(found.rest)
        self.assertIn("connect", self.replies(chunk)[0])
        self.world.publish("news", 1)
        self.assertEqual(self.pushes()[0]["channel"], "news")

    def test_errors(self) -> None:
        """An error has the status and the body that are said, or its message."""
        self.assertEqual(self.refused(ReplyError(TOKEN_EXPIRED)), (401, b"expired"))
        teapot = Error(400, "I'm a teapot")
        self.assertEqual(self.refused(ReplyError(teapot)), (418, b"I'm a teapot"))

    def test_disconnects(self) -> None:
        """So has a disconnect, with its reason."""
        refusal = DisconnectClient(INVALID_TOKEN)
        self.assertEqual(self.refused(refusal), (403, b"invalid token"))

    def test_others(self) -> None:
        """Anything else is a 500."""
        expected = 500, b"Internal Server Error"
        self.assertEqual(self.refused(ReplyError(UNKNOWN_CHANNEL)), expected)
        self.assertEqual(self.refused(ValueError()), expected)
        self.flushLoggedErrors(ValueError)

    def test_connection(self) -> None:
        """After such an answer the connection takes other requests."""
        self.refused(ReplyError(TOKEN_EXPIRED))
        self.world.policy.admission = Admission()
        self.assertEqual(self.ask("POST", "/", b"{}").status, 200)

    def test_slow(self) -> None:
        """Nothing is sent before the outcome is known."""
        for outcome, status in (
            (Admission(), b"HTTP/1.1 200"),
            (ReplyError(TOKEN_EXPIRED), b"HTTP/1.1 401"),
        ):
            answer: Deferred[Admission] = Deferred()
            self.world.policy.admission = answer
            self.connect()
            self.protocol.dataReceived(b"POST / HTTP/1.1\r\nHost: a\r\n")
            self.protocol.dataReceived(b"Content-Length: 2\r\n\r\n{}")
            self.clock.advance(5)
            self.assertEqual(self.stream.take(), b"")
            if isinstance(outcome, Exception):
                answer.errback(outcome)
            else:
                answer.callback(outcome)
            self.clock.advance(0)
            self.assertEqual(self.stream.take()[: len(status)], status)

    def test_never(self) -> None:
        """A connect that takes too long is stale, which is an outcome, too."""
        self.world.policy.admission = Deferred()
        self.protocol.dataReceived(b"POST / HTTP/1.1\r\nHost: a\r\n")
        self.protocol.dataReceived(b"Content-Length: 2\r\n\r\n{}")
        self.clock.advance(16)
        self.assertIn(b"HTTP/1.1 408 ", self.stream.take())
        self.assertEqual(list(self.node.connections.open), [])

    def test_gone(self) -> None:
        """A peer that goes before the outcome is known leaves nothing behind."""
        answer: Deferred[Admission] = Deferred()
        self.world.policy.admission = answer
        self.protocol.dataReceived(b"POST / HTTP/1.1\r\nHost: a\r\n")
        self.protocol.dataReceived(b"Content-Length: 2\r\n\r\n{}")
        self.assertEqual(len(self.node.connections.open), 1)
        self.stream.lose(self.protocol)
        self.assertEqual(len(self.node.connections.open), 0)
        answer.callback(Admission())
        self.clock.advance(0)
        self.assertEqual(self.stream.take(), b"")

    def test_stopping(self) -> None:
        """While the node stops it is the status of 3001."""
        self.node.stop()
        self.assertEqual(self.ask("POST", "/", b"{}").status, 503)
        self.assertEqual(list(self.node.connections.open), [])


class SSERefusalTests(UniSSETestCase):
    """The same over server-sent events."""

    refusals = BY_CODE

    def test_both(self) -> None:
        """The empty line belongs to a stream, not to a refusal."""
        self.assertEqual(chunks(self.ask("GET", "/").rest)[0], b"\r\n")
        self.connect()
        self.world.policy.admission = ReplyError(TOKEN_EXPIRED)
        found = self.ask("GET", "/")
        self.assertEqual((found.status, found.rest), (401, b"expired"))
