"""Views of Django."""

import asyncio
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.backend import (
    CONNECT,
    PUBLISH,
    ConnectRequest,
    ConnectResult,
    Disconnect,
    Error,
    PublishRequest,
    PublishResult,
    sign,
)

try:
    from django.conf import settings
    from django.http import HttpRequest
    from django.test import RequestFactory
except ImportError:
    raise SkipTest("Django is not installed") from None

if not settings.configured:
    settings.configure()

from centrifugo_tx.backend.django import proxy_view

BODY = b'{"user":"42","channel":"news","data":{"text":"hi"}}'


@proxy_view(CONNECT)
def connect(http: HttpRequest, call: ConnectRequest) -> ConnectResult | Disconnect:
    """Know the user by a cookie."""
    user = http.COOKIES.get("user", "")
    return ConnectResult(user=user) if user else Disconnect(4501, "log in")


@proxy_view(PUBLISH)
def publish(http: HttpRequest, call: PublishRequest, room: str) -> PublishResult:
    """Refuse an empty payload."""
    if not call.data["text"]:
        raise Error(400, "empty")
    return PublishResult(data={"room": room, "user": call.user})


@proxy_view(PUBLISH, secrets=["old", "new"])
async def publish_async(http: HttpRequest, call: PublishRequest) -> None:
    """Refuse in a coroutine."""
    await asyncio.sleep(0)
    raise Error(400, call.channel)


class DjangoTests(SynchronousTestCase):
    """Requests and responses of views."""

    def post(self, view: Any, body: bytes, **options: Any) -> Any:
        """Call a view; return its response."""
        headers = options.pop("headers", {})
        request = RequestFactory().post(
            "/", body, content_type="application/json", headers=headers
        )
        return view(request, **options)

    def test_view(self) -> None:
        """The view answers in JSON, with what Django's request and the URL say."""
        response = self.post(connect, b"{}", headers={"Cookie": "user=42"})
        self.assertEqual(response.content, b'{"result":{"user":"42"}}')
        self.assertEqual(response["Content-Type"], "application/json")
        response = self.post(publish, BODY, room="r1")
        expected = b'{"result":{"data":{"room":"r1","user":"42"}}}'
        self.assertEqual(response.content, expected)
        self.assertEqual(connect.__name__, "connect")

    def test_outcomes(self) -> None:
        """Errors and disconnects are answers with status 200."""
        response = self.post(connect, b"{}")
        expected = b'{"disconnect":{"code":4501,"reason":"log in"}}'
        self.assertEqual((response.status_code, response.content), (200, expected))
        response = self.post(publish, b'{"data":{"text":""}}', room="")
        expected = b'{"error":{"code":400,"message":"empty"}}'
        self.assertEqual((response.status_code, response.content), (200, expected))

    def test_refused(self) -> None:
        """A malformed request, and one that is not a POST, is refused."""
        response = self.post(connect, b"[]")
        self.assertEqual(response.status_code, 400)
        self.assertIn(b"no connect request", response.content)
        self.assertEqual(connect(RequestFactory().get("/")).status_code, 405)
        view = publish_async(RequestFactory().get("/"))
        self.assertEqual(asyncio.run(view).status_code, 405)

    def test_async(self) -> None:
        """A coroutine function makes an async view, here with signatures."""
        response = asyncio.run(self.post(publish_async, BODY))
        self.assertEqual(response.status_code, 403)
        for secret in ("old", "new"):
            headers = {"X-Centrifugo-Signature": sign(BODY, [secret])}
            response = asyncio.run(self.post(publish_async, BODY, headers=headers))
            expected = b'{"error":{"code":400,"message":"news"}}'
            self.assertEqual((response.status_code, response.content), (200, expected))

    def test_csrf(self) -> None:
        """The server has no CSRF token."""
        self.assertTrue(connect.csrf_exempt)  # type: ignore[attr-defined]
        self.assertTrue(publish_async.csrf_exempt)  # type: ignore[attr-defined]
