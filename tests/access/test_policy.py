"""Permissions of clients in channels and for calls.

See permissions, "Publishing", "Presence and history" and "RPC and messages".
"""

from typing import Any

from centrifugo_tx.access import ChannelRules
from centrifugo_tx.access.map_options import MapOptions
from centrifugo_tx.errors import DisconnectClient, ReplyError
from centrifugo_tx.options import HistoryQuery, MapRules, PublishOptions
from centrifugo_tx.protocol.messages import (
    EMPTY,
    HistoryRequest,
    PublishRequest,
    Raw,
    RPCRequest,
    StreamPosition,
)

from .policy_case import OPTIONS, PolicyTestCase, Visitor

HISTORY = {"history_size": 5, "history_ttl": 60.0}
Rows = tuple[tuple[str, OPTIONS, OPTIONS, int], ...]


class ChannelTests(PolicyTestCase):
    """The options that the server API asks for."""

    def test_channel(self) -> None:
        """A channel has the options of its namespace; names are not checked."""
        policy = self.policy({}, {"ns": HISTORY})
        self.assertFalse(policy.channel("caf\u00e9").history)
        self.assertTrue(policy.channel("ns:caf\u00e9").history)
        error = self.assertRaises(ReplyError, policy.channel, "no:a")
        self.assertEqual(error.error.code, 102)


class PublishTests(PolicyTestCase):
    """Decision on publish (permissions, "Publishing")."""

    def publish(
        self,
        options: OPTIONS,
        channel: str = "a",
        user: str = "1",
        data: bytes = b"1",
        subscribed: bool = False,
        **access: Any,
    ) -> Any:
        """Ask to publish."""
        policy = self.policy(options, access=access)
        visitor = Visitor(user, channels=(channel,) if subscribed else ())
        request = PublishRequest(channel, Raw(data) if data else EMPTY)
        return self.outcome(policy.publish(visitor, request))

    def test_rows(self) -> None:
        """Every row decides as it says."""
        client = {"allow_publish_for_client": True}
        subscriber = {"allow_publish_for_subscriber": True}
        anonymous = {"allow_publish_for_anonymous": True}
        obj = {**client, "publication_data_format": "json_object"}
        proxy = {"publish_proxy_enabled": True}
        stream = {"subscribe_stream_proxy_enabled": True}
        both = {**stream, "subscribe_stream_proxy_bidirectional": True}
        rows: Rows = (
            ("2", client, {"channel": "no:a"}, 102),
            ("2 insecure", {}, {"channel": "no:a", "insecure": True}, 102),
            ("3", client, {"channel": "caf\u00e9"}, 107),
            ("3 insecure", {}, {"channel": "caf\u00e9", "insecure": True}, 107),
            ("4", client, {"data": b""}, 107),
            ("4 before 10", {}, {"data": b""}, 107),
            ("4 object", obj, {}, 107),
            ("5", {**client, **proxy}, {}, 108),
            ("5 insecure", proxy, {"insecure": True}, 108),
            ("6", {**client, **stream}, {}, 108),
            ("6 both ways", {**client, **both}, {}, 108),
            ("7", client, {}, 0),
            ("7 private", client, {"channel": "$a"}, 0),
            (
                "7 limited",
                {**client, "allow_user_limited_channels": True},
                {"channel": "a#2"},
                0,
            ),
            ("7 anonymous", client, {"user": ""}, 103),
            ("7 anonymous", {**client, **anonymous}, {"user": ""}, 0),
            ("8", subscriber, {"subscribed": True}, 0),
            ("8 not", subscriber, {}, 103),
            ("8 anonymous", subscriber, {"user": "", "subscribed": True}, 103),
            (
                "8 anonymous",
                {**subscriber, **anonymous},
                {"user": "", "subscribed": True},
                0,
            ),
            ("9", {}, {"insecure": True}, 0),
            ("10", {}, {"subscribed": True}, 103),
            ("10 anonymous alone", anonymous, {}, 103),
        )
        for row, options, more, code in rows:
            with self.subTest(row=row, options=options, more=more):
                result = self.publish(options, **more)
                self.assertEqual(result if isinstance(result, int) else 0, code)

    def test_formats(self) -> None:
        """Each format accepts the documented payloads (server API, "Publish")."""
        deep = b"[" * 100_000 + b"]" * 100_000
        for form, good, bad in (
            ("", (b"1", b"{", b" "), (b"",)),
            ("binary", (b"", b"\xff"), ()),
            ("json", (b"1", b' {"a":1}\n', b"null"), (b"", b"{", b"1 2", b'"\xff"')),
            (
                "json_object",
                (b"{}", b' {"a":[1]} '),
                (b"", b"[1]", b"{", b'"{}"', b"{}{}"),
            ),
            ("json", (), (deep,)),
        ):
            options = {
                "allow_publish_for_client": True,
                "publication_data_format": form,
            }
            for data in good:
                result = self.publish(options, data=data)
                self.assertIsInstance(result, PublishOptions, (form, data))
            for data in bad:
                self.assertEqual(self.publish(options, data=data), 107, (form, data))

    def test_format_for_all(self) -> None:
        """The format for all channels holds where the namespace has none."""
        rules = ChannelRules(publication_data_format="json_object")
        client = {"allow_publish_for_client": True}
        loose = {**client, "publication_data_format": "json"}
        policy = self.policy(client, {"ns": loose}, rules=rules)
        for channel, code in (("a", 107), ("ns:a", 0)):
            request = PublishRequest(channel, Raw(b"[1]"))
            result = self.outcome(policy.publish(Visitor("1"), request))
            self.assertEqual(result if code else 0, code)

    def test_options(self) -> None:
        """A publication gets the history of the namespace, and its delta."""
        options = {
            **{**HISTORY, "history_meta_ttl": 90.0, "delta_publish": True},
            "allow_publish_for_client": True,
        }
        expected = PublishOptions(5, 60.0, 90.0, delta=True)
        self.assertEqual(self.publish(options), expected)


