"""Permission to connect, and the user of the connection.

See permissions, "Authentication", "Personal channels", "Channels in the connect
request" and "Refreshing tokens".
"""

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from centrifugo_tx.access import AccessPolicy, TokenVerifier
from centrifugo_tx.access.jwks import KeySet
from centrifugo_tx.access.tokens import TokenOptions
from centrifugo_tx.interfaces import IClient, IPolicy
from centrifugo_tx.options import Admission, Source, SubscribeOptions, TransportInfo
from centrifugo_tx.protocol.messages import (
    EMPTY,
    ConnectRequest,
    RefreshRequest,
    SubscribeRequest,
)

from ..support import MemoryTransport
from .policy_case import NOW, OPTIONS, PolicyTestCase, Visitor, b64, token

YEAR = 365 * 24 * 3600
DEEP = b'{"sub":"1","meta":' + b"[" * 20_000 + b"]" * 20_000 + b"}"


class AdmissionTestCase(PolicyTestCase):
    """Connects visitors."""

    def connect(
        self,
        policy: AccessPolicy,
        claims: OPTIONS | bytes | None = None,
        visitor: Visitor | None = None,
        **request: Any,
    ) -> Any:
        """Connect, with a token if there are claims."""
        if claims is not None:
            request["token"] = token(claims)
        asked = ConnectRequest(**request)
        return self.outcome(policy.connect(visitor or Visitor(), asked))


class OrderTests(AdmissionTestCase):
    """The ways to authenticate (permissions, "Authentication")."""

    def by_header(self, *values: str) -> Visitor:
        """Return a client whose request had the header."""
        info = TransportInfo(headers={"x-user": values} if values else {})
        return Visitor(transport=MemoryTransport(info=info))

    def test_interfaces(self) -> None:
        """Policy and double implement their interfaces."""
        verifyObject(IPolicy, self.policy())
        verifyObject(IClient, Visitor())

    def test_token(self) -> None:
        """A token tells user, expiry, info and meta."""
        claims = {"sub": "42", "exp": NOW + 60, "info": {"n": 1}, "meta": {"m": 2}}
        admission = self.connect(self.policy(), claims)
        self.assertEqual((admission.user, admission.expire_at), ("42", NOW + 60))
        self.assertEqual(bytes(admission.info), b'{"n":1}')
        self.assertEqual(bytes(admission.meta), b'{"m":2}')
        self.assertFalse(admission.server_side_refresh)

    def test_token_wins(self) -> None:
        """A token takes precedence over all other ways to connect."""
        policy = self.policy(
            access={
                "user_id_http_header": "X-User",
                "allow_anonymous_connect_without_token": True,
                "insecure": True,
            }
        )
        admission = self.connect(policy, {"sub": "1"}, self.by_header("7"))
        self.assertEqual(admission.user, "1")

    def test_without_token(self) -> None:
        """No token is 3501, unless anonymous users may come, or all may."""
        self.assertEqual(self.connect(self.policy()), 3501)
        for option in ("allow_anonymous_connect_without_token", "insecure"):
            policy = self.policy(access={option: True})
            self.assertEqual(self.connect(policy), Admission(), option)

    def test_header(self) -> None:
        """A trusted proxy may name the user in a header, if it is not empty."""
        policy = self.policy(access={"user_id_http_header": "X-User"})
        admitted = self.connect(policy, visitor=self.by_header("7", "8"))
        self.assertEqual(admitted, Admission(user="7"))
        for visitor in (self.by_header(), self.by_header("")):
            self.assertEqual(self.connect(policy, visitor=visitor), 3501)

    def test_header_off(self) -> None:
        """Without the option no header names a user."""
        self.assertEqual(self.connect(self.policy(), visitor=self.by_header("7")), 3501)

    def test_header_without_channels(self) -> None:
        """A user of a header gets no personal channel and none it asks for."""
        access = {"user_id_http_header": "X-User", "personal_channels": True}
        policy = self.policy({"allow_subscribe_for_client": True}, access=access)
        visitor = self.by_header("7")
        subs: dict[str, SubscribeRequest | None] = {"a": None}
        admission = self.connect(policy, visitor=visitor, subs=subs)
        self.assertEqual(admission, Admission(user="7"))

    def test_header_and_anonymous(self) -> None:
        """The header does not count where anonymous users may come."""
        policy = self.policy(
            access={
                "user_id_http_header": "X-User",
                "allow_anonymous_connect_without_token": True,
            }
        )
        self.assertEqual(self.connect(policy, visitor=self.by_header("7")).user, "")

    def test_insecure_token(self) -> None:
        """In insecure mode a token is verified, but does not end."""
        policy = self.policy(access={"insecure": True})
        admission = self.connect(policy, {"sub": "1", "exp": NOW + 60})
        self.assertEqual((admission.user, admission.expire_at), ("1", 0))
        self.assertEqual(self.connect(policy, {"sub": "1", "exp": NOW - 60}), 109)
        self.assertEqual(self.connect(policy, token="rubbish"), 3500)


