"""Channels followed live."""

import json
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.admin.feed import LINE_LIMIT, MOST, RATE
from centrifugo_tx.errors import BrokerUnavailable
from centrifugo_tx.options import SubscribeOptions
from centrifugo_tx.protocol.messages import Raw
from tests.support import Peer

from .admin_session import Body, Page


@define(eq=False)
class _Broker:
    """Agrees when it is let."""

    _agreed: "Deferred[None]"

    def subscribe(self, channel: str) -> "Deferred[None]":
        return self._agreed

    def unsubscribe(self, channel: str) -> "Deferred[None]":
        return succeed(None)


class FeedTests(SynchronousTestCase):
    """A viewer of one channel."""

    def setUp(self) -> None:
        self.page = Page()
        self.page.login()
        self.node = self.page.world.node

    def follow(self, channel: str = "hh:a") -> Body:
        body = json.dumps({"channel": channel}).encode()
        self.assertIsNone(self.page.send("/admin/feed", body))
        return self.page.bodies[-1]

    def publish(self, data: bytes, channel: str = "hh:a") -> None:
        self.node.publish(channel, data)

    def seen(self, body: Body) -> list[Any]:
        """Return the lines that say something, and forget them."""
        lines, body.lines[:] = [line for line in body.lines if line], []
        return lines

    def test_publications(self) -> None:
        """Publications arrive at once, even in a channel without subscribers."""
        body = self.follow()
        self.publish(b'{"n":1}')
        self.publish(b'{"n":2}', "hh:other")
        expected = {"channel": "hh:a", "pub": {"data": {"n": 1}}}
        self.assertEqual(self.seen(body), [expected])

    def test_presence(self) -> None:
        """Joins and leaves are shown."""
        self.page.world.policy.subscription = SubscribeOptions(join_leave=True)
        body = self.follow()
        peer = self.page.world.subscribed("hh:a", "ada")
        peer.ask(unsubscribe={"channel": "hh:a"})
        kinds = [next(iter(set(line) - {"channel"})) for line in self.seen(body)]
        self.assertEqual(kinds, ["join", "leave"])

    def test_map(self) -> None:
        """A map's changes come, too."""
        body = self.follow("mm:a")
        command = {"channel": "mm:a", "key": "k", "data": 1}
        text = json.dumps({"method": "map_publish", "params": command})
        self.page.send("/admin/api", text.encode())
        (line,) = self.seen(body)
        self.assertEqual((line["pub"]["key"], line["pub"]["data"]), ("k", 1))

    def test_not_counted(self) -> None:
        """A viewer is not counted as a subscriber anywhere."""
        self.follow()
        self.assertEqual(self.page.result("channels")["channels"], [])
        self.assertEqual(self.page.result("channel", channel="hh:a")["num_clients"], 0)
        self.assertEqual(self.successResultOf(self.node.channels()), {})
        (own,) = self.successResultOf(self.node.info())
        self.assertEqual((own.num_channels, own.num_subs, own.num_clients), (0, 0, 0))
        peer: Peer = self.page.world.subscribed("hh:a", "ada")
        self.assertEqual(self.successResultOf(self.node.channels()), {"hh:a": 1})
        peer.ask(unsubscribe={"channel": "hh:a"})
        self.assertEqual(self.successResultOf(self.node.channels()), {})

    def test_end(self) -> None:
        """When the viewer has gone, nothing is left of it."""
        body = self.follow()
        body.over.callback(None)
        self.publish(b"{}")
        self.assertEqual(self.seen(body), [])
        self.page.world.clock.pump([1] * 3)
        self.assertNotIn("hh:a", self.node.hub.channels)
        pulses = [
            call
            for call in self.page.world.clock.getDelayedCalls()
            if "_beat" in str(call)
        ]
        self.assertEqual(pulses, [])

    def test_stop(self) -> None:
        """When the server stops, the response ends."""
        body = self.follow()
        self.page.endpoints.feeds.stop()
        self.assertTrue(body.finished)

    def test_rate(self) -> None:
        """Messages beyond the viewer's rate are counted instead of sent."""
        body = self.follow()
        for _ in range(RATE + 50):
            self.publish(b"1")
        self.assertEqual(len(self.seen(body)), RATE)
        self.page.world.clock.advance(1)
        self.publish(b"2")
        skipped, line = self.seen(body)
        self.assertEqual(skipped, {"skipped": 50})
        self.assertEqual(line["pub"]["data"], 2)

    def test_slow(self) -> None:
        """A slow viewer does not block; it receives the number of missed messages."""
        body = self.follow()
        body.producer.pauseProducing()
        for _ in range(10):
            self.publish(b"1")
        self.assertEqual(self.seen(body), [])
        body.producer.resumeProducing()
        self.publish(b"2")
        self.assertEqual(self.seen(body)[0], {"skipped": 10})

    def test_large(self) -> None:
        """Of a large message only the size is shown."""
        body = self.follow()
        self.publish(b'"%b"' % (b"x" * LINE_LIMIT))
        (line,) = self.seen(body)
        self.assertGreater(line["too_large"], LINE_LIMIT)

    def test_binary(self) -> None:
        """A payload that is not JSON is shown without its data."""
        body = self.follow("bb:a")
        self.node.publish("bb:a", Raw(b"\x00\xff"))
        self.assertEqual(self.seen(body), [{"binary": True}])

    def test_broker_away(self) -> None:
        """Nothing is said to be live before the broker has agreed."""
        agreed: Deferred[None] = Deferred()
        self.node.streams.broker_subscriptions._broker = _Broker(agreed)  # type: ignore[assignment]
        body = self.follow()
        self.assertEqual(body.lines, [])
        agreed.callback(None)
        self.assertEqual(body.lines, [{}])

    def test_broker_refuses(self) -> None:
        """If the broker fails, the viewer gets an error, and the response ends."""
        refused: Deferred[None] = Deferred()
        self.node.streams.broker_subscriptions._broker = _Broker(refused)  # type: ignore[assignment]
        body = self.follow()
        refused.errback(BrokerUnavailable("away"))
        (line,) = self.seen(body)
        self.assertEqual(line["error"]["code"], 100)
        self.assertTrue(body.finished)
        self.assertEqual(self.node.hub.channels["hh:a"].subscribers, {})

    def test_pulse(self) -> None:
        """Silence is broken every ten seconds, so that no proxy hangs up."""
        body = self.follow()
        body.lines.clear()
        self.page.world.clock.advance(10)
        self.assertEqual(body.lines, [{}])

    def test_refused(self) -> None:
        """Too many viewers get 503, and unknown channels an error."""
        answer = self.page.send("/admin/feed", b'{"channel":"xx:a"}')
        self.assertEqual(json.loads(answer.body)["error"]["code"], 102)
        for body in (b"", b"{}", b"x", b'{"channel":""}'):
            self.assertEqual(self.page.send("/admin/feed", body).status, 400)
        for number in range(MOST):
            self.follow(f"hh:{number}")
        answer = self.page.send("/admin/feed", b'{"channel":"hh:a"}')
        self.assertEqual(answer.status, 503)
        self.page.bodies[-1].over.callback(None)
        self.follow()
