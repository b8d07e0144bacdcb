"""Asking a backend about polled keys (event proxies, "Shared poll refresh")."""

import msgspec
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.metrics import Metrics
from centrifugo_tx.options import Polled
from centrifugo_tx.protocol.messages import KeyedItem
from centrifugo_tx.proxies import BackendFailed, EventProxy, Polling, ProxyOptions
from centrifugo_tx.proxies.http import decode_response
from centrifugo_tx.proxy_messages import SHARED_POLL_REFRESH

from .scripted_client import ScriptedClient


class PollingTests(SynchronousTestCase):
    """Questions and answers."""

    def setUp(self) -> None:
        self.backend, self.metrics = ScriptedClient(), Metrics()
        proxy = EventProxy(
            *(SHARED_POLL_REFRESH, "default", self.backend, ProxyOptions()),
            *(Clock(), self.metrics),
        )
        self.polling = Polling(proxy, self.metrics, DeferredSemaphore(2))

    def answered(self, answer: str) -> Polled:
        """Return the result for a response."""
        polled = self.polling("a", [KeyedItem("k", 3)])
        self.answer(answer)
        return self.successResultOf(polled)

    def answer(self, answer: str) -> None:
        """Answer the last question."""
        waiting = self.backend.waiting.pop()
        try:
            response = decode_response(SHARED_POLL_REFRESH, answer.encode())
        except BackendFailed as failure:
            waiting.errback(failure)
        else:
            waiting.callback(response)

    def test_question(self) -> None:
        """The question names channel and keys, and versions that are known."""
        self.polling("a", [KeyedItem("k", 3), KeyedItem("l")])
        [(_, request, headers)] = self.backend.asked
        body = b'{"channel":"a","items":[{"key":"k","version":3},{"key":"l"}]}'
        self.assertEqual(msgspec.json.encode(request), body)
        self.assertEqual(headers, {})

    def test_answer(self) -> None:
        """Keys come with data as it is, and version, or removed."""
        polled = self.answered(
            '{"result":{"items":[{"key":"k","data":{"a": 1},"version":4},'
            '{"key":"l","removed":true}],"epoch":"e"}}'
        )
        self.assertEqual(polled.epoch, "e")
        first, second = polled.items
        self.assertEqual((first.key, first.version), ("k", 4))
        self.assertEqual(bytes(first.data), b'{"a": 1}')
        self.assertEqual((second.key, second.removed), ("l", True))

    def test_nothing(self) -> None:
        """An answer without a result, or without items, says nothing."""
        for answer in ("{}", '{"result":null}', '{"result":{}}', '{"Result":{}}'):
            self.assertEqual(self.answered(answer), Polled())

    def test_lenient(self) -> None:
        """Names are read in any case, and unknown ones ignored."""
        polled = self.answered('{"more":1,"RESULT":{"Items":[{"Key":"k","x":0}]}}')
        self.assertEqual([item.key for item in polled.items], ["k"])

    def test_failures(self) -> None:
        """An error, or a malformed response, is a failure."""
        for answer in (
            '{"error":{"code":1,"message":"no"}}',
            "",
            "x",
            "[]",
            '{"result":1}',
        ):
            polled = self.polling("a", [KeyedItem("k")])
            self.answer(answer)
            self.failureResultOf(polled, BackendFailed)
        labels = {"protocol": "http", "type": "shared_poll_refresh", "name": "default"}
        errors = self.metrics.counter("proxy_errors", **labels)
        self.assertEqual(errors.value, 5)

    def test_items(self) -> None:
        """The keys of questions and answers are counted."""
        self.answered('{"result":{"items":[{"key":"k"},{"key":"l"}]}}')
        for name, count in (("request", 1), ("response", 2)):
            family = f"shared_poll_proxy_{name}_items"
            histogram = self.metrics.histogram(family, name="default")
            self.assertEqual((sum(histogram.counts), histogram.sum), (1, count))

    def test_stop(self) -> None:
        """Stopping the polls stops the backend."""
        self.successResultOf(self.polling.stop())
        self.assertTrue(self.backend.stopped)

    def test_turns(self) -> None:
        """Only so many questions are under way; the others wait."""
        answers = [self.polling("a", [KeyedItem(key)]) for key in "klm"]
        self.assertEqual(len(self.backend.asked), 2)
        self.backend.waiting[0].errback(BackendFailed("away"))
        self.failureResultOf(answers[0], BackendFailed)
        self.assertEqual(len(self.backend.asked), 3)