class MapTests(PolicyTestCase):
    """Publishing and removing keys."""

    def change(
        self,
        user: str = "1",
        subscribed: bool = False,
        removed: bool = False,
        insecure: bool = False,
        **options: Any,
    ) -> Any:
        """Return the key that is granted, or the code of the refusal."""
        namespace = {
            "subscription_type": "map",
            "map": MapOptions(mode="persistent", **options),
        }
        policy = self.policy(namespace, access={"insecure": insecure})
        visitor = Visitor(user, channels=("a",) if subscribed else ())
        request = PublishRequest("a", Raw(b"1"), type=1, key="k", removed=removed)
        outcome = self.outcome(policy.change_map(visitor, request))
        return outcome[0] if isinstance(outcome, tuple) else outcome

    def test_rights(self) -> None:
        """Publishing and removing are allowed apart, to clients or to subscribers."""
        self.assertEqual(self.change(), 103)
        for verb, other in (("publish", "remove"), ("remove", "publish")):
            removed = verb == "remove"
            for_client: Any = {f"allow_{verb}_for_client": True}
            self.assertEqual(self.change(removed=removed, **for_client), "k")
            self.assertEqual(self.change(removed=not removed, **for_client), 103)
            self.assertEqual(self.change("", removed=removed, **for_client), 103)
            anonymous: Any = {f"allow_{verb}_for_anonymous": True}
            both = for_client | anonymous
            self.assertEqual(self.change("", removed=removed, **both), "k")
            alone = self.change("", True, removed, **anonymous)
            self.assertEqual(alone, 103, other)
            subscriber: Any = {f"allow_{verb}_for_subscriber": True}
            self.assertEqual(self.change(removed=removed, **subscriber), 103)
            self.assertEqual(self.change("1", True, removed, **subscriber), "k")

    def test_insecure(self) -> None:
        """Insecure mode allows everything that is a map."""
        self.assertEqual(self.change(insecure=True), "k")
        policy = self.policy({}, access={"insecure": True})
        request = PublishRequest("a", Raw(b"1"), type=1, key="k")
        outcome = self.outcome(policy.change_map(Visitor("1"), request))
        self.assertEqual(outcome, 103)

    def test_own_key(self) -> None:
        """A client may be held to the key that is its own."""
        allowed: Any = {
            "allow_publish_for_client": True,
            "allow_publish_for_anonymous": True,
        }
        by_client = self.change(client_key="client_id", **allowed)
        self.assertEqual(by_client, "client-1")
        self.assertEqual(self.change("7", client_key="user_id", **allowed), "7")
        self.assertEqual(self.change("", client_key="user_id", **allowed), 103)

    def test_rules(self) -> None:
        """How the map is kept follows from its mode."""
        for options, expected in (
            (MapOptions(mode="persistent"), MapRules(meta_ttl=0.0)),
            (
                MapOptions(mode="recoverable", key_ttl=30.0, stream_size=7),
                MapRules(stream_size=7, meta_ttl=600.0, key_ttl=30.0),
            ),
            (
                MapOptions(mode="recoverable", key_ttl=900.0, stream_ttl=5.0),
                MapRules(stream_ttl=5.0, meta_ttl=900.0, key_ttl=900.0),
            ),
            (
                MapOptions(mode="persistent", live_transition_max_publication_limit=-1),
                MapRules(meta_ttl=0.0, live_limit=2**31),
            ),
            (
                MapOptions(mode="ephemeral", key_ttl=30.0, max_page_size=200),
                MapRules(
                    stream_size=0,
                    meta_ttl=600.0,
                    key_ttl=30.0,
                    max_page_size=200,
                    live_limit=200,
                ),
            ),
        ):
            policy = self.policy({"subscription_type": "map", "map": options})
            self.assertEqual(policy.channel("a").map, expected)
        self.assertIsNone(self.policy({"map": MapOptions()}).channel("a").map)


