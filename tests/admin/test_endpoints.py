"""The endpoints of the admin page: their authorization and responses."""

import json

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.admin import ADMIN_PATHS, AdminOptions
from centrifugo_tx.admin.endpoints import QUESTIONS, _Questions
from centrifugo_tx.admin.messages import NodesRequest
from centrifugo_tx.bounded_log import BoundedLog
from centrifugo_tx.options import Answer
from tests.api.api_backend import Request

from .admin_session import Page

QUESTION_PATHS = [
    f"/admin/{name}"
    for name in (
        *("api", "nodes", "channels", "channel", "presence", "connections"),
        *("connection", "feed"),
    )
]


class LoginTests(SynchronousTestCase):
    """Logging in."""

    def setUp(self) -> None:
        self.page = Page()

    def test_login(self) -> None:
        """The right password is answered with a token that opens all doors."""
        answer = self.page.login()
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.content_type, "application/json")
        self.assertEqual(answer.body, b'{"token":"%b"}\n' % self.page.token.encode())
        self.assertEqual(len(self.page.result("nodes")["nodes"]), 1)

    def test_wrong(self) -> None:
        """A wrong password is 400."""
        for password in ("", "x", "PW"):
            answer = self.page.login(password)
            self.assertEqual((answer.status, answer.body), (400, b"Bad Request\n"))

    def test_not_configured(self) -> None:
        """Without a password or a secret every login fails, even an empty one."""
        for options in (AdminOptions(secret="s"), AdminOptions(password="pw")):
            page = Page(options)
            self.assertEqual(page.login("").status, 400)
            self.assertEqual(page.login("pw").status, 400)
            self.assertEqual(page.send("/admin/api", b"{}").status, 401)
        self.flushLoggedErrors()

    def test_too_often(self) -> None:
        """After five tries within a second even the right password is not looked at."""
        statuses = [self.page.login("x").status for _ in range(6)]
        self.assertEqual(statuses, [400] * 5 + [429])
        self.assertEqual(self.page.login().status, 429)
        self.page.world.clock.advance(1)
        self.assertEqual(self.page.login().status, 200)

    def test_methods(self) -> None:
        """Endpoints for POST answer other methods with 405."""
        for path in ("/admin/auth", *QUESTION_PATHS):
            self.assertEqual(self.page.send(path, b"", b"GET").status, 405, path)

    def test_settings(self) -> None:
        """The page of any version learns whether it has to log in."""
        answer = self.page.send("/admin/init", b"", b"GET")
        known = b'{"authenticated":false,"edition":"oss","insecure":false}\n'
        self.assertEqual(answer.body, known)
        answer = self.page.send("/admin/settings", b"", b"GET")
        self.assertEqual(answer.body, b'{"edition":"oss","insecure":false}\n')
        self.page.login()
        answer = self.page.send("/admin/init", b"", b"GET")
        self.assertTrue(json.loads(answer.body)["authenticated"])


