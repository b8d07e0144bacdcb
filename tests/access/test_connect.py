"""Who may connect, and as whom (auth and channels, 2 and 3.6)."""

from typing import Any

from zope.interface.verify import verifyObject

from centrifugo_tx.access import TokenOptions
from centrifugo_tx.interfaces import IClient, IPolicy
from centrifugo_tx.options import Admission, Source, TransportInfo
from centrifugo_tx.protocol.messages import (
    ConnectRequest,
    RefreshRequest,
    SubscribeRequest,
)

from ..support import MemoryTransport
from .support import KEY, NOW, PolicyTestCase, Visitor, b64, token


class ConnectTests(PolicyTestCase):
    """Decision on connect."""

    def connect(self, policy: Any, visitor: Any = None, **request: Any) -> Any:
        return self.outcome(
            policy.connect(visitor or Visitor(), ConnectRequest(**request))
        )

    def test_interfaces(self) -> None:
        """Policy and double are what they claim."""
        verifyObject(IPolicy, self.policy())
        verifyObject(IClient, Visitor())

    def test_token(self) -> None:
        """A token tells user, expiry, info and meta."""
        claims = {"sub": "42", "exp": NOW + 60, "info": {"n": 1}, "meta": {"m": 2}}
        admission = self.connect(self.policy(), token=token(**claims))
        self.assertEqual((admission.user, admission.expire_at), ("42", NOW + 60))
        self.assertEqual(bytes(admission.info), b'{"n":1}')
        self.assertEqual(bytes(admission.meta), b'{"m":2}')

    def test_token_problems(self) -> None:
        """Each problem has its code (2.1)."""
        policy = self.policy()
        for claims, code in (
            ({"sub": "1", "exp": NOW}, 109),
            ({"sub": "1", "exp": NOW - 1}, 109),
            ({"sub": "1", "nbf": NOW}, 109),
            ({"sub": "1", "nbf": NOW + 1}, 109),
            ({"sub": 1}, 3500),
            ({"sub": "1", "iat": "soon"}, 3500),
            ({"sub": "1", "channel": "a"}, 3500),
            ({"sub": "1", "channels": ["no:a"]}, 102),
            ({"sub": "1", "subs": {"no:a": {}}}, 102),
            ({"sub": "1", "b64info": "!"}, 100),
            ({"sub": "1", "subs": {"a": {"b64info": "!"}}}, 3500),
        ):
            with self.subTest(claims=claims):
                if isinstance(claims["sub"], int) or claims.get("iat") == "soon":
                    import json

                    import jwt

                    payload = json.dumps(claims).encode()
                    given = jwt.api_jws.encode(payload, KEY, "HS256")
                else:
                    given = token(**claims)
                self.assertEqual(self.connect(policy, token=given), code)

    def test_wrong_signature(self) -> None:
        """A token of another key is 3500; so is rubbish, and `none`."""
        policy = self.policy()
        for given in (
            token(key="another-secret-that-is-long-enough", sub="1"),
            "rubbish",
            "eyJ.e.e",
            token(key="", algorithm="none", sub="1"),
        ):
            self.assertEqual(self.connect(policy, token=given), 3500)

    def test_without_keys(self) -> None:
        """Where no key is configured every token is wrong."""
        policy = self.policy(tokens=TokenOptions())
        self.assertEqual(self.connect(policy, token=token(sub="1")), 3500)

    def test_anonymous_token(self) -> None:
        """A token without user is the anonymous user, or 3507 where that is off."""
        self.assertEqual(self.connect(self.policy(), token=token(jti="x")).user, "")
        policy = self.policy(disallow_anonymous_connection_tokens=True)
        self.assertEqual(self.connect(policy, token=token(jti="x")), 3507)

    def test_without_token(self) -> None:
        """No token is 3501, unless anonymous users may come, or all may."""
        self.assertEqual(self.connect(self.policy()), 3501)
        for option in ("allow_anonymous_connect_without_token", "insecure"):
            self.assertEqual(self.connect(self.policy(**{option: True})).user, "")

    def test_header(self) -> None:
        """A trusted proxy may name the user in a header."""
        info = TransportInfo(headers={"x-user": ("7",)})
        visitor = Visitor(transport=MemoryTransport(info=info))
        policy = self.policy(user_id_http_header="X-User")
        self.assertEqual(self.connect(policy, visitor), Admission(user="7"))
        self.assertEqual(self.connect(policy), 3501)

    def test_expire_at(self) -> None:
        """expire_at wins over exp; not positive means never; 365 days are the most."""
        year = 365 * 24 * 3600
        for claims, end in (
            ({"exp": NOW + 60, "expire_at": NOW + 90}, NOW + 90),
            ({"exp": NOW + 60, "expire_at": 0}, 0),
            ({"exp": NOW + 60, "expire_at": -1}, 0),
            ({"exp": NOW + 2 * year}, NOW + year),
            ({"exp": NOW + 60.5}, NOW + 60),
            ({}, 0),
        ):
            admission = self.connect(self.policy(), token=token(sub="1", **claims))
            self.assertEqual(admission.expire_at, end, claims)

    def test_insecure_token(self) -> None:
        """In insecure mode a token is verified, but does not end."""
        policy = self.policy(insecure=True)
        admission = self.connect(policy, token=token(sub="1", exp=NOW + 60))
        self.assertEqual((admission.user, admission.expire_at), ("1", 0))
        self.assertEqual(self.connect(policy, token="rubbish"), 3500)

    def test_channels(self) -> None:
        """channels gets namespace options, subs overrides them and hides channels."""
        policy = self.policy({"presence": True, "force_recovery": True})
        admission = self.connect(policy, token=token(sub="1", channels=["a", "$b"]))
        self.assertEqual(set(admission.subs), {"a", "$b"})
        options = admission.subs["a"]
        self.assertEqual(
            (options.presence, options.recoverable, options.source),
            (True, True, Source.CONNECTION_TOKEN),
        )
        subs = {
            "c": {
                "info": {"i": 1},
                "b64data": b64('{"d":1}'),
                "override": {"presence": {"value": False}},
            }
        }
        given = token(sub="1", channels=["a"], subs=subs)
        admission = self.connect(policy, token=given)
        self.assertEqual(set(admission.subs), {"c"})
        options = admission.subs["c"]
        self.assertEqual(
            (options.presence, bytes(options.info), bytes(options.data)),
            (False, b'{"i":1}', b'{"d":1}'),
        )

    def test_personal_channel(self) -> None:
        """A user gets a channel of its own; an anonymous one does not."""
        policy = self.policy(
            namespaces={"own": {}},
            personal_channels=True,
            personal_channel_namespace="own",
            single_connection=True,
        )
        admission = self.connect(policy, token=token(sub="9"))
        self.assertEqual(set(admission.subs), {"own:#9"})
        self.assertEqual(admission.exclusive, "own:#9")
        self.assertEqual(self.connect(policy, token=token(jti="x")).subs, {})

    def test_wishes(self) -> None:
        """Of the channels asked for on connect those are taken that are open (5.1)."""
        policy = self.policy(
            {"allow_subscribe_for_client": True, "allow_user_limited_channels": True},
            {"shut": {}},
        )
        wishes = ("open", "$private", "shut:a", "d#9", "d#8", "ой")
        subs: dict[str, SubscribeRequest | None] = dict.fromkeys(wishes)
        admission = self.connect(policy, token=token(sub="9"), subs=subs)
        self.assertEqual(set(admission.subs), {"open", "d#9"})
        unknown: dict[str, SubscribeRequest | None] = {"no:a": None}
        self.assertEqual(self.connect(policy, token=token(sub="9"), subs=unknown), 3501)