class TokenTests(AdmissionTestCase):
    """Valid and invalid connection tokens.

    See permissions, "Token problems" and "Connection tokens".
    """

    def test_problems(self) -> None:
        """Each problem has its code."""
        for claims, code in (
            ({"sub": "1", "exp": NOW}, 109),
            ({"sub": "1", "exp": NOW - 1}, 109),
            ({"sub": "1", "nbf": NOW}, 109),
            ({"sub": "1", "nbf": NOW + 1}, 109),
            ({"sub": 1}, 3500),
            ({"sub": "1", "iat": "soon"}, 3500),
            ({"sub": "1", "channel": "a"}, 3500),
            ({"sub": "1", "channel": "a", "exp": NOW - 1}, 3500),
            ({"sub": "1", "channels": ["no:a"]}, 102),
            ({"sub": "1", "subs": {"no:a": {}}}, 102),
            ({"sub": "1", "b64info": "!"}, 100),
            ({"sub": "1", "b64info": "YQ"}, 100),
            ({"sub": "1", "subs": {"a": {"b64info": "!"}}}, 3500),
            ({"sub": "1", "subs": {"a": {"b64data": "!"}}}, 3500),
            (DEEP, 3500),
        ):
            self.assertEqual(self.connect(self.policy(), claims), code, claims)

    def test_wrong_signature(self) -> None:
        """A token of another key is 3500; so is rubbish, and `none`."""
        none = token({"sub": "1"}, header={"alg": "none"})
        for given in (
            token({"sub": "1"}, key="another-secret"),
            none,
            none.rpartition(".")[0] + ".",
            "rubbish",
            "eyJ.e.e",
        ):
            self.assertEqual(self.connect(self.policy(), token=given), 3500, given)

    def test_without_keys(self) -> None:
        """Where no key is configured every token is wrong."""
        policy = self.policy(tokens=self.verifier())
        self.assertEqual(self.connect(policy, {"sub": "1"}), 3500)

    def test_no_key_set(self) -> None:
        """Where the key set cannot be had the token is wrong."""
        asked: list[Deferred[bytes]] = []

        def fetch(url: str) -> "Deferred[bytes]":
            asked.append(Deferred())
            return asked[-1]

        keys = KeySet("http://id/keys", fetch, self.clock)
        tokens = TokenVerifier(self.clock, TokenOptions(), keys)
        given = token({"sub": "1"}, header={"kid": "k"})
        decision = self.policy(tokens=tokens).connect(
            Visitor(), ConnectRequest(token=given)
        )
        self.assertNoResult(decision)
        asked[0].errback(OSError("refused"))
        self.assertNoResult(decision)
        asked[1].errback(OSError("refused"))
        self.assertEqual(self.outcome(decision), 3500)

    def test_anonymous(self) -> None:
        """A token without user is the anonymous user, or 3507 where that is off."""
        off = self.policy(access={"disallow_anonymous_connection_tokens": True})
        for claims in ({}, {"sub": ""}, {"sub": None}):
            self.assertEqual(self.connect(self.policy(), claims).user, "")
            self.assertEqual(self.connect(off, claims), 3507)
        self.assertEqual(self.connect(off, {"channels": ["no:a"]}), 102)

    def test_expire_at(self) -> None:
        """expire_at wins over exp; not positive means never; 365 days are the most."""
        for claims, end in (
            ({"exp": NOW + 60, "expire_at": NOW + 90}, NOW + 90),
            ({"exp": NOW + 60, "expire_at": 0}, 0),
            ({"exp": NOW + 60, "expire_at": -1}, 0),
            ({"exp": NOW + 2 * YEAR}, NOW + YEAR),
            ({"expire_at": 10**30}, NOW + YEAR),
            ({"exp": NOW + 60.5}, NOW + 60),
            ({"exp": str(NOW + 60)}, NOW + 60),
            ({"expire_at": NOW - 5}, NOW - 5),
            ({}, 0),
        ):
            admission = self.connect(self.policy(), {"sub": "1", **claims})
            self.assertEqual(admission.expire_at, end, claims)

    def test_nulls(self) -> None:
        """A claim that is null counts as absent."""
        names = ("b64info", "exp", "expire_at", "channels", "subs")
        claims = {"sub": "nullable", **dict.fromkeys(names)}
        admission = self.connect(self.policy(), claims)
        self.assertEqual(admission, Admission(user="nullable"))
        self.assertIs(admission.info, EMPTY)

    def test_null_payloads(self) -> None:
        """A payload that is null is just that, as every other value."""
        payloads = {"info": None, "data": None}
        claims = {"sub": "1", "info": None, "meta": None, "subs": {"a": payloads}}
        admission = self.connect(self.policy(), claims)
        self.assertEqual(bytes(admission.info), b"null")
        self.assertEqual(bytes(admission.meta), b"null")
        options = admission.subs["a"]
        self.assertEqual((bytes(options.info), bytes(options.data)), (b"null",) * 2)

    def test_binary_info(self) -> None:
        """b64info wins over info."""
        claims = {"sub": "1", "info": {"a": 1}, "b64info": b64("binary")}
        admission = self.connect(self.policy(), claims)
        self.assertEqual(bytes(admission.info), b"binary")

    def test_payloads_kept(self) -> None:
        """The stored parts of a token do not keep the token in memory."""
        admission = self.connect(self.policy(), {"info": 1, "meta": {"x": "y" * 5000}})
        self.assertEqual(bytes(admission.info), b"1")
        self.assertEqual(len(bytes(memoryview(admission.info).obj or b"")), 1)

    def test_channels(self) -> None:
        """channels get namespace options, and need no rights and no valid name."""
        policy = self.policy(
            {
                "presence": True,
                "join_leave": True,
                "force_push_join_leave": True,
                "force_positioning": True,
                "force_recovery": True,
                "history_meta_ttl": 60.0,
                "allowed_delta_types": ("fossil",),
                "allow_tags_filter": True,
            }
        )
        channels = ["a", "$b", "caf\u00e9"]
        admission = self.connect(policy, {"sub": "1", "channels": channels})
        expected = SubscribeOptions(
            presence=True,
            join_leave=True,
            push_join_leave=True,
            positioned=True,
            recoverable=True,
            history_meta_ttl=60.0,
            delta_types=("fossil",),
            tags_filter=True,
            source=Source.CONNECTION_TOKEN,
        )
        self.assertEqual(admission.subs, dict.fromkeys(channels, expected))

    def test_subs(self) -> None:
        """subs override the options of the namespace, and hide channels."""
        policy = self.policy({"presence": True})
        override = {"presence": {"value": False}, "join_leave": {"value": True}}
        subs = {
            "c": {"info": {"i": 1}, "b64data": b64('{"d":1}'), "override": override},
            "d": {},
            "e": None,
            "f": {"b64info": None, "override": None},
        }
        claims = {"sub": "1", "channels": ["a"], "subs": subs}
        admission = self.connect(policy, claims)
        self.assertEqual(set(admission.subs), {"c", "d", "e", "f"})
        options = admission.subs["c"]
        self.assertEqual(
            (options.presence, options.join_leave, options.push_join_leave),
            (False, True, False),
        )
        self.assertEqual(
            (bytes(options.info), bytes(options.data)), (b'{"i":1}', b'{"d":1}')
        )
        for name in "def":
            options = admission.subs[name]
            self.assertEqual((options.presence, options.info), (True, EMPTY), name)

    def test_no_subs(self) -> None:
        """Empty subs do not hide channels."""
        claims = {"sub": "1", "channels": ["a"], "subs": {}}
        self.assertEqual(set(self.connect(self.policy(), claims).subs), {"a"})

    def test_auto_recover(self) -> None:
        """The latest publication comes unasked where cache recovery is on."""
        cache = {"force_recovery_mode": "cache", "auto_cache_recover": True}
        on: OPTIONS = {"override": {"force_recovery": {"value": True}}}
        off: OPTIONS = {"override": {"force_recovery": {"value": False}}}
        for options, sub, auto in (
            ({**cache, "force_recovery": True}, {}, True),
            ({**cache, "force_recovery": True}, off, False),
            (cache, {}, False),
            (cache, on, True),
            ({**cache, "force_recovery_mode": "stream"}, on, False),
            ({**cache, "auto_cache_recover": False}, on, False),
        ):
            admission = self.connect(self.policy(options), {"subs": {"a": sub}})
            self.assertIs(admission.subs["a"].auto_recover, auto, (options, sub))


