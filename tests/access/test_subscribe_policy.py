"""Which channels a client may have.

See permissions, "Subscribing" and "Refreshing tokens".
"""

from typing import Any

from centrifugo_tx.options import Expiry, Source, SubscribeOptions
from centrifugo_tx.protocol.messages import (
    EMPTY,
    FilterNode,
    SubRefreshRequest,
    SubscribeRequest,
)

from .policy_case import KEY, NOW, OPTIONS, PolicyTestCase, Visitor, b64, token

OPEN = {"allow_subscribe_for_client": True}
LIMITED = {"allow_user_limited_channels": True}
HISTORY = {"history_size": 5, "history_ttl": 60.0}
INSECURE: OPTIONS = {"access": {"insecure": True}}
#: More than any token ever is, and a year at most (seconds).
YEAR = 365 * 24 * 3600


class SubscribeTestCase(PolicyTestCase):
    """Subscribes visitors."""

    def subscribe(
        self,
        channel: str,
        options: OPTIONS | None = None,
        claims: OPTIONS | None = None,
        user: str = "1",
        access: OPTIONS | None = None,
        **request: Any,
    ) -> Any:
        """Ask for a channel, with a token if there are claims."""
        if claims is not None:
            request["token"] = token(claims)
        policy = self.policy(options, {"ns": options or {}}, access=access)
        asked = SubscribeRequest(channel=channel, **request)
        return self.outcome(policy.subscribe(Visitor(user), asked))

    def source(self, *arguments: Any, **more: Any) -> Any:
        """Return why the channel was allowed, or the code of the refusal."""
        result = self.subscribe(*arguments, **more)
        return result if isinstance(result, int) else ("allowed", result.source)


class DecisionTests(SubscribeTestCase):
    """The rules without tokens (permissions, "Subscribing")."""

    def test_rows(self) -> None:
        """Every row decides as it says."""
        client = ("allowed", Source.CLIENT_ALLOWED)
        limited = ("allowed", Source.USER_LIMITED)
        insecure = ("allowed", Source.CLIENT_INSECURE)
        anonymous = {**OPEN, "allow_subscribe_for_anonymous": True}
        poll = {"subscription_type": "shared_poll"}
        proxy = {"subscribe_proxy_enabled": True}
        stream = {"subscribe_stream_proxy_enabled": True}
        rows: tuple[tuple[str, str, OPTIONS, OPTIONS, Any], ...] = (
            ("1", "no:a", OPEN, {}, 102),
            ("1 insecure", "no:a", OPEN, INSECURE, 102),
            ("2", "caf\u00e9", OPEN, {}, 107),
            ("2 insecure", "caf\u00e9", {}, INSECURE, 107),
            ("2 regex", "ns:abc", {**OPEN, "channel_regex": "^[0-9]+$"}, {}, 107),
            ("2 regex", "ns:ой", {**OPEN, "channel_regex": "^.+$"}, {}, client),
            ("2 before 3", "caf\u00e9", OPEN, {"type": 1}, 107),
            ("3 map", "a", OPEN, {"type": 1}, 103),
            ("3 unknown", "a", OPEN, {"type": 9}, 103),
            ("3 stream", "a", {**OPEN, "subscription_type": "stream"}, {}, client),
            ("3 in map", "a", {**OPEN, "subscription_type": "map"}, {}, 103),
            ("3 shared poll", "a", OPEN, {"type": 4}, 108),
            ("3 before 1", "no:a", OPEN, {"type": 4}, 108),
            ("3 before 2", "caf\u00e9", OPEN, {"type": 4}, 108),
            ("3 not polled", "a", {**OPEN, **poll}, {}, 107),
            ("3 not polled", "a", {**OPEN, **poll}, {"type": 1}, 107),
            ("4", "$a", OPEN, {}, 103),
            ("4", "$ns:a", OPEN, {}, 103),
            ("4 insecure", "$a", {}, INSECURE, 103),
            ("6", "d#1,2", LIMITED, {}, limited),
            ("6 anonymous", "d#", LIMITED, {"user": ""}, limited),
            ("6 before 7", "d#1", {**LIMITED, **proxy}, {}, limited),
            ("6 off", "d#2", OPEN, {}, client),
            ("7", "a", {**OPEN, **proxy}, {}, 108),
            ("7 insecure", "a", proxy, INSECURE, 108),
            ("7 not for limited", "d#2", {**LIMITED, **proxy}, {}, 103),
            ("8", "a", {**OPEN, **stream}, {}, 108),
            ("8 not for limited", "d#2", {**LIMITED, **stream}, {}, 103),
            ("9", "a", OPEN, {}, client),
            ("9 anonymous", "a", OPEN, {"user": ""}, 103),
            ("9 anonymous", "a", anonymous, {"user": ""}, client),
            ("9 for anonymous alone", "a", {**anonymous, **OPEN}, {}, client),
            ("9 not", "a", {"allow_subscribe_for_anonymous": True}, {}, 103),
            ("9 limited", "d#2", {**OPEN, **LIMITED}, {}, 103),
            ("10", "a", {}, INSECURE, insecure),
            ("10 limited", "d#2", LIMITED, INSECURE, insecure),
            ("10 after 9", "a", OPEN, INSECURE, client),
            ("11", "a", {}, {}, 103),
        )
        for row, channel, options, more, expected in rows:
            with self.subTest(row=row, channel=channel):
                self.assertEqual(self.source(channel, options, **more), expected)

    def test_no_end(self) -> None:
        """A subscription without token lasts."""
        self.assertEqual(self.subscribe("a", OPEN).expire_at, 0)


