"""Which channels a client may have, and what it may do there (4 to 8)."""

from typing import Any

from centrifugo_tx.errors import DisconnectClient
from centrifugo_tx.options import Source
from centrifugo_tx.protocol.messages import (
    EMPTY,
    FilterNode,
    HistoryRequest,
    PublishRequest,
    Raw,
    RPCRequest,
    SubRefreshRequest,
    SubscribeRequest,
)

from .support import NOW, PolicyTestCase, Visitor, b64, token

OPEN = {"allow_subscribe_for_client": True}
HISTORY = {"history_size": 5, "history_ttl": 60.0}


class SubscribeTests(PolicyTestCase):
    """Decision on subscribe (5)."""

    def subscribe(
        self,
        channel: str,
        options: dict[str, Any] | None = None,
        user: str = "1",
        access: dict[str, Any] | None = None,
        **request: Any,
    ) -> Any:
        policy = self.policy(options, {"ns": options or {}}, **access or {})
        asked = SubscribeRequest(channel=channel, **request)
        return self.outcome(policy.subscribe(Visitor(user), asked))

    def source(self, *arguments: Any, **more: Any) -> Any:
        result = self.subscribe(*arguments, **more)
        return result if isinstance(result, int) else ("source", result.source)

    def test_rows(self) -> None:
        """Every row of the table."""
        limited = {"allow_user_limited_channels": True}
        insecure = {"access": {"insecure": True}}
        allowed = "source"
        for row, arguments, more, expected in (
            ("unknown namespace", ("no:a", OPEN), {}, 102),
            ("not ASCII", ("ой", OPEN), {}, 107),
            ("regex", ("ns:abc", {**OPEN, "channel_regex": "^[0-9]+$"}), {}, 107),
            (
                "regex, not ASCII",
                ("ns:ой", {**OPEN, "channel_regex": "^.+$"}),
                {},
                (allowed, Source.CLIENT_ALLOWED),
            ),
            ("wrong type", ("a", OPEN), {"type": 1}, 103),
            ("shared poll elsewhere", ("a", OPEN), {"type": 4}, 108),
            ("private", ("$a", OPEN), {}, 103),
            ("not open", ("a", {}), {}, 103),
            ("open", ("a", OPEN), {}, (allowed, Source.CLIENT_ALLOWED)),
            ("open, anonymous", ("a", OPEN), {"user": ""}, 103),
            (
                "open to anonymous",
                ("a", {**OPEN, "allow_subscribe_for_anonymous": True}),
                {"user": ""},
                (allowed, Source.CLIENT_ALLOWED),
            ),
            (
                "anonymous alone grants nothing",
                ("a", {"allow_subscribe_for_anonymous": True}),
                {},
                103,
            ),
            ("listed", ("d#1,2", limited), {}, (allowed, Source.USER_LIMITED)),
            ("not listed", ("d#3,2", {**limited, **OPEN}), {}, 103),
            ("the empty user", ("d#", limited), {"user": ""}, (allowed, 5)),
            ("limits off", ("d#2", OPEN), {}, (allowed, Source.CLIENT_ALLOWED)),
            ("proxy", ("a", {"subscribe_proxy_enabled": True}), {}, 108),
            ("insecure", ("a", {}), insecure, (allowed, Source.CLIENT_INSECURE)),
            ("insecure private", ("$a", {}), insecure, 103),
            ("filter", ("a", OPEN), {"tf": FilterNode(op="and")}, 107),
        ):
            with self.subTest(row=row):
                self.assertEqual(self.source(*arguments, **more), expected)

    def test_tokens(self) -> None:
        """A token decides, whatever the namespace says."""
        good = {"sub": "1", "channel": "$a"}
        for claims, expected in (
            (good, ("source", Source.SUBSCRIPTION_TOKEN)),
            ({**good, "exp": NOW - 1}, 109),
            ({**good, "channel": "$b"}, 3500),
            ({**good, "sub": "2"}, 3500),
            ({**good, "client": "other"}, 3500),
            ({**good, "client": "client-1"}, ("source", 3)),
            ({"sub": "1"}, 103),
            ({**good, "b64info": "!"}, 103),
        ):
            with self.subTest(claims=claims):
                self.assertEqual(self.source("$a", token=token(**claims)), expected)
        self.assertEqual(self.source("a", OPEN, token="rubbish"), 103)

    def test_token_options(self) -> None:
        """A token brings info, data, an end, and overrides."""
        claims = {
            "sub": "1",
            "channel": "$a",
            "exp": NOW + 60,
            "b64info": b64('"i"'),
            "data": {"d": 1},
            "override": {"force_positioning": {"value": True}},
        }
        options = self.subscribe("$a", token=token(**claims))
        self.assertEqual(
            (options.expire_at, bytes(options.info), bytes(options.data)),
            (NOW + 60, b'"i"', b'{"d":1}'),
        )
        self.assertTrue(options.positioned)
        options = self.subscribe("$a", token=token(**{**claims, "expire_at": 0}))
        self.assertEqual(options.expire_at, 0)

    def test_wishes(self) -> None:
        """What is asked for is granted where it is allowed, else it is silently off."""
        presence = {"presence": True, "allow_presence_for_subscriber": True}
        for wish, options, attribute, granted in (
            ("positioned", {}, "positioned", False),
            ("positioned", {"allow_positioning": True}, "positioned", True),
            ("recoverable", {"allow_recovery": True, **HISTORY}, "recoverable", True),
            ("recoverable", HISTORY, "recoverable", False),
            (
                "recoverable",
                {**HISTORY, "allow_history_for_subscriber": True},
                "recoverable",
                True,
            ),
            ("join_leave", {"join_leave": True}, "push_join_leave", False),
            ("join_leave", {"join_leave": True, **presence}, "push_join_leave", True),
            ("join_leave", presence, "push_join_leave", False),
        ):
            with self.subTest(wish=wish, options=options):
                result = self.subscribe("a", {**OPEN, **options}, **{wish: True})
                self.assertIs(bool(getattr(result, attribute)), granted)

    def test_forced(self) -> None:
        """What is forced needs no wish."""
        options = self.subscribe(
            "a",
            {
                **OPEN,
                **HISTORY,
                "force_recovery": True,
                "force_recovery_mode": "cache",
                "force_push_join_leave": True,
                "presence": True,
                "join_leave": True,
            },
        )
        self.assertTrue(options.recoverable and options.push_join_leave)
        self.assertTrue(options.presence and options.join_leave)
        self.assertEqual(options.recovery_mode, "cache")


