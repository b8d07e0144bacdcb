"""Following a channel: requests, reports, and the end of a connection."""

import json
import random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.console.channel_follower import ChannelFollower
from centrifugo_tx.console.outcome import CommandFailed


class MemoryLink:
    """A connection that keeps the sent messages."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.ended = False

    def send_text(self, text: str) -> None:
        """Keep a command."""
        self.sent.append(json.loads(text))

    def end(self) -> None:
        """Take note of the end."""
        self.ended = True


class FollowerCase(SynchronousTestCase):
    """A follower without a network."""

    def setUp(self) -> None:
        self.patch(random, "uniform", lambda low, high: high)
        self.clock = Clock()
        self.links: list[MemoryLink] = []
        self.attempts = 0
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.notices: list[str] = []
        self.ended: list[Exception | None] = []
        self.follower = self.follow()

    def follow(self, **options: Any) -> ChannelFollower:
        """Return a follower of the channel "news"."""
        return ChannelFollower(
            "news",
            "t",
            "s",
            "ws://h",
            self.clock,
            self._attempt,
            lambda kind, event: self.events.append((kind, event)),
            self.notices.append,
            self.ended.append,
            **options,
        )

    def _attempt(self) -> None:
        self.attempts += 1

    def open(self) -> MemoryLink:
        """Open a connection."""
        link = MemoryLink()
        self.links.append(link)
        self.follower.opened(link)
        return link

    def take(self, *replies: object) -> None:
        """Hand over one message of the server."""
        self.follower.received("\n".join(map(json.dumps, replies)))

    def subscribe(self, **result: Any) -> MemoryLink:
        """Open a connection and subscribe."""
        link = self.open()
        self.take({"id": 1, "connect": {"ping": 25, "pong": True}})
        self.take({"id": 2, "subscribe": {"recoverable": True, "epoch": "e", **result}})
        return link

    def failure(self) -> CommandFailed:
        """Return the outcome of the follower."""
        (error,) = self.ended
        assert isinstance(error, CommandFailed)
        return error


class SubscribeTests(FollowerCase):
    """The first connection."""

    def test_commands(self) -> None:
        """Connect and subscribe carry the tokens; a ping is answered."""
        link = self.subscribe(offset=5)
        connect, subscribe = link.sent
        self.assertEqual(connect["connect"]["token"], "t")
        wanted = {"channel": "news", "token": "s", "recoverable": True}
        self.assertEqual(subscribe["subscribe"], wanted)
        self.assertEqual(self.notices, ["subscribed to news at offset 5"])
        self.take({})
        self.assertEqual(link.sent[2:], [{}])

    def test_since(self) -> None:
        """It begins at a position."""
        self.follower = self.follow(offset=3, epoch="e", recovers=True)
        request = self.subscribe().sent[1]["subscribe"]
        self.assertEqual(request["recover"], True)
        self.assertEqual((request["offset"], request["epoch"]), (3, "e"))

    def test_events(self) -> None:
        """Only publications of this channel, and joins only on request."""
        for join_leave in (False, True):
            self.events.clear()
            self.follower = self.follow(join_leave=join_leave)
            link = self.subscribe(publications=[{"data": 0}])
            for push in (
                {"channel": "news", "pub": {"data": 1, "offset": 6}},
                {"channel": "other", "pub": {"data": 2}},
                {"channel": "news", "join": {"info": {}}},
            ):
                self.take({"push": push})
            kinds = ["publication"] * 2 + ["join"] * join_leave
            self.assertEqual([kind for kind, _ in self.events], kinds)
            self.assertEqual("join_leave" in link.sent[1]["subscribe"], join_leave)

    def test_count(self) -> None:
        """It ends after as many publications as wanted, in the middle of a message."""
        self.follower = self.follow(count=2)
        link = self.subscribe()
        push = {"push": {"channel": "news", "pub": {"data": 1}}}
        self.take(push, push, push)
        self.assertEqual((len(self.events), self.ended), (2, [None]))
        self.assertTrue(link.ended)

    def test_errors(self) -> None:
        """A refusal by the server ends the command with its exit code."""
        for reply, code, words in (
            (
                {"id": 1, "error": {"code": 109, "message": "m"}},
                4,
                "connect: error 109",
            ),
            ({"id": 2, "error": {"code": 103, "message": "m"}}, 4, "subscribe to news"),
            ({"id": 2, "error": {"code": 102, "message": "m"}}, 1, "error 102: m"),
            ({"push": {"channel": "news", "unsubscribe": {"code": 2000}}}, 1, "2000"),
            ([], 5, "does not speak this protocol"),
            ({"id": 1, "connect": 5}, 5, "does not speak this protocol"),
        ):
            self.ended.clear()
            self.follower = self.follow()
            self.open()
            self.take(reply)
            self.assertEqual(self.failure().code, code, reply)
            self.assertIn(words, str(self.failure()))

    def test_no_connection(self) -> None:
        """The first connection must succeed."""
        error = CommandFailed("refused", 3)
        self.follower.closed(None, "", error)
        self.assertEqual(self.ended, [error])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silence(self) -> None:
        """A server that does not answer the connect is given up."""
        link = self.open()
        self.clock.advance(9)
        self.assertFalse(link.ended)
        self.clock.advance(1)
        self.assertTrue(link.ended)
        self.follower.closed(None, "")
        self.assertEqual(self.failure().code, 3)


class ReturnTests(FollowerCase):
    """Reconnects after a lost connection."""

    def test_recovery(self) -> None:
        """The follower recovers its position, and prints the missed publications."""
        self.subscribe(offset=5)
        self.take({"push": {"channel": "news", "pub": {"data": 1, "offset": 6}}})
        self.follower.closed(3001, "shutdown")
        self.assertIn("3001: shutdown; reconnecting in 0.5 s", self.notices)
        self.clock.advance(0.5)
        self.assertEqual(self.attempts, 1)
        missed = [{"data": 2, "offset": 7}]
        result = {"publications": missed, "was_recovering": True, "recovered": True}
        link = self.subscribe(**result, offset=7)
        request = link.sent[1]["subscribe"]
        self.assertEqual((request["offset"], request["epoch"]), (6, "e"))
        self.assertEqual(self.events[-1], ("publication", missed[0]))
        self.assertEqual(self.notices[-1], "resubscribed to news at offset 7")
        self.assertEqual(self.follower.offset, 7)

    def test_lost(self) -> None:
        """It says when history did not reach back so far."""
        self.subscribe(offset=5)
        self.follower.closed(None, "")
        self.subscribe(was_recovering=True, offset=9)
        self.assertIn("publications were lost", self.notices[-2])

    def test_delays(self) -> None:
        """Attempts become rarer, up to a bound."""
        self.subscribe()
        self.follower.closed(None, "")
        for attempt, delay in enumerate((0.5, 1, 2, 4, 8, 16, 20, 20), 1):
            self.clock.advance(delay)
            self.assertEqual(self.attempts, attempt)
            self.follower.closed(None, "", CommandFailed("refused", 3))
        self.assertEqual(self.ended, [])

    def test_resubscribe(self) -> None:
        """After an unsubscribe that allows it, the follower resubscribes."""
        link = self.subscribe(offset=5)
        ended = {"code": 2500, "reason": "insufficient state"}
        self.take({"push": {"channel": "news", "unsubscribe": ended}})
        self.assertEqual(link.sent[-1]["subscribe"]["offset"], 5)

    def test_terminal(self) -> None:
        """A disconnect that forbids it ends the command."""
        for code, kind in ((3500, 4), (3503, 1), (4500, 1)):
            self.ended.clear()
            self.follower = self.follow()
            self.subscribe()
            self.follower.closed(code, "why")
            self.assertEqual(self.failure().code, kind)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_pings(self) -> None:
        """A connection without pings is given up."""
        link = self.subscribe()
        for _ in range(3):
            self.clock.advance(25)
            self.take({})
        self.assertFalse(link.ended)
        self.clock.advance(35)
        self.assertTrue(link.ended)

    def test_stop(self) -> None:
        """It ends at any time, without an error."""
        self.subscribe()
        self.follower.closed(None, "")
        self.follower.stop()
        self.assertEqual(self.ended, [None])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(self.open().ended)