class PersonalChannelTests(AdmissionTestCase):
    """The channel of a user's own (permissions, "Personal channels")."""

    def test_namespaces(self) -> None:
        """A user is subscribed to its own channel; an anonymous one is not."""
        for name, channel in (("own", "own:#9"), ("", "#9")):
            policy = self.policy(
                namespaces={"own": {"presence": True}},
                access={
                    "personal_channels": True,
                    "personal_channel_namespace": name,
                },
            )
            admission = self.connect(policy, {"sub": "9"})
            (options,) = admission.subs.values()
            self.assertEqual(set(admission.subs), {channel})
            self.assertEqual(
                (options.source, options.presence), (Source.USER_PERSONAL, bool(name))
            )
            self.assertEqual(admission.exclusive, "")
            self.assertEqual(self.connect(policy, {}).subs, {})

    def test_single_connection(self) -> None:
        """The personal channel may be limited to one connection."""
        access = {"personal_channels": True, "single_connection": True}
        policy = self.policy(access=access)
        self.assertEqual(self.connect(policy, {"sub": "9"}).exclusive, "#9")
        self.assertEqual(self.connect(policy, {}).exclusive, "")
        alone = self.policy(access={"single_connection": True})
        self.assertEqual(self.connect(alone, {"sub": "9"}), Admission(user="9"))

    def test_unknown_namespace(self) -> None:
        """A personal channel of an unknown namespace is an unknown channel."""
        access = {"personal_channels": True, "personal_channel_namespace": "no"}
        self.assertEqual(self.connect(self.policy(access=access), {"sub": "9"}), 102)

    def test_replaces(self) -> None:
        """The personal channel replaces a sub of the token, and is not replaced."""
        policy = self.policy(access={"personal_channels": True})
        subs = {"#9": {"data": {"d": 1}}}
        wishes: dict[str, SubscribeRequest | None] = {"#9": None}
        for claims in ({"sub": "9", "subs": subs}, {"sub": "9"}):
            admission = self.connect(policy, claims, subs=wishes)
            self.assertEqual(admission.subs["#9"].source, Source.USER_PERSONAL)
            self.assertIs(admission.subs["#9"].data, EMPTY)