class SubRefreshTests(PolicyTestCase):
    """A subscription that is to live on (3.6)."""

    def refresh(self, given: str, channel: str = "a") -> Any:
        request = SubRefreshRequest(channel=channel, token=given)
        return self.outcome(self.policy().sub_refresh(Visitor("1"), request))

    def test_rows(self) -> None:
        """Every row of the table."""
        good = {"sub": "1", "channel": "a", "exp": NOW + 60}
        self.assertEqual(self.refresh(token(**good)).expire_at, NOW + 60)
        for claims, code in (
            ({**good, "exp": NOW - 1}, 110),
            ({**good, "expire_at": NOW - 1}, 110),
            ({**good, "channel": "b"}, 3500),
            ({**good, "sub": "2"}, 3500),
            ({**good, "client": "x"}, 3500),
            ({"sub": "1"}, 3500),
        ):
            self.assertEqual(self.refresh(token(**claims)), code, claims)
        self.assertEqual(self.refresh("rubbish"), 3500)

    def test_without_channel(self) -> None:
        """The channel may be left to the token."""
        expiry = self.refresh(token(sub="1", channel="a"), channel="")
        self.assertEqual(expiry.channels, frozenset({"a"}))


class PublishTests(PolicyTestCase):
    """Decision on publish (6)."""

    def publish(
        self,
        options: dict[str, Any],
        channel: str = "a",
        user: str = "1",
        data: bytes = b"1",
        subscribed: bool = False,
        **access: Any,
    ) -> Any:
        policy = self.policy(options, **access)
        visitor = Visitor(user, channels=(channel,) if subscribed else ())
        request = PublishRequest(channel, Raw(data) if data else EMPTY)
        return self.outcome(policy.publish(visitor, request))

    def test_rows(self) -> None:
        """Every row of the table."""
        client = {"allow_publish_for_client": True}
        subscriber = {"allow_publish_for_subscriber": True}
        for row, options, more, code in (
            ("unknown namespace", client, {"channel": "no:a"}, 102),
            ("invalid name", client, {"channel": "ой"}, 107),
            ("empty", client, {"data": b""}, 107),
            (
                "no object",
                {**client, "publication_data_format": "json_object"},
                {},
                107,
            ),
            (
                "no JSON",
                {**client, "publication_data_format": "json"},
                {"data": b"{"},
                107,
            ),
            ("proxy", {**client, "publish_proxy_enabled": True}, {}, 108),
            ("stream", {**client, "subscribe_stream_proxy_enabled": True}, {}, 108),
            ("anonymous", client, {"user": ""}, 103),
            ("not subscribed", subscriber, {}, 103),
            ("nothing allowed", {}, {"subscribed": True}, 103),
        ):
            with self.subTest(row=row):
                self.assertEqual(self.publish(options, **more), code)

    def test_allowed(self) -> None:
        """What is allowed gets the namespace's options."""
        anonymous = {"allow_publish_for_anonymous": True}
        for options, more in (
            ({"allow_publish_for_client": True}, {}),
            ({"allow_publish_for_client": True, **anonymous}, {"user": ""}),
            ({"allow_publish_for_subscriber": True}, {"subscribed": True}),
            ({}, {"insecure": True}),
        ):
            result = self.publish({**options, **HISTORY, "delta_publish": True}, **more)
            self.assertEqual((result.history_size, result.delta), (5, True), options)


