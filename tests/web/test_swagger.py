"""The page that describes the HTTP API, as it is served."""

import re
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config import check_endpoints
from centrifugo_tx.config.check import problems
from centrifugo_tx.configured_ports import api_document
from centrifugo_tx.options import Answer
from centrifugo_tx.web.swagger import swagger
from tests.config.test_check import config_of


@frozen
class Request:
    """A request, as far as the handlers use it."""

    method: bytes


class SwaggerTests(SynchronousTestCase):
    """The handlers."""

    def setUp(self) -> None:
        self.handlers = swagger("/swagger", {"openapi": "3.1.0"})

    def get(self, path: str, method: bytes = b"GET") -> Answer:
        """Return the answer to a request."""
        answer = self.handlers[path.encode()](Request(method))
        assert isinstance(answer, Answer)
        return answer

    def test_page(self) -> None:
        """The page and all that it loads are served, and nothing else is loaded."""
        page = self.get("/swagger/").body.decode()
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
        self.assertEqual(sorted(loaded), ["openapi.json", "page.css", "page.js"])
        for name in loaded:
            self.assertEqual(self.get(f"/swagger/{name}").status, 200)
        script = self.get("/swagger/page.js").body.decode()
        for text in (page, script, self.get("/swagger/page.css").body.decode()):
            self.assertNotIn("//cdn", text)
            self.assertNotIn("http:", text)
        self.assertNotIn("innerHTML", script)

    def test_policy(self) -> None:
        """No script comes from elsewhere, and no page frames it."""
        headers = dict(self.get("/swagger/").headers)
        policy = headers[b"content-security-policy"].decode()
        self.assertIn("default-src 'none'", policy)
        self.assertIn("frame-ancestors 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertNotIn("*", policy)
        self.assertEqual(headers[b"x-content-type-options"], b"nosniff")

    def test_redirect(self) -> None:
        """The prefix without a slash leads to the page; the root needs no redirect."""
        answer = self.get("/swagger")
        self.assertEqual(answer.status, 301)
        self.assertEqual(answer.headers, ((b"location", b"/swagger/"),))
        self.assertIn(b"/", swagger("/", {}))

    def test_methods(self) -> None:
        """Only GET and HEAD are answered."""
        self.assertEqual(self.get("/swagger/", b"HEAD").status, 200)
        self.assertEqual(self.get("/swagger/", b"POST").status, 405)

    def test_paths(self) -> None:
        """The check of paths knows all files."""
        known = {f"/swagger/{name}" for name in check_endpoints._SWAGGER_FILES}
        self.assertEqual(known | {"/swagger"}, {p.decode() for p in self.handlers})
        taken = {
            "swagger": {"enabled": True},
            "health": {"enabled": True, "handler_prefix": "/swagger/page.js"},
        }
        (line,) = problems(config_of(taken))
        self.assertIn("'/swagger/page.js'", line)


class ServerTests(SynchronousTestCase):
    """Where the document says that the API is."""

    def server(self, **options: Any) -> Any:
        """Return the document's server."""
        return api_document(config_of(options))["servers"][0]

    def test_same_port(self) -> None:
        """On the page's own port it is a path."""
        self.assertEqual(self.server(), {"url": "/api"})
        self.assertEqual(self.server(http_api={"handler_prefix": "/"}), {"url": "/"})

    def test_other_port(self) -> None:
        """For another port the address is complete, except for the host."""
        found = self.server(
            http_api={"external": True},
            http_server={"port": 8000, "internal_port": "9000"},
        )
        self.assertEqual(found["url"], "http://{host}:8000/api")