class WishTests(AdmissionTestCase):
    """Channels asked for in the connect request.

    See permissions, "Channels in the connect request".
    """

    def granted(
        self, channel: str, options: OPTIONS, user: str = "9", **access: Any
    ) -> Any:
        """Return the outcome of requesting one channel."""
        policy = self.policy(options, access=access)
        subs: dict[str, SubscribeRequest | None] = {channel: SubscribeRequest()}
        admission = self.connect(policy, {"sub": user}, subs=subs)
        if isinstance(admission, int):
            return admission
        if not admission.subs:
            return None
        return admission.subs[channel].source

    def test_rows(self) -> None:
        """A client gets the permitted channels; others are silently ignored."""
        client = {"allow_subscribe_for_client": True}
        anonymous = {**client, "allow_subscribe_for_anonymous": True}
        limited = {**client, "allow_user_limited_channels": True}
        yes, insecure = Source.UNI_CONNECT, {"insecure": True}
        for row, channel, options, more, expected in (
            ("open", "a", client, {}, yes),
            ("shut", "a", {}, {}, None),
            ("unknown namespace", "no:a", client, {}, 3501),
            ("private", "$a", client, {}, None),
            ("invalid name", "caf\u00e9", client, {}, None),
            ("proxy", "a", {**client, "subscribe_proxy_enabled": True}, {}, None),
            (
                "stream proxy",
                "a",
                {**client, "subscribe_stream_proxy_enabled": True},
                {},
                yes,
            ),
            ("map", "a", {**client, "subscription_type": "map"}, {}, yes),
            ("listed", "d#8,9", limited, {}, yes),
            ("not listed", "d#8", limited, {}, None),
            ("limits off", "d#8", client, {}, yes),
            ("the empty user", "d#", limited, {"user": ""}, None),
            ("anonymous", "a", client, {"user": ""}, None),
            ("anonymous may", "a", anonymous, {"user": ""}, yes),
            (
                "anonymous alone",
                "a",
                {"allow_subscribe_for_anonymous": True},
                {},
                None,
            ),
            ("insecure", "a", {}, insecure, yes),
            ("insecure, not listed", "d#8", limited, insecure, yes),
            ("insecure, private", "$a", {}, insecure, None),
            ("insecure, invalid", "caf\u00e9", {}, insecure, None),
            (
                "insecure, proxy",
                "a",
                {"subscribe_proxy_enabled": True},
                insecure,
                None,
            ),
        ):
            with self.subTest(row=row):
                self.assertEqual(
                    self.granted(channel, options, **more),
                    expected,
                )

    def test_anonymous_without_token(self) -> None:
        """Anonymous clients without token may ask, too."""
        open_to_all = {
            "allow_subscribe_for_client": True,
            "allow_subscribe_for_anonymous": True,
        }
        access = {"allow_anonymous_connect_without_token": True}
        policy = self.policy(open_to_all, access=access)
        subs: dict[str, SubscribeRequest | None] = {"a": None}
        self.assertEqual(set(self.connect(policy, subs=subs).subs), {"a"})

    def test_not_replaced(self) -> None:
        """A requested channel does not replace the grant of the token."""
        policy = self.policy({"allow_subscribe_for_client": True})
        subs: dict[str, SubscribeRequest | None] = {"a": None, "b": None}
        claims = {"sub": "9", "subs": {"a": {"data": 1}}}
        admission = self.connect(policy, claims, subs=subs)
        self.assertEqual(bytes(admission.subs["a"].data), b"1")
        self.assertEqual(
            [admission.subs[name].source for name in "ab"],
            [Source.CONNECTION_TOKEN, Source.UNI_CONNECT],
        )


