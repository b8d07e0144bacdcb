"""The page that describes the HTTP API, with a real server and browser."""

import json
import shutil
import subprocess
import tempfile
from html.parser import HTMLParser
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.api.openapi import EXAMPLES

from .server import API_KEY, PATIENCE, SECRET, Server, shared_server

#: The namespaces that the examples need.
OPTIONS: dict[str, Any] = {
    "swagger": {"enabled": True},
    "shared_poll": {"hmac_secret_key": SECRET},
    "channel": {
        "proxy": {"shared_poll_refresh": {"endpoint": "http://127.0.0.1:9/"}},
        "without_namespace": {
            **{"presence": True, "receipts": True},
            **{"history_size": 10, "history_ttl": "60s"},
        },
        "namespaces": [
            {
                **{"name": "board", "subscription_type": "map"},
                "map": {"mode": "recoverable", "key_ttl": "60s"},
            },
            {
                **{"name": "prices", "subscription_type": "shared_poll"},
                "shared_poll": {"mode": "versioned", "publish_enabled": True},
            },
        ],
    },
}


class Methods(HTMLParser):
    """Collects the ids of elements, and the texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an id."""
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.texts.append(data.strip())


class SwaggerTests(SynchronousTestCase):
    """The page and the document."""

    def setUp(self) -> None:
        self.server: Server = shared_server("swagger", OPTIONS)

    def test_examples(self) -> None:
        """The server takes each request of the document as it is."""
        status, body = self.server.request("GET", "/swagger/openapi.json")
        self.assertEqual(status, 200)
        document = json.loads(body)
        base = document["servers"][0]["url"]
        self.assertEqual(len(document["paths"]), len(EXAMPLES))
        for path, item in document["paths"].items():
            content = item["post"]["requestBody"]["content"]["application/json"]
            status, body = self.server.request(
                "POST",
                f"{base}{path}",
                json.dumps(content["example"]).encode(),
                {"X-API-Key": API_KEY},
            )
            self.assertEqual(status, 200, path)
            answer = json.loads(body)
            if path == "/rpc":  # this server has no extensions
                self.assertEqual(answer["error"]["code"], 104)
            else:
                self.assertNotIn("error", answer, path)

    def test_browser(self) -> None:
        """In Chromium the page shows each method and each schema."""
        browser = shutil.which("chromium") or shutil.which("chromium-browser")
        if browser is None:
            raise SkipTest("Chromium is not installed")
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            done = subprocess.run(
                [
                    browser,
                    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                    *("--disable-background-networking", "--disable-dev-shm-usage"),
                    *("--virtual-time-budget=5000", "--dump-dom"),
                    f"--user-data-dir={profile}",
                    f"http://127.0.0.1:{self.server.port}/swagger",
                ],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        page = Methods(done.stdout)
        for name, (summary, _) in EXAMPLES.items():
            self.assertIn(f"method-{name}", page.ids)
            self.assertIn(summary, page.texts)
        self.assertIn("PublishRequest", page.ids)
        self.assertNotIn("Refused to", done.stderr)  # by the policy
