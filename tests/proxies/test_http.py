"""A backend that is asked over HTTP, and a real server."""

from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from centrifugo_tx.proxies import HTTPBackend, http
from centrifugo_tx.proxies.http import BackendFailed


class Answers(Resource):  # type: ignore[misc]  # untyped
    """Answers with what it was sent, by the status that the path says."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []
        self.hanging: list[Any] = []

    def render_POST(self, request: Any) -> Any:
        """Take a question."""
        self.requests.append(request)
        if request.path == b"/hang":
            self.hanging.append(request)
            return NOT_DONE_YET
        request.setResponseCode(int(request.path[1:]))
        return b"you said " + request.content.read()


class HTTPBackendTests(TestCase):
    """Questions and answers."""

    def setUp(self) -> None:
        self.answers = Answers()
        site = Site(self.answers)
        self.port: Any = cast("Any", reactor).listenTCP(0, site, 5, "127.0.0.1")

    def tearDown(self) -> Any:
        """Let go of the port."""
        return self.port.stopListening()

    def backend(self, path: str, **options: Any) -> HTTPBackend:
        """Return a backend that asks under *path*."""
        endpoint = f"http://127.0.0.1:{self.port.getHost().port}{path}"
        backend = HTTPBackend(reactor, endpoint, 5.0, **options)
        self.addCleanup(backend.stop)
        return backend

    async def test_answer(self) -> None:
        """The body is posted as JSON, with the headers that are configured."""
        backend = self.backend("/200", headers={"X-Key": "k", "Content-Type": "x"})
        self.assertEqual(await backend.post(b'{"a":1}'), b'you said {"a":1}')
        [request] = self.answers.requests
        self.assertEqual(request.getHeader("x-key"), "k")
        self.assertEqual(request.getHeader("content-type"), "application/json")
        self.assertEqual(request.getHeader("content-length"), "7")

    async def test_kept(self) -> None:
        """The connection is kept for the next question."""
        backend = self.backend("/200")
        for _ in range(2):
            await backend.post(b"{}")
        first, second = (request.transport for request in self.answers.requests)
        self.assertEqual(len(self.answers.requests), 2)
        self.assertIs(first, second)

    async def test_status(self) -> None:
        """Any status but 200 is a failure."""
        for status in ("201", "302", "404", "500"):
            asked = self.backend(f"/{status}").post(b"{}")
            await self.assertFailure(asked, BackendFailed)

    async def test_too_large(self) -> None:
        """A response above the limit is a failure."""
        self.patch(http, "MAX_RESPONSE", 12)
        backend = self.backend("/200")
        self.assertEqual(await backend.post(b"{}!"), b"you said {}!")
        channel, lost = self.answers.requests[0].transport, Deferred[Any]()
        end = channel.connectionLost

        def ended(reason: Any) -> None:
            end(reason)
            lost.callback(None)

        self.patch(channel, "connectionLost", ended)
        failure = await self.assertFailure(backend.post(b"{ }!"), BackendFailed)
        self.assertIn("larger than 12 bytes", str(failure))
        await lost

    async def test_away(self) -> None:
        """A backend that is not there is a failure."""
        backend = HTTPBackend(reactor, "http://127.0.0.1:1/", 5.0)
        await self.assertFailure(backend.post(b"{}"), BackendFailed)

    async def test_too_slow(self) -> None:
        """A backend that does not answer in time is a failure."""
        backend = self.backend("/hang")
        backend.timeout = 0.05
        failed: Deferred[Any] = self.assertFailure(backend.post(b"{}"), BackendFailed)
        await failed