class TokenTests(SubscribeTestCase):
    """A token takes precedence over the namespace (permissions, "Subscribing")."""

    def test_rows(self) -> None:
        """Each kind of token has its outcome, also in an open channel."""
        good: OPTIONS = {"sub": "1", "channel": "$a"}
        allowed = ("allowed", Source.SUBSCRIPTION_TOKEN)
        for claims, expected in (
            (good, allowed),
            ({**good, "client": "client-1"}, allowed),
            ({**good, "client": None, "b64data": None}, allowed),
            ({**good, "exp": NOW - 1}, 109),
            ({**good, "exp": NOW}, 109),
            ({**good, "nbf": NOW + 1}, 109),
            ({"sub": "1", "exp": NOW - 1}, 109),
            ({"sub": "1"}, 103),
            ({**good, "sub": 1}, 103),
            ({**good, "b64info": "!"}, 103),
            ({**good, "b64data": "!"}, 103),
            ({**good, "channel": "no:a"}, 102),
            ({**good, "channel": "$b"}, 3500),
            ({**good, "sub": "2"}, 3500),
            ({"channel": "$a"}, 3500),
            ({**good, "client": "other"}, 3500),
        ):
            self.assertEqual(self.source("$a", OPEN, claims), expected, claims)
        self.assertEqual(self.source("a", OPEN, token="rubbish"), 103)

    def test_anywhere(self) -> None:
        """A token works in any namespace, but the name must be valid there."""
        proxies = {"subscribe_proxy_enabled": True, "subscription_type": ""}
        for channel, options, expected in (
            ("a", {}, Source.SUBSCRIPTION_TOKEN),
            ("d#2", LIMITED, Source.SUBSCRIPTION_TOKEN),
            ("a", proxies, Source.SUBSCRIPTION_TOKEN),
            ("caf\u00e9", {}, 107),
            ("a", {"subscription_type": "map"}, 103),
        ):
            claims = {"sub": "1", "channel": channel}
            result = self.subscribe(channel, options, claims)
            found = result if isinstance(result, int) else result.source
            self.assertEqual(found, expected, (channel, options))

    def test_anonymous(self) -> None:
        """A token may be for an anonymous user, also one without sub."""
        for claims in ({"channel": "a"}, {"channel": "a", "sub": ""}):
            self.assertEqual(self.source("a", {}, claims, user="")[0], "allowed")

    def test_options(self) -> None:
        """A token brings info, data, an end, and overrides."""
        claims = {
            **{"sub": "1", "channel": "$a", "exp": NOW + 60},
            **{"info": 5, "b64info": b64('"i"'), "data": {"d": 1}},
            "override": {
                "force_positioning": {"value": True},
                "join_leave": {"value": True},
                "presence": {"value": False},
            },
        }
        options = {"presence": True, "force_push_join_leave": True}
        expected = SubscribeOptions(
            expire_at=NOW + 60,
            info=EMPTY,
            join_leave=True,
            push_join_leave=True,
            positioned=True,
            source=Source.SUBSCRIPTION_TOKEN,
        )
        result = self.subscribe("$a", options, claims)
        self.assertEqual((bytes(result.info), bytes(result.data)), (b'"i"', b'{"d":1}'))
        for name in SubscribeOptions.__struct_fields__:
            if name not in ("info", "data"):
                found = getattr(result, name)
                self.assertEqual(found, getattr(expected, name), name)

    def test_end(self) -> None:
        """expire_at wins over exp; not positive means never; a year is the most."""
        for claims, end in (
            ({"exp": NOW + 60}, NOW + 60),
            ({"exp": NOW + 60, "expire_at": NOW + 90}, NOW + 90),
            ({"exp": NOW + 60, "expire_at": 0}, 0),
            ({"exp": NOW + 2 * YEAR}, NOW + YEAR),
            ({"expire_at": NOW - 5}, NOW - 5),
            ({}, 0),
        ):
            given = {"sub": "1", "channel": "a", **claims}
            self.assertEqual(self.subscribe("a", {}, given).expire_at, end, claims)

    def test_own_verifier(self) -> None:
        """Subscription tokens may have keys of their own."""
        own = self.verifier(hmac_secret_key="own-" + KEY)
        policy = self.policy(subscription_tokens=own)
        claims = {"sub": "1", "channel": "a"}
        for key, code in (("own-" + KEY, 0), (KEY, 103)):
            request = SubscribeRequest(channel="a", token=token(claims, key))
            result = self.outcome(policy.subscribe(Visitor("1"), request))
            self.assertEqual(result if code else 0, code)