class DoorTests(SynchronousTestCase):
    """Authorization of requests."""

    def test_paths(self) -> None:
        """All endpoints are known to the rules of the configuration."""
        page = Page()
        paths = {path.decode() for path in page.handlers}
        files = paths - set(ADMIN_PATHS)
        self.assertLessEqual(
            set(ADMIN_PATHS), {each.decode() for each in page.handlers}
        )
        self.assertFalse([path for path in files if path.startswith("/admin/")])

    def test_no_token(self) -> None:
        """Without a valid token all questions are 401 without a body."""
        page = Page()
        page.login()
        token, page.token = page.token, ""
        for header in ("", "token", "token x", f"bearer {token}", f"token {token} x"):
            for path in QUESTION_PATHS:
                answer = page.send(path, b"{}", Authorization=header)
                self.assertEqual((answer.status, answer.body), (401, b""), header)
        answer = page.send("/admin/nodes", b"{}", Authorization=f"TOKEN  {token}")
        self.assertEqual(answer.status, 200)
        page.inspector.stop()

    def test_large(self) -> None:
        """The body of a stranger is not even read."""
        page = Page()
        for path in QUESTION_PATHS:
            handler = page.handlers[path.encode()]
            self.assertTrue(callable(getattr(handler, "refusal", None)), path)

    def test_insecure(self) -> None:
        """Insecure: no login is needed, but pages of other sites cannot ask."""
        page = Page(AdminOptions(enabled=True, insecure=True))
        known = b'{"authenticated":true,"edition":"oss","insecure":true}\n'
        self.assertEqual(page.send("/admin/init", b"", b"GET").body, known)
        for site, status in (
            *(("same-origin", 200), ("none", 200)),
            *(("cross-site", 403), ("same-site", 403)),
        ):
            answer = page.send("/admin/nodes", b"{}", Sec_Fetch_Site=site)
            self.assertEqual(answer.status, status, site)
        page.inspector.stop()

    def test_api(self) -> None:
        """The server API of the old style needs no key."""
        page = Page()
        page.login()
        body = (
            b'{"method":"publish","params":{"channel":"hh:a","data":{"n":1}}}\n'
            b'{"id":3,"method":"history","params":{"channel":"hh:a","limit":5}}'
        )
        answer = page.send("/admin/api", body)
        self.assertEqual(answer.status, 200)
        first, second = map(json.loads, answer.body.splitlines())
        self.assertEqual(first["result"]["offset"], 1)
        self.assertEqual(second["result"]["publications"][0]["data"], {"n": 1})
        for bad in (b"", b"x"):
            self.assertEqual(page.send("/admin/api", bad).status, 400)

    def test_malformed(self) -> None:
        """A malformed request gets 400; an error of a request is its response."""
        page = Page()
        page.login()
        for body in (
            b"x",
            b"[]",
            b'{"limit":0}',
            b'{"limit":501}',
            b"\xff",
            b"[" * 9999,
        ):
            self.assertEqual(page.send("/admin/channels", body).status, 400, body[:9])
        error = page.ask("channels", pattern="[")["error"]
        self.assertEqual(error["code"], 107)
        self.assertEqual(page.ask("channel", channel="xx:a")["error"]["code"], 102)
        self.assertEqual(page.ask("channel", channel="")["error"]["code"], 107)
        self.assertEqual(page.ask("presence", channel="jj:a")["error"]["code"], 108)

    def test_too_many(self) -> None:
        """Beyond a number of concurrent requests, further ones get 503."""
        clock = Clock()
        questions = _Questions(BoundedLog(Logger(), clock))
        waiting: list[Deferred[None]] = []

        def ask(request: object) -> "Deferred[None]":
            waiting.append(Deferred())
            return waiting[-1]

        handler = questions.handler(NodesRequest, ask)
        answers = [handler(Request(b"{}")) for _ in range(QUESTIONS)]
        self.assertEqual(handler(Request(b"{}")).status, 503)
        waiting[0].callback(None)
        self.assertEqual(self.successResultOf(answers[0]).status, 200)
        self.assertIsInstance(handler(Request(b"{}")), Deferred)


class FileTests(SynchronousTestCase):
    """The files of the page."""

    def get(self, page: Page, path: str, **headers: str) -> Answer:
        found: Answer = page.send(path, b"", b"GET", **headers)
        return found

    def test_page(self) -> None:
        """The page allows nothing that is not its own."""
        page = Page()
        answer = self.get(page, "/")
        self.assertEqual(answer.content_type, "text/html; charset=utf-8")
        policy = dict(answer.headers)[b"Content-Security-Policy"]
        self.assertIn(b"default-src 'none'", policy)
        self.assertIn(b"frame-ancestors 'none'", policy)
        self.assertNotIn(b"unsafe", policy)
        self.assertNotIn(b"<style", answer.body)
        self.assertNotIn(b"http:", answer.body + b"https:"[:0])
        self.assertEqual(page.send("/", b"", b"POST").status, 405)

    def test_no_html(self) -> None:
        """No script makes HTML out of a text, or code."""
        for path, file in Page().handlers.items():
            if path.endswith(b".js"):
                body = self.get(Page(), path.decode()).body
                for word in (b"innerHTML", b"outerHTML", b"insertAdjacent", b"eval("):
                    self.assertNotIn(word, body, (path, file))

    def test_cached(self) -> None:
        """A file that the browser has cached is not sent again."""
        page = Page()
        answer = self.get(page, "/app.js")
        tag = dict(answer.headers)[b"ETag"].decode()
        again = self.get(page, "/app.js", If_None_Match=tag)
        self.assertEqual((again.status, again.body), (304, b""))

    def test_prefix(self) -> None:
        """All files are below the prefix, and the bare prefix redirects there."""
        options = AdminOptions(insecure=True, handler_prefix="/in/side/")
        page = Page(options)
        self.assertEqual(self.get(page, "/in/side/app.js").status, 200)
        self.assertEqual(self.get(page, "/in/side/").status, 200)
        answer = self.get(page, "/in/side")
        self.assertEqual(answer.status, 301)
        self.assertEqual(answer.headers, ((b"Location", b"/in/side/"),))
