"""Which path a request asks for."""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import Answer
from centrifugo_tx.web.request_target import path_of
from centrifugo_tx.web.site import Endpoints, HTTPSite

from ..transports.websocket_stream import Stream

NOSNIFF = b"X-Content-Type-Options: nosniff\r\n"


class PathTests(SynchronousTestCase):
    """Targets, and the paths and answers that the reference has for them."""

    def test_paths(self) -> None:
        """Escapes are decoded; an absolute target means its path."""
        for target, path in (
            (b"/api/publish", b"/api/publish"),
            (b"/api/publish?x=%zz//..", b"/api/publish"),
            (b"/api/%70ublish", b"/api/publish"),
            (b"/%61pi/publish", b"/api/publish"),
            (b"/api%2fpublish", b"/api%2fpublish"),
            (b"/api/publish%00", b"/api/publish\0"),
            (b"/%2e/health", b"/./health"),
            (b"/%2e%2e/health", b"/../health"),
            (b"/a/.b", b"/a/.b"),
            (b"/api/", b"/api/"),
            (b"http://h/health", b"/health"),
            (b"https://h:8000/health?x", b"/health"),
            (b"HTTP://h/%68ealth", b"/health"),
        ):
            self.assertEqual(path_of(target), (path, None), target)

    def test_redirects(self) -> None:
        """Empty names and dots are taken out by a redirect, which keeps the query."""
        for target, location in (
            (b"//api", b"/api"),
            (b"/api//publish?a=b&c=%zz", b"/api/publish?a=b&c=%zz"),
            (b"/api//%70ublish", b"/api/%70ublish"),
            (b"/..", b"/"),
            (b"/.", b"/"),
            (b"//", b"/"),
            (b"/a//", b"/a/"),
            (b"/a/..b/../c", b"/a/c"),
            (b"/api/publish/.", b"/api/publish"),
            (b"/api/publish/..", b"/api"),
            (b"/a/../../b", b"/b"),
            (b"/../health/", b"/health/"),
            (b"//h/api/publish", b"/h/api/publish"),
            (b"http://h", b"/"),
            (b"http://h?x", b"/?x"),
        ):
            answer = Answer(307, headers=((b"Location", location),))
            self.assertEqual(path_of(target, b"POST")[1], answer, target)
        answer = path_of(b"//a?b&c=<", b"GET")[1]
        assert answer is not None
        self.assertEqual(
            answer.body, b'<a href="/a?b&amp;c=&lt;">Temporary Redirect</a>.\n\n'
        )

    def test_bad(self) -> None:
        """A malformed target is a 400."""
        for target in (b"*", b"health", b"/a%zz", b"/a%4", b"/%", b"/./%zz", b"h:p/x"):
            answer = path_of(target)[1]
            assert answer is not None
            self.assertEqual(answer.status, 400, target)


class ServedTests(SynchronousTestCase):
    """The same, through a connection."""

    def ask(self, method: str, target: str, more: str = "") -> bytes:
        hello: Any = lambda request: Answer(200, request.method)  # noqa: E731
        clock = Clock()
        site = HTTPSite(clock, Endpoints(handlers={b"/hello": hello}))
        channel: Any = site.buildProtocol(None)
        wire = Stream()
        channel.callLater = clock.callLater
        channel.makeConnection(wire)
        head = f"{method} {target} HTTP/1.1\r\nHost: h\r\n{more}\r\n"
        channel.dataReceived(head.encode())
        clock.advance(0)
        return wire.take()

    def test_served(self) -> None:
        """Every way to write a path leads to its handler, or to a redirect."""
        length = "Content-Length: 0\r\n"
        for method, more in (("GET", ""), ("POST", length)):
            for target in ("/hello", "/hell%6f?x", "http://h/hello"):
                answer = self.ask(method, target, more)
                self.assertTrue(answer.endswith(b"\r\n\r\n" + method.encode()), answer)
            answer = self.ask(method, "//hello?x", more)
            self.assertTrue(answer.startswith(b"HTTP/1.1 307 Temporary Redirect\r\n"))
            self.assertIn(b"\r\nLocation: /hello?x\r\n", answer)
            self.assertTrue(self.ask(method, "/%zz", more).startswith(b"HTTP/1.1 400 "))

    def test_text_errors(self) -> None:
        """No browser may guess the type of a text error."""
        for target, status in (("/none", 404), ("/hello/", 404), ("/%zz", 400)):
            answer = self.ask("GET", target)
            self.assertIn(b" %d " % status, answer)
            self.assertIn(NOSNIFF, answer)
        self.assertNotIn(NOSNIFF, self.ask("GET", "/hello"))