class WishTests(SubscribeTestCase):
    """Requests for extras (permissions, "Granted extras")."""

    def test_rows(self) -> None:
        """Permitted extras are granted, others are silently off."""
        reader = {"allow_history_for_subscriber": True}
        watcher = {"allow_presence_for_subscriber": True}
        joins = {"join_leave": True}
        rows: tuple[tuple[str, str, OPTIONS, bool], ...] = (
            ("positioned", "positioned", {}, False),
            ("positioned", "positioned", HISTORY, False),
            ("positioned", "positioned", {"allow_positioning": True}, True),
            ("positioned", "positioned", {"allow_recovery": True}, False),
            ("positioned", "positioned", reader, True),
            ("positioned", "positioned", {"allow_history_for_client": True}, True),
            ("recoverable", "recoverable", HISTORY, False),
            ("recoverable", "recoverable", {"allow_recovery": True}, True),
            ("recoverable", "recoverable", {"allow_positioning": True}, False),
            ("recoverable", "recoverable", {**HISTORY, **reader}, True),
            ("join_leave", "push_join_leave", joins, False),
            ("join_leave", "push_join_leave", watcher, False),
            ("join_leave", "push_join_leave", {**joins, **watcher}, True),
            (
                "join_leave",
                "push_join_leave",
                {**joins, "allow_presence_for_client": True},
                True,
            ),
        )
        claims = {"sub": "1", "channel": "a"}
        for wish, attribute, options, granted in rows:
            with self.subTest(wish=wish, options=options):
                asked: OPTIONS = {wish: True}
                result = self.subscribe("a", {**OPEN, **options}, **asked)
                self.assertIs(getattr(result, attribute), granted)
                result = self.subscribe("a", options, claims, **asked)
                self.assertIs(getattr(result, attribute), granted, "by token")
                result = self.subscribe("a", {**OPEN, **options})
                self.assertIs(getattr(result, attribute), False, "not asked for")

    def test_anonymous(self) -> None:
        """Anonymous users need the right for them, too."""
        rights = {
            **{"allow_history_for_subscriber": True, "join_leave": True},
            **{"allow_presence_for_subscriber": True},
            **{**OPEN, "allow_subscribe_for_anonymous": True},
        }
        more = {
            "allow_history_for_anonymous": True,
            "allow_presence_for_anonymous": True,
        }
        for options, granted in ((rights, False), ({**rights, **more}, True)):
            result = self.subscribe(
                "a", options, user="", positioned=True, join_leave=True
            )
            self.assertIs(result.positioned, granted)
            self.assertIs(result.push_join_leave, granted)

    def test_insecure(self) -> None:
        """In insecure mode everything is granted that exists."""
        wishes: OPTIONS = {"positioned": True, "recoverable": True, "join_leave": True}
        result = self.subscribe("a", {"join_leave": True}, **wishes, **INSECURE)
        self.assertTrue(
            result.positioned and result.recoverable and result.push_join_leave
        )
        result = self.subscribe("a", {}, **wishes, **INSECURE)
        self.assertFalse(result.push_join_leave)

    def test_forced(self) -> None:
        """Forced options need no request."""
        forced = {
            **{"force_positioning": True, "force_recovery": True},
            **{"force_recovery_mode": "cache", "force_push_join_leave": True},
            **{"presence": True, "join_leave": True, "history_meta_ttl": 90.0},
        }
        expected = SubscribeOptions(
            presence=True,
            join_leave=True,
            push_join_leave=True,
            positioned=True,
            recoverable=True,
            recovery_mode="cache",
            history_meta_ttl=90.0,
            source=Source.CLIENT_ALLOWED,
        )
        self.assertEqual(self.subscribe("a", {**OPEN, **forced}), expected)

    def test_auto_recover(self) -> None:
        """A wish to recover is enough to get the latest publication unasked."""
        cache = {
            **{**OPEN, "force_recovery_mode": "cache", "auto_cache_recover": True},
            "allow_recovery": True,
        }
        self.assertTrue(self.subscribe("a", cache, recoverable=True).auto_recover)
        self.assertFalse(self.subscribe("a", cache).auto_recover)

    def test_delta(self) -> None:
        """Deltas are those of the namespace."""
        for kinds in ((), ("fossil",)):
            result = self.subscribe("a", {**OPEN, "allowed_delta_types": kinds})
            self.assertEqual(result.delta_types, kinds)

    def test_filter(self) -> None:
        """A filter by tags needs the namespace's consent, after the channel's."""
        wish: OPTIONS = {"tf": FilterNode(key="a", cmp="ex")}
        self.assertEqual(self.subscribe("a", OPEN, **wish), 107)
        self.assertEqual(self.subscribe("a", {}, **wish), 103)
        allowed = {**OPEN, "allow_tags_filter": True}
        self.assertTrue(self.subscribe("a", allowed, **wish).tags_filter)


