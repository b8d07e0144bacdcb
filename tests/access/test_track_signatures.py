"""Signatures by which clients may track keys (client protocol, "Shared poll")."""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred, succeed

from centrifugo_tx.access.map_options import SharedPollOptions
from centrifugo_tx.access.policy import AskKeys
from centrifugo_tx.access.track_signatures import TrackingKeys, sign
from centrifugo_tx.errors import ReplyError
from centrifugo_tx.options import Polled
from centrifugo_tx.protocol.messages import KeyedItem, SubRefreshRequest, TrackBatch

from ..integration.page import DOCS, blocks_of
from .policy_case import NOW, PolicyTestCase, Visitor

KEYS = TrackingKeys("new", "old", NOW - 100)


def signature(
    keys: tuple[str, ...] = ("a", "b"),
    secret: str = "new",
    channel: str = "c",
    user: str = "1",
    iat: int = NOW - 200,
    exp: int = 0,
) -> str:
    """Return a signature as clients have it."""
    made = sign(secret, channel, user, keys, str(iat), str(exp))
    return f"{iat}:{exp}:{made}"


class SignatureTests(PolicyTestCase):
    """Which signatures are good, and until when."""

    def expiry(
        self, signature: str, keys: tuple[str, ...] = ("a", "b"), user: str = "1"
    ) -> int:
        """Return the expiry, or the code of the refusal."""
        batch = TrackBatch(signature, [KeyedItem(key) for key in keys])
        try:
            return KEYS.expiry("c", user, batch, NOW)
        except ReplyError as error:
            return error.error.code

    def test_text(self) -> None:
        """The signed text is the documented one."""
        keys = sha256(b"a\0b").hexdigest()
        text = f"7\x000\x001\0c\0{keys}".encode()
        expected = hmac.new(b"new", text, sha256).hexdigest()
        self.assertEqual(sign("new", "c", "1", ("a", "b"), "7", "0"), expected)

    def test_page(self) -> None:
        """The code that the page on maps shows makes a good signature."""
        page = (DOCS / "maps.rst").read_text()
        (code,) = [each.text for each in blocks_of(page) if each.language == "python"]
        names: dict[str, Any] = {"hmac": hmac, "sha256": sha256, "secret": "new"}
        names |= {"keys": ["a", "b"], "user": "1", "channel": "c"}
        names |= {"iat": NOW - 200, "exp": 0}
        exec(compile(code, "maps.rst", "exec"), names)
        self.assertEqual(self.expiry(names["signature"]), 0)

    def test_good(self) -> None:
        """A signature is good for its keys, in their order, its user and channel."""
        self.assertEqual(self.expiry(signature()), 0)
        for keys in (("b", "a"), ("a",), ("a", "b", "c"), ("a\0b",)):
            refused = keys != ("a\0b",)
            self.assertEqual(self.expiry(signature(), keys), 103 if refused else 0)
        self.assertEqual(self.expiry(signature(), user="2"), 103)
        self.assertEqual(self.expiry(signature(channel="d")), 103)
        self.assertEqual(self.expiry(signature(secret="other")), 103)

    def test_end(self) -> None:
        """It is good until its end, and five seconds more."""
        self.assertEqual(self.expiry(signature(exp=NOW + 60)), NOW + 60)
        self.assertEqual(self.expiry(signature(exp=NOW - 5)), NOW - 5)
        self.assertEqual(self.expiry(signature(exp=NOW - 6)), 109)

    def test_previous_secret(self) -> None:
        """A signature by the previous secret is accepted until its limit."""
        self.assertEqual(self.expiry(signature(secret="old")), 0)
        late = signature(secret="old", iat=NOW - 99)
        self.assertEqual(self.expiry(late), 103)
        self.assertEqual(self.expiry(signature(iat=NOW - 99)), 0)
        batch = TrackBatch(late, [KeyedItem("a"), KeyedItem("b")])
        for_good = TrackingKeys("new", "old")
        self.assertEqual(for_good.expiry("c", "1", batch, NOW), 0)

    def test_no_signature(self) -> None:
        """A malformed signature is refused."""
        for text in ("", "x", "1:2", "1:2:", ":0:", "x:0:ab", "1:-2:ab", "1:\u0662:ab"):
            self.assertEqual(self.expiry(text), 103, text)

    def test_no_secret(self) -> None:
        """Without a secret nothing is good, not even what none signed."""
        batch = TrackBatch(signature(secret=""), [KeyedItem("a"), KeyedItem("b")])
        with self.assertRaises(ReplyError):
            TrackingKeys().expiry("c", "1", batch, NOW)


class PolicyTests(PolicyTestCase):
    """The policy's part in it."""

    def test_track(self) -> None:
        """All batches must be good."""
        policy = self.policy({"subscription_type": "shared_poll"})
        policy.tracking = KEYS
        items = [KeyedItem("a"), KeyedItem("b")]
        good = TrackBatch(signature(exp=NOW + 60), items)
        request = SubRefreshRequest("c", track=[good, TrackBatch(signature(), items)])
        expiries = self.outcome(policy.track(Visitor("1"), request))
        self.assertEqual(expiries, [NOW + 60, 0])
        request = SubRefreshRequest("c", track=[good, TrackBatch("x", items)])
        self.assertEqual(self.outcome(policy.track(Visitor("1"), request)), 103)

    def test_poll(self) -> None:
        """The backend of the namespace is asked, if there is one."""
        own = {"shared_poll": SharedPollOptions(proxy_name="own")}
        policy = self.policy({}, {"nn": own})
        asked: list[Any] = []

        def backend(name: str) -> AskKeys:
            def ask(channel: str, items: Sequence[KeyedItem]) -> "Deferred[Polled]":
                asked.append((name, channel, items))
                return succeed(Polled())

            return ask

        policy.polling = {name: backend(name) for name in ("own", "default")}
        policy.poll("a", [])
        policy.poll("nn:a", [])
        self.assertEqual(asked, [("default", "a", []), ("own", "nn:a", [])])
        self.assertEqual(self.outcome(policy.poll("no:a", [])), 102)
        policy.polling = {}
        self.assertEqual(self.outcome(policy.poll("a", [])), 108)
