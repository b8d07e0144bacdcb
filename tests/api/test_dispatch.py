"""API commands that come from queues and databases."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.api import Api
from centrifugo_tx.api.dispatch import CONSUMED, Dispatcher
from centrifugo_tx.errors import BrokerUnavailable

from .api_backend import Backend


class DispatchTests(SynchronousTestCase):
    """Commands in messages (consumers, "Consumer messages" and "Consumer delivery")."""

    def setUp(self) -> None:
        self.backend = Backend()
        api = Api(self.backend.world.node, "consuming")
        self.dispatcher = Dispatcher(api, "source")

    def command(self, method: str, body: Any) -> str:
        """Return the outcome of a command that completes at once."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        outcome = self.dispatcher.command(method, text)
        if isinstance(outcome, Deferred):
            outcome = self.successResultOf(outcome)
        return outcome

    def test_envelopes(self) -> None:
        """The method is beside the message or in it, the payload maybe a string."""
        peer = self.backend.world.subscribed("a")
        request = {"channel": "a", "data": {"x": 1}}
        self.assertEqual(self.command("publish", request), "")
        self.command("", {"method": "publish", "payload": request})
        self.command("", {"Method": "publish", "PAYLOAD": json.dumps(request)})
        pushes = [push["push"]["pub"]["data"] for push in peer.take()]
        self.assertEqual(pushes, [{"x": 1}] * 3)

    def test_methods(self) -> None:
        """The methods that change something, and no others."""
        requests: dict[str, dict[str, Any]] = {
            "broadcast": {"channels": ["a", "hh:b"], "data": 1},
            "history_remove": {"channel": "hh:a"},
            "publish": {"channel": "a", "data": 1},
            "subscribe": {"channel": "a", "user": "u"},
        }
        with capturedLogs() as lines:
            for method in CONSUMED:
                request = requests.get(method, {"user": "u"})
                self.assertEqual(self.command(method, request), "", method)
        self.assertEqual(lines, [])
        self.assertEqual(self.backend.errors(), {})

    def test_skipped(self) -> None:
        """A command that can never succeed is logged with its consumer, and counted."""
        for method, body, message, error in (
            ("publish", b"{", MALFORMED, ("publish", "unmarshal")),
            ("publish", b"\xff", MALFORMED, ("publish", "unmarshal")),
            ("publish", {"channel": 1}, MALFORMED, ("publish", "unmarshal")),
            ("publish", b"[" * 100000, MALFORMED, ("publish", "unmarshal")),
            ("", b"", MALFORMED, ("unknown", "unmarshal")),
            ("", [], MALFORMED, ("unknown", "unmarshal")),
            ("", {"method": "publish"}, MALFORMED, ("publish", "unmarshal")),
            ("", {"method": "publish", "payload": "x"}, MALFORMED, None),
            ("", {}, UNSUPPORTED, ("unknown", "104")),
            ("info", {}, UNSUPPORTED, ("unknown", "104")),
            ("publish", {"channel": "no:a", "data": 1}, REFUSED, ("publish", "102")),
            ("history_remove", {"channel": "a"}, REFUSED, ("history_remove", "108")),
        ):
            self.backend.world.clock.advance(1)
            before = dict(self.backend.errors())
            with capturedLogs() as lines:
                self.assertEqual(self.command(method, body), "")
            found = [each for each in lines if each["log_format"] == message]
            self.assertEqual(len(found), 1, (method, body, lines))
            self.assertEqual(found[0]["consumer"], "source")
            if error is not None:
                counted = self.backend.errors()[error] - before.get(error, 0)
                self.assertEqual(counted, 1)

    def test_bounded_log(self) -> None:
        """A queue full of poison does not fill the log."""
        with capturedLogs() as lines:
            for _ in range(1000):
                self.command("publish", b"{")
        self.assertEqual(len(lines), 5)

    def test_tried_again(self) -> None:
        """Error 100, also of one channel of a broadcast, is to be tried again."""
        self.backend.fail(BrokerUnavailable("away"))
        for method, request in (
            ("publish", {"channel": "a", "data": 1}),
            ("broadcast", {"channels": ["no:a", "a"], "data": 1}),
        ):
            self.assertEqual(self.command(method, request), "internal server error")
        refused = {"channels": ["no:a"], "data": 1}
        self.assertEqual(self.command("broadcast", refused), "")

    def test_publications(self) -> None:
        """One channel is published into, several are broadcast into."""
        first = self.backend.world.subscribed("a")
        second = self.backend.world.subscribed("b")
        options: dict[str, Any] = {"tags": {"t": "1"}, "idempotency_key": "k"}
        for channels in (("a",), ("a",), ("a", "b")):
            outcome = self.dispatcher.publication(channels, b'{"x":1}', **options)
            self.assertEqual(outcome, "")
        publication = {"data": {"x": 1}, "tags": {"t": "1"}}
        self.assertEqual([push["push"]["pub"] for push in first.take()], [publication])
        self.assertEqual([push["push"]["pub"] for push in second.take()], [publication])

    def test_empty_publication(self) -> None:
        """Nothing to publish is a mistake, as for every caller."""
        with capturedLogs() as lines:
            self.assertEqual(self.dispatcher.publication(("a",), b""), "")
        self.assertIn(REFUSED, [each["log_format"] for each in lines])


MALFORMED = "skip malformed consumed message"
UNSUPPORTED = "skip unsupported API command method"
REFUSED = "non retryable error during consuming, skip message"