class SubRefreshTests(PolicyTestCase):
    """A subscription that is to live on (permissions, "Refreshing tokens")."""

    def refresh(self, given: OPTIONS | str, channel: str = "a", user: str = "1") -> Any:
        """Refresh the subscription of *user*."""
        given = given if isinstance(given, str) else token(given)
        request = SubRefreshRequest(channel=channel, token=given)
        return self.outcome(self.policy().sub_refresh(Visitor(user), request))

    def test_refreshed(self) -> None:
        """A new token tells the new end and info."""
        claims = {"sub": "1", "channel": "a", "exp": NOW + 60, "info": {"i": 1}}
        expiry = self.refresh(claims)
        self.assertEqual(bytes(expiry.info), b'{"i":1}')
        self.assertEqual((expiry.expired, expiry.expire_at), (False, NOW + 60))
        self.assertEqual(self.refresh({**claims, "expire_at": 0}).expire_at, 0)

    def test_refusals(self) -> None:
        """Each wrong token has its code."""
        good: OPTIONS = {"sub": "1", "channel": "a", "exp": NOW + 60}
        for claims, code in (
            ({**good, "exp": NOW - 1}, 110),
            ({**good, "expire_at": NOW - 1}, 110),
            ({**good, "expire_at": NOW}, 110),
            ({**good, "channel": "b"}, 3500),
            ({**good, "sub": "2"}, 3500),
            ({**good, "client": "x"}, 3500),
            ({**good, "b64info": "!"}, 3500),
            ({**good, "channel": "no:a"}, 102),
            ({"sub": "1"}, 3500),
            ("rubbish", 3500),
        ):
            self.assertEqual(self.refresh(claims), code, claims)

    def test_without_channel(self) -> None:
        """The channel may be left to the token."""
        claims = {"sub": "1", "channel": "a"}
        expected = Expiry(channels=frozenset({"a"}))
        self.assertEqual(self.refresh(claims, channel=""), expected)
        self.assertEqual(self.refresh({"sub": "1"}, channel=""), 3500)