class RefreshTests(PolicyTestCase):
    """A connection that is to live on (permissions, "Refreshing tokens")."""

    def refresh(self, given: str, user: str = "1", **access: Any) -> Any:
        """Refresh the connection of *user*."""
        policy = self.policy(access=access)
        return self.outcome(policy.refresh(Visitor(user), RefreshRequest(given)))

    def test_refreshed(self) -> None:
        """A new token tells the new end, info, meta and channels."""
        claims = {
            **{"sub": "1", "exp": NOW + 60, "info": 1, "meta": {"m": 1}},
            "channels": ["a"],
        }
        expiry = self.refresh(token(claims))
        self.assertFalse(expiry.expired)
        self.assertEqual((expiry.expire_at, expiry.channels), (NOW + 60, {"a"}))
        self.assertEqual((bytes(expiry.info), bytes(expiry.meta)), (b"1", b'{"m":1}'))

    def test_refusals(self) -> None:
        """Each wrong token has its code."""
        good = {"sub": "1", "exp": NOW + 60}
        for claims, code in (
            ({**good, "exp": NOW - 1}, 3005),
            ({**good, "nbf": NOW + 1}, 3005),
            ({**good, "sub": "2"}, 3500),
            ({**good, "sub": ""}, 3500),
            ({**good, "expire_at": NOW - 5}, 110),
            ({**good, "expire_at": NOW}, 110),
            ({**good, "channels": ["no:a"]}, 102),
            ({**good, "sub": "2", "channels": ["no:a"]}, 102),
            ({**good, "b64info": "!"}, 100),
            ({**good, "channel": "a"}, 3500),
        ):
            self.assertEqual(self.refresh(token(claims)), code, claims)
        self.assertEqual(self.refresh("rubbish"), 3500)

    def test_for_ever(self) -> None:
        """A token without expiry removes the expiry and keeps the info."""
        expiry = self.refresh(token({"sub": "1", "info": 1}))
        self.assertEqual((expiry.expire_at, bytes(expiry.info)), (0, b""))

    def test_without_channels(self) -> None:
        """A token without channels means none."""
        expiry = self.refresh(token({"sub": "1", "exp": NOW + 60}))
        self.assertEqual(expiry.channels, frozenset())

    def test_switches(self) -> None:
        """Insecure mode does not drop the end, and anonymous users may refresh."""
        given = token({"exp": NOW + 60})
        access = {"insecure": True, "disallow_anonymous_connection_tokens": True}
        self.assertEqual(self.refresh(given, user="", **access).expire_at, NOW + 60)