class RefreshTests(PolicyTestCase):
    """A connection that is to live on (3.6)."""

    def refresh(self, given: str, user: str = "1", **options: Any) -> Any:
        policy = self.policy(**options)
        request = RefreshRequest(given)
        return self.outcome(policy.refresh(Visitor(user), request))

    def test_refreshed(self) -> None:
        """A new token tells the new end, info and channels."""
        claims = {"sub": "1", "exp": NOW + 60, "info": 1, "channels": ["a"]}
        expiry = self.refresh(token(**claims))
        self.assertEqual(
            (expiry.expire_at, bytes(expiry.info), expiry.channels),
            (NOW + 60, b"1", frozenset({"a"})),
        )

    def test_refusals(self) -> None:
        """Each wrong token has its code."""
        for claims, code in (
            ({"sub": "1", "exp": NOW - 1}, 3005),
            ({"sub": "2", "exp": NOW + 60}, 3500),
            ({"sub": "1", "exp": NOW + 60, "expire_at": NOW - 5}, 110),
            ({"sub": "1", "exp": NOW + 60, "channels": ["no:a"]}, 102),
        ):
            self.assertEqual(self.refresh(token(**claims)), code, claims)
        self.assertEqual(self.refresh("rubbish"), 3500)

    def test_for_ever(self) -> None:
        """A token without end takes the end away, and leaves info alone."""
        expiry = self.refresh(token(sub="1", info=1))
        self.assertEqual((expiry.expire_at, bytes(expiry.info)), (0, b""))
