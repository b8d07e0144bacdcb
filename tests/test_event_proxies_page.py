"""The page on event proxies shows requests and responses as they are."""

import importlib.util
import json
import time
from pathlib import Path
from typing import Any
from unittest import SkipTest

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.proxies.http import decode_response
from centrifugo_tx.proxies.signature import HEADER, sign
from centrifugo_tx.proxy_messages import EVENTS

from .integration.page import Block, blocks_of

PAGE = Path(__file__).parents[1] / "docs" / "event-proxies.rst"
SECRET = "a long random secret"


def blocks() -> list[Block]:
    """Return the code blocks of the page."""
    return blocks_of(PAGE.read_text())


class ExampleTests(SynchronousTestCase):
    """Requests, responses and configurations."""

    def test_examples(self) -> None:
        """Every event has a request and a response, with fields that there are."""
        shown = set()
        events = {event.name: event for event in EVENTS}
        for block in blocks():
            name, _, kind = block.caption.partition(" ")
            if not kind:
                continue
            shown.add((name, kind))
            event = events[name]
            if kind == "response":
                response = decode_response(event, block.text.encode())
                self.assertIsNotNone(response.result, block.text)
                answer = json.loads(block.text)["result"]
                known = set(event.answer.__struct_fields__)
                self.assertEqual(answer.keys() - known, set())
            else:
                request = msgspec.json.decode(block.text, type=event.request)
                again = json.loads(msgspec.json.encode(request))
                self.assertEqual(again, json.loads(block.text))
        wanted = {(name, kind) for name in events for kind in ("request", "response")}
        self.assertEqual(shown, wanted)

    def test_json(self) -> None:
        """All JSON on the page is JSON."""
        for block in blocks():
            if block.language == "json":
                json.loads(block.text)


class SignatureTests(SynchronousTestCase):
    """The checks of signatures that the page shows."""

    def setUp(self) -> None:
        self.names: dict[str, Any] = {"__name__": __name__}
        self.python = [each.text for each in blocks() if each.language == "python"]
        self.body = b'{"a":1}'
        self.good = sign(self.body, ["another", SECRET], int(time.time()))
        self.bad = sign(self.body, ["another"], int(time.time()))

    def run_block(self, number: int, module: str) -> None:
        """Run the check, and one of the blocks that use it."""
        if importlib.util.find_spec(module) is None:
            raise SkipTest(f"{module} is not installed")
        for text in (self.python[0], self.python[number]):
            exec(compile(text, str(PAGE), "exec"), self.names)

    def test_check(self) -> None:
        """The check accepts only recent signatures by a known secret."""
        exec(compile(self.python[0], str(PAGE), "exec"), self.names)
        is_signed, now = self.names["is_signed"], int(time.time())
        self.assertTrue(is_signed(self.good, self.body))
        for header in (
            *("", "t=1", "v1=1", "t=x,v1=1", f"t={now},v1=\u00e9", self.bad),
            sign(self.body, [SECRET], now - 400),
            sign(self.body, [SECRET], now + 400),
            sign(b"other", [SECRET], now),
        ):
            self.assertFalse(is_signed(header, self.body), header)

    def test_flask(self) -> None:
        """Flask refuses unsigned requests."""
        self.run_block(1, "flask")
        app = self.names["app"]
        app.post("/")(lambda: "fine")
        for header, status in ((self.good, 200), (self.bad, 403), ("", 403)):
            headers = {HEADER: header}
            answer = app.test_client().post("/", data=self.body, headers=headers)
            self.assertEqual(answer.status_code, status)

    def test_fastapi(self) -> None:
        """FastAPI refuses unsigned requests."""
        self.run_block(2, "fastapi")
        from fastapi import HTTPException, Request

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": self.body, "more_body": False}

        def check(header: str) -> Any:
            headers = [(HEADER.lower().encode(), header.encode())]
            request = Request({"type": "http", "headers": headers}, receive)
            checked = self.names["require_signed"](request)
            return Deferred.fromCoroutine(checked)

        self.assertIsNone(self.successResultOf(check(self.good)))
        refused = self.failureResultOf(check(self.bad), HTTPException).value
        self.assertEqual(refused.status_code, 403)

    def test_django(self) -> None:
        """Django refuses unsigned requests."""
        if importlib.util.find_spec("django") is None:
            raise SkipTest("django is not installed")
        from django.conf import settings

        if not settings.configured:
            settings.configure(ALLOWED_HOSTS=["*"])
        self.run_block(3, "django")
        from django.http import HttpResponse
        from django.test import RequestFactory

        view = self.names["signed_view"](lambda request: HttpResponse("fine"))
        self.assertTrue(view.csrf_exempt)
        for header, status in ((self.good, 200), (self.bad, 403)):
            request = RequestFactory().post(
                *("/", self.body, "application/json"), headers={HEADER: header}
            )
            self.assertEqual(view(request).status_code, status)
