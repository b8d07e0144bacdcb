"""Asking a backend about polled keys (event proxies, "Shared poll refresh")."""

import json
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import Polled
from centrifugo_tx.protocol.messages import KeyedItem
from centrifugo_tx.proxies import Polling
from centrifugo_tx.proxies.http import BackendFailed


class Backend:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.waiting: list[Deferred[bytes]] = []

    def post(self, body: bytes) -> "Deferred[bytes]":
        """Take a question."""
        self.asked.append(json.loads(body))
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def stop(self) -> "Deferred[None]":
        """Note it."""
        self.asked.append("stop")
        return succeed(None)


class PollingTests(SynchronousTestCase):
    """Questions and answers."""

    def setUp(self) -> None:
        self.backend = Backend()
        self.polling = Polling(self.backend, DeferredSemaphore(2))

    def answered(self, answer: str) -> Polled:
        """Return what is made of an answer."""
        polled = self.polling("a", [KeyedItem("k", 3)])
        self.backend.waiting.pop().callback(answer.encode())
        return self.successResultOf(polled)

    def test_question(self) -> None:
        """The question names channel and keys, and versions that are known."""
        self.polling("a", [KeyedItem("k", 3), KeyedItem("l")])
        items = [{"key": "k", "version": 3}, {"key": "l"}]
        self.assertEqual(self.backend.asked, [{"channel": "a", "items": items}])

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
        """An error, or what is no answer, is a failure."""
        for answer in (
            '{"error":{"code":1,"message":"no"}}',
            "",
            "x",
            "[]",
            '{"result":1}',
        ):
            polled = self.polling("a", [KeyedItem("k")])
            self.backend.waiting.pop().callback(answer.encode())
            self.failureResultOf(polled, BackendFailed)

    def test_stop(self) -> None:
        """The backend is told that this is the end."""
        self.successResultOf(self.polling.stop())
        self.assertEqual(self.backend.asked, ["stop"])

    def test_turns(self) -> None:
        """Only so many questions are under way; the others wait."""
        answers = [self.polling("a", [KeyedItem(key)]) for key in "klm"]
        self.assertEqual(len(self.backend.asked), 2)
        self.backend.waiting[0].errback(BackendFailed("away"))
        self.failureResultOf(answers[0], BackendFailed)
        self.assertEqual(len(self.backend.asked), 3)