class ReadTests(PolicyTestCase):
    """Presence and history (permissions, "Presence and history")."""

    def ask(
        self,
        what: str,
        options: OPTIONS,
        channel: str = "a",
        user: str = "1",
        subscribed: bool = False,
        **access: Any,
    ) -> Any:
        """Ask for presence or history."""
        policy = self.policy(options, access=access)
        visitor = Visitor(user, channels=(channel,) if subscribed else ())
        if what == "presence":
            return self.outcome(policy.presence(visitor, channel))
        request = HistoryRequest(channel, limit=7)
        return self.outcome(policy.history(visitor, request))

    def test_rows(self) -> None:
        """Every row of both tables decides as it says."""
        for what, on in (("presence", {"presence": True}), ("history", HISTORY)):
            client = {**on, f"allow_{what}_for_client": True}
            subscriber = {**on, f"allow_{what}_for_subscriber": True}
            anonymous = {f"allow_{what}_for_anonymous": True}
            off = {name: value for name, value in client.items() if name not in on}
            there = {"subscribed": True}
            rows: Rows = (
                ("2", client, {"channel": "no:a"}, 102),
                ("3", client, {"channel": "caf\u00e9"}, 107),
                ("4", off, {}, 108),
                ("4 insecure", off, {"insecure": True}, 108),
                ("5", client, {}, 0),
                ("5 anonymous", client, {"user": ""}, 103),
                ("5 anonymous", {**client, **anonymous}, {"user": ""}, 0),
                ("6", subscriber, there, 0),
                ("6 not", subscriber, {}, 103),
                ("6 anonymous", subscriber, {"user": "", **there}, 103),
                ("6 anonymous", {**subscriber, **anonymous}, {"user": "", **there}, 0),
                ("7", on, {"insecure": True}, 0),
                ("8", on, there, 103),
                ("8 anonymous alone", {**on, **anonymous}, {}, 103),
            )
            for row, options, more, code in rows:
                with self.subTest(what=what, row=row, more=more):
                    result = self.ask(what, options, **more)
                    self.assertEqual(result if isinstance(result, int) else 0, code)

    def test_half_history(self) -> None:
        """Size without TTL, or TTL without size, means no history."""
        for name, value in HISTORY.items():
            options = {name: value, "allow_history_for_client": True}
            self.assertEqual(self.ask("history", options), 108, name)

    def test_query(self) -> None:
        """A history request is cut to the limit, and kept otherwise."""
        options = {
            **{**HISTORY, "history_meta_ttl": 90.0, "allow_history_for_client": True},
        }
        since = StreamPosition(3, "e")
        for limit, asked, given in (
            *((300, 7, 7), (300, 0, 0), (300, -1, 300), (300, 1000, 300)),
            *((300, 300, 300), (10, 11, 10), (10, -5, 10)),
        ):
            access = {"history_max_publication_limit": limit}
            policy = self.policy(options, access=access)
            request = HistoryRequest("a", asked, since, reverse=True)
            query = self.outcome(policy.history(Visitor("1"), request))
            self.assertEqual(query, HistoryQuery(given, since, True, 90.0))


class OtherTests(PolicyTestCase):
    """RPC and messages (permissions, "RPC and messages")."""

    def rpc(self, method: str, ping: str = "") -> Any:
        """Call a method."""
        policy = self.policy(access={"rpc_ping_method": ping})
        return self.outcome(policy.rpc(Visitor(), RPCRequest(method=method)))

    def test_rpc(self) -> None:
        """Only the built-in ping is answered, if it is on."""
        for method, ping, code in (
            *(("ping", "", 108), ("", "", 108)),
            *(("other", "ping", 104), ("", "ping", 104), ("ns:ping", "ping", 104)),
        ):
            self.assertEqual(self.rpc(method, ping), code, (method, ping))
        self.assertIs(self.rpc("ping", "ping"), EMPTY)
        self.assertIs(self.rpc("hello", "hello"), EMPTY)

    def test_message(self) -> None:
        """Messages end the connection with 3508."""
        policy = self.policy()
        error = self.assertRaises(DisconnectClient, policy.message, Visitor(), Raw(b""))
        self.assertEqual(error.disconnect.code, 3508)