class ReadTests(PolicyTestCase):
    """Presence and history (7), RPC and messages (8)."""

    def ask(
        self,
        what: str,
        options: dict[str, Any],
        channel: str = "a",
        user: str = "1",
        subscribed: bool = False,
        **access: Any,
    ) -> Any:
        policy = self.policy(options, **access)
        visitor = Visitor(user, channels=(channel,) if subscribed else ())
        if what == "presence":
            return self.outcome(policy.presence(visitor, channel))
        request = HistoryRequest(channel, limit=7)
        return self.outcome(policy.history(visitor, request))

    def test_rows(self) -> None:
        """Every row of both tables."""
        for what, on in (("presence", {"presence": True}), ("history", HISTORY)):
            client = {f"allow_{what}_for_client": True}
            subscriber = {f"allow_{what}_for_subscriber": True}
            anonymous = {f"allow_{what}_for_anonymous": True}
            for row, options, more, code in (
                ("unknown", {**on, **client}, {"channel": "no:a"}, 102),
                ("invalid", {**on, **client}, {"channel": "ой"}, 107),
                ("off", client, {}, 108),
                ("client", {**on, **client}, {}, 0),
                ("anonymous", {**on, **client}, {"user": ""}, 103),
                ("anonymous may", {**on, **client, **anonymous}, {"user": ""}, 0),
                ("subscriber", {**on, **subscriber}, {"subscribed": True}, 0),
                ("no subscriber", {**on, **subscriber}, {}, 103),
                ("insecure", on, {"insecure": True}, 0),
                ("nothing", on, {"subscribed": True}, 103),
            ):
                with self.subTest(what=what, row=row):
                    result = self.ask(what, options, **more)
                    self.assertEqual(result if isinstance(result, int) else 0, code)

    def test_history_limit(self) -> None:
        """More than the limit, or all, is cut to the limit."""
        policy = self.policy({**HISTORY, "allow_history_for_client": True})
        for asked, given in ((7, 7), (0, 0), (-1, 300), (1000, 300)):
            request = HistoryRequest("a", limit=asked)
            query = self.outcome(policy.history(Visitor("1"), request))
            self.assertEqual(query.limit, given)

    def test_rpc(self) -> None:
        """Only the built-in ping is answered, if it is on."""
        policy = self.policy()
        call = RPCRequest(method="ping")
        self.assertEqual(self.outcome(policy.rpc(Visitor(), call)), 108)
        policy = self.policy(rpc_ping_method="ping")
        self.assertIs(self.outcome(policy.rpc(Visitor(), call)), EMPTY)
        other = RPCRequest(method="other")
        self.assertEqual(self.outcome(policy.rpc(Visitor(), other)), 104)

    def test_message(self) -> None:
        """Messages end the connection with 3508."""
        with self.assertRaises(DisconnectClient) as caught:
            self.policy().message(Visitor(), Raw(b"1"))
        self.assertEqual(caught.exception.disconnect.code, 3508)
