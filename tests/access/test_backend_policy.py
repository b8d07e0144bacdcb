"""The policy's use of the backend's responses, and of failed calls.

See event proxies, "Events" and "Proxy failures".
"""

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from centrifugo_tx.access import AccessPolicy
from centrifugo_tx.access.map_options import MapOptions
from centrifugo_tx.access.rpc_rules import RPCRules
from centrifugo_tx.errors import ReplyError
from centrifugo_tx.interfaces import IEventProxies, IEventProxy
from centrifugo_tx.options import Admission, BoolValue, Source, SubscribeOverride
from centrifugo_tx.protocol.codes import INTERNAL, Disconnect, Error
from centrifugo_tx.protocol.messages import (
    EMPTY,
    ConnectRequest,
    PublishRequest,
    Raw,
    RefreshRequest,
    RPCRequest,
    SubRefreshRequest,
    SubscribeRequest,
)
from centrifugo_tx.proxy_messages import (
    ConnectAnswer,
    MapPublishAnswer,
    MapRemoveAnswer,
    ProxyEvent,
    ProxyResponse,
    PublishAnswer,
    RefreshAnswer,
    RPCAnswer,
    SubRefreshAnswer,
    SubscribeAnswer,
    Subscription,
)

from .policy_case import NOW, OPTIONS, PolicyTestCase, Visitor, token

YEAR = 365 * 24 * 3600
BAD = "!"
ON, OFF = BoolValue(True), BoolValue(False)


@implementer(IEventProxies, IEventProxy)
@define(eq=False)
class Backend:
    """Gives one response to everything that it is configured for."""

    response: Any = ProxyResponse()
    #: The proxies that there are: events, or events with names.
    known: tuple[str, ...] = ()
    asked: list[Any] = field(factory=list)
    headers: list[Any] = field(factory=list)
    kept: dict[str, str] = field(factory=dict)

    def find(self, event: ProxyEvent, name: str = "default") -> "Backend | None":
        """Return itself, if it is asked about the event."""
        there = event.name in self.known or f"{event.name} {name}" in self.known
        return self if there else None

    def keep_headers(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """Return the prepared response."""
        return self.kept

    def ask(
        self, client: Any, event: Any, emulated: Any = None
    ) -> "Deferred[ProxyResponse[Any]]":
        """Respond."""
        self.asked.append(event)
        self.headers.append(emulated)
        if isinstance(self.response, Exception):
            return fail(self.response)
        return succeed(self.response)


def result(answer: Any, **more: Any) -> ProxyResponse[Any]:
    """Return a response with a result."""
    return ProxyResponse(answer, **more)


FAILED = ReplyError(INTERNAL, "proxy call failed")
ERROR: ProxyResponse[Any] = ProxyResponse(error=Error(404, "no", True))
GO_AWAY: ProxyResponse[Any] = ProxyResponse(disconnect=Disconnect(4500, "go"))


class BackendCase(PolicyTestCase):
    """Policies with a backend."""

    def asking(
        self,
        response: Any,
        *known: str,
        without: OPTIONS | None = None,
        namespaces: dict[str, OPTIONS] | None = None,
        **access: Any,
    ) -> AccessPolicy:
        """Return a policy whose backend responds so."""
        self.backend = Backend(response, known)
        policy = self.policy(without, namespaces, access=access)
        return AccessPolicy(
            *(self.clock, policy.options, policy.namespaces),
            *(policy.verifier, policy.subscription_verifier),
            proxies=self.backend,
        )


class ConnectTests(BackendCase):
    """The connect event."""

    def connect(self, response: Any, token: str = "", **options: Any) -> Any:
        """Connect by a backend with this response."""
        known = options.pop("known", ("connect",))
        policy = self.asking(response, *known, **options)
        subs: dict[str, Any] = {"a": None, "no:b": None}
        request = ConnectRequest(
            token, Raw(b'{"a":1}'), subs, "js", "1.0", headers={"A": "b"}
        )
        return self.outcome(policy.connect(Visitor(), request))

    def test_result(self) -> None:
        """The result names the user and the expiry."""
        answer = ConnectAnswer(
            *("u", NOW + 60, Raw(b'{"i":1}'), "", Raw(b"2")), meta=Raw(b"3")
        )
        admission: Admission = self.connect(result(answer))
        self.assertEqual((admission.user, admission.expire_at), ("u", NOW + 60))
        payloads = admission.info, admission.data, admission.meta
        self.assertEqual([bytes(each) for each in payloads], [b'{"i":1}', b"2", b"3"])
        self.assertFalse(admission.server_side_refresh)
        [event] = self.backend.asked
        self.assertEqual((event.name, event.version), ("js", "1.0"))
        self.assertEqual(event.channels, ["a", "no:b"])
        self.assertEqual(bytes(event.data), b'{"a":1}')

    def test_requested_channels(self) -> None:
        """Requested channels are the backend's matter when it answers."""
        answered = self.connect(
            result(ConnectAnswer()), without={"allow_subscribe_for_client": True}
        )
        self.assertEqual(answered.subs, {})

    def test_base64(self) -> None:
        """Base64 wins when it is not empty."""
        answer = ConnectAnswer(
            info=Raw(b"1"), b64info="/w==", data=Raw(b"2"), b64data=""
        )
        admission = self.connect(result(answer))
        self.assertEqual(bytes(admission.info), b"\xff")
        self.assertEqual(bytes(admission.data), b"2")

    def test_bad_base64(self) -> None:
        """Malformed base64 anywhere is error 100."""
        for answer in (
            ConnectAnswer(b64info=BAD),
            ConnectAnswer(b64data=BAD),
            ConnectAnswer(subs={"a": Subscription(b64info=BAD)}),
            ConnectAnswer(subs={"a": Subscription(b64data=BAD)}),
        ):
            self.assertEqual(self.connect(result(answer)), 100)

    def test_channels(self) -> None:
        """Server-side subscriptions follow their namespaces, and subs override."""
        namespace = {"presence": True, "join_leave": True, "force_positioning": True}
        override = SubscribeOverride(OFF, None, ON, None, ON)
        own = Subscription(
            *(0, Raw(b"1"), "", Raw(b"2"), "", override), cache_recover=True
        )
        answer = ConnectAnswer(channels=["n:a", "n:b"], subs={"n:b": own, "c": None})
        admission = self.connect(result(answer), namespaces={"nn": {}, "n": namespace})
        a, b, c = (admission.subs[name] for name in ("n:a", "n:b", "c"))
        self.assertEqual((a.presence, a.join_leave, a.positioned), (True, True, True))
        self.assertEqual((b.presence, b.join_leave, b.positioned), (False, True, True))
        self.assertTrue(b.push_join_leave and b.recoverable and b.auto_recover)
        self.assertEqual((bytes(b.info), bytes(b.data)), (b"1", b"2"))
        self.assertFalse(c.presence)
        self.assertEqual({a.source, b.source, c.source}, {Source.CONNECT_PROXY})

    def test_unknown_namespace(self) -> None:
        """An unknown namespace is error 102."""
        for answer in (
            ConnectAnswer(channels=["no:a"]),
            ConnectAnswer(subs={"no:a": None}),
        ):
            self.assertEqual(self.connect(result(answer)), 102)

    def test_expiry(self) -> None:
        """The lifetime is capped; a negative one means none."""
        for given, kept in ((-1, 0), (NOW * 1000, NOW + YEAR), (NOW - 1, NOW - 1)):
            admission = self.connect(result(ConnectAnswer(expire_at=given)))
            self.assertEqual(admission.expire_at, kept)

    def test_personal_channel(self) -> None:
        """The personal channel is added to the channels of the result."""
        admission = self.connect(result(ConnectAnswer("u")), personal_channels=True)
        self.assertEqual(list(admission.subs), ["#u"])

    def test_no_credentials(self) -> None:
        """Without a result the client is anonymous, or refused."""
        self.assertEqual(self.connect(ProxyResponse()), 3501)
        for option in ("allow_anonymous_connect_without_token", "insecure"):
            admission = self.connect(
                ProxyResponse(), namespaces={"no": {}}, **{option: True}
            )
            self.assertEqual(admission.user, "")
            self.assertEqual(len(self.backend.asked), 1)

    def test_token(self) -> None:
        """A client with a token does not concern the backend."""
        admission = self.connect(
            ERROR, token({"sub": "t"}), namespaces={"no": {}}, known=("connect",)
        )
        self.assertEqual((admission.user, self.backend.asked), ("t", []))

    def test_refused(self) -> None:
        """Failure, error and disconnect; disconnect comes first."""
        both = ProxyResponse(ConnectAnswer("u"), ERROR.error, GO_AWAY.disconnect)
        error = ProxyResponse(ConnectAnswer("u"), ERROR.error)
        for response, code in (
            *((FAILED, 100), (ERROR, 404), (GO_AWAY, 4500)),
            *((both, 4500), (error, 404)),
        ):
            self.assertEqual(self.connect(response), code)

    def test_server_side_refresh(self) -> None:
        """With a refresh proxy all connections are refreshed by the server."""
        known = {"known": ("connect", "refresh"), "namespaces": {"no": {}}}
        answer = result(ConnectAnswer("u"))
        self.assertTrue(self.connect(answer, **known).server_side_refresh)
        signed = token({"sub": "t"})
        self.assertTrue(self.connect(answer, signed, **known).server_side_refresh)

    def test_emulated_headers(self) -> None:
        """Emulated headers go with the event, and are kept."""
        policy = self.asking(result(ConnectAnswer("u")), "connect")
        self.backend.kept = {"a": "b"}
        request = ConnectRequest(headers={"A": "b"})
        admission = self.outcome(policy.connect(Visitor(), request))
        self.assertEqual(self.backend.headers, [{"a": "b"}])
        self.assertEqual(admission.emulated_headers, {"a": "b"})


class RefreshTests(BackendCase):
    """The refresh event, which the server's timer starts."""

    def refresh(self, response: Any, known: str = "refresh") -> Any:
        """Refresh by a backend with this response."""
        policy = self.asking(response, known)
        return self.outcome(policy.refresh(Visitor("u"), RefreshRequest()))

    def test_result(self) -> None:
        """The result moves the expiry; info and meta replace."""
        answer = RefreshAnswer(False, NOW + 9, Raw(b"1"), "", Raw(b"2"))
        expiry = self.refresh(result(answer))
        self.assertEqual((expiry.expired, expiry.expire_at), (False, NOW + 9))
        self.assertEqual((bytes(expiry.info), bytes(expiry.meta)), (b"1", b"2"))
        self.assertEqual(self.backend.asked[0].user, "u")
        empty = self.refresh(result(RefreshAnswer()))
        self.assertEqual((empty.expire_at, empty.info, empty.meta), (0, EMPTY, EMPTY))
        far = self.refresh(result(RefreshAnswer(expire_at=NOW * 1000)))
        self.assertEqual(far.expire_at, NOW + YEAR)

    def test_expired(self) -> None:
        """An expired result, or none, ends the connection despite other fields."""
        for response in (
            result(RefreshAnswer(True, NOW + 9)),
            *(ProxyResponse(), ERROR, GO_AWAY),
        ):
            self.assertTrue(self.refresh(response).expired)

    def test_result_and_error(self) -> None:
        """A result counts, even beside an error."""
        answer = RefreshAnswer(expire_at=NOW + 9)
        response = ProxyResponse(answer, ERROR.error, GO_AWAY.disconnect)
        self.assertEqual(self.refresh(response).expire_at, NOW + 9)

    def test_failure(self) -> None:
        """When the backend cannot be asked, the connection lives another minute."""
        expiry = self.refresh(FAILED)
        self.assertEqual((expiry.expired, expiry.expire_at), (False, NOW + 60))

    def test_bad_base64(self) -> None:
        """Malformed base64 ends the connection."""
        self.assertEqual(self.refresh(result(RefreshAnswer(b64info=BAD))), 3004)


class SubscribeTests(BackendCase):
    """The subscribe event."""

    def subscribe(
        self, response: Any, known: str = "subscribe own", **request: Any
    ) -> Any:
        """Subscribe by a backend with this response."""
        namespace = {
            **{"subscribe_proxy_enabled": True, "subscribe_proxy_name": "own"},
            **{"presence": True, "allow_positioning": True, "allow_recovery": True},
            **request.pop("namespace", {}),
        }
        policy = self.asking(response, known, namespaces={"n": namespace})
        asked = SubscribeRequest("n:a", data=Raw(b"[1]"), **request)
        return self.outcome(policy.subscribe(Visitor("u"), asked))

    def test_result(self) -> None:
        """The result has expiry, info, data and overrides."""
        override = SubscribeOverride(OFF, ON, ON, ON, ON)
        answer = SubscribeAnswer(NOW + 9, Raw(b"1"), "", Raw(b"2"), "", override)
        options = self.subscribe(result(answer))
        self.assertEqual((options.expire_at, options.presence), (NOW + 9, False))
        self.assertEqual((bytes(options.info), bytes(options.data)), (b"1", b"2"))
        self.assertTrue(options.positioned and options.recoverable)
        self.assertTrue(options.join_leave and options.push_join_leave)
        self.assertEqual(options.source, Source.SUBSCRIBE_PROXY)
        self.assertFalse(options.server_side_refresh)
        [event] = self.backend.asked
        self.assertEqual((event.user, event.channel, event.token), ("u", "n:a", ""))
        self.assertEqual(bytes(event.data), b"[1]")

    def test_requested(self) -> None:
        """Positioning and recovery are not the client's choice here."""
        options = self.subscribe(ProxyResponse(), positioned=True, recoverable=True)
        self.assertFalse(options.positioned or options.recoverable)

    def test_sub_refresh(self) -> None:
        """With a sub_refresh proxy the server refreshes."""
        namespace = {"sub_refresh_proxy_enabled": True}
        for response in (ProxyResponse(), result(SubscribeAnswer())):
            options = self.subscribe(response, namespace=namespace)
            self.assertTrue(options.server_side_refresh)

    def test_cache(self) -> None:
        """Recovery of the latest publication follows the final options."""
        cache = {"force_recovery_mode": "cache", "auto_cache_recover": True}
        override = SubscribeOverride(force_recovery=ON)
        answer = SubscribeAnswer(override=override)
        options = self.subscribe(result(answer), namespace=cache)
        self.assertTrue(options.auto_recover)
        options = self.subscribe(ProxyResponse(), namespace=cache)
        self.assertFalse(options.auto_recover)

    def test_without_result(self) -> None:
        """No result, no error: allowed with defaults."""
        options = self.subscribe(ProxyResponse())
        self.assertTrue(options.presence)
        self.assertEqual(options.source, Source.SUBSCRIBE_PROXY)

    def test_refused(self) -> None:
        """Failure, error, disconnect, malformed base64 and no such proxy."""
        for response, code in (
            *((FAILED, 100), (ERROR, 404), (GO_AWAY, 4500)),
            (result(SubscribeAnswer(b64info=BAD)), 100),
            (result(SubscribeAnswer(b64data=BAD)), 100),
        ):
            self.assertEqual(self.subscribe(response), code)
        self.assertEqual(self.subscribe(ProxyResponse(), "subscribe default"), 108)

    def test_not_asked(self) -> None:
        """Tokens and user-limited channels do not concern the backend."""
        limited = {"allow_user_limited_channels": True}
        policy = self.asking(
            *(ERROR, "subscribe"),
            without={"subscribe_proxy_enabled": True, **limited},
        )
        for name, code in (("a#u", 0), ("a#v", 103)):
            outcome = self.outcome(
                policy.subscribe(Visitor("u"), SubscribeRequest(name))
            )
            self.assertEqual(outcome if isinstance(outcome, int) else 0, code)
        signed = token({"sub": "u", "channel": "a"})
        request = SubscribeRequest("a", token=signed)
        options: Any = self.outcome(policy.subscribe(Visitor("u"), request))
        self.assertEqual(options.source, Source.SUBSCRIPTION_TOKEN)
        self.assertEqual(self.backend.asked, [])


class SubRefreshTests(BackendCase):
    """The sub_refresh event."""

    def refresh(self, response: Any, channel: str = "a", *known: str) -> Any:
        """Refresh by a backend with this response."""
        policy = self.asking(
            *(response, *(known or ("sub_refresh",))),
            without={"sub_refresh_proxy_enabled": True},
        )
        request = SubRefreshRequest(channel)
        return self.outcome(policy.sub_refresh(Visitor("u"), request))

    def test_result(self) -> None:
        """The result changes the expiry; 0 means never."""
        expiry = self.refresh(result(SubRefreshAnswer(False, NOW + 9, Raw(b"1"))))
        self.assertEqual((expiry.expired, expiry.expire_at), (False, NOW + 9))
        self.assertEqual(bytes(expiry.info), b"1")
        self.assertEqual(self.backend.asked[0].channel, "a")
        self.assertEqual(self.refresh(result(SubRefreshAnswer())).expire_at, 0)
        far = self.refresh(result(SubRefreshAnswer(expire_at=NOW * 1000)))
        self.assertEqual(far.expire_at, NOW + YEAR)

    def test_expired(self) -> None:
        """Expired, no result, malformed base64, and an unknown namespace."""
        for response in (
            result(SubRefreshAnswer(True)),
            *(ProxyResponse(), ERROR, GO_AWAY),
            result(SubRefreshAnswer(b64info=BAD)),
        ):
            self.assertTrue(self.refresh(response).expired)
        self.assertTrue(self.refresh(result(SubRefreshAnswer()), "no:a").expired)

    def test_failure(self) -> None:
        """When the backend cannot be asked, the subscription lives on."""
        for known in ("sub_refresh", "sub_refresh other"):
            expiry = self.refresh(FAILED, "a", known)
            self.assertEqual((expiry.expired, expiry.expire_at), (False, NOW + 60))


class PublishTests(BackendCase):
    """The publish event."""

    def publish(self, response: Any, known: str = "publish", **namespace: Any) -> Any:
        """Publish by a backend with this response."""
        options = {
            **{"history_size": 5, "history_ttl": 60.0, "history_meta_ttl": 70.0},
            **{"delta_publish": True, "publish_proxy_enabled": True},
            **namespace,
        }
        policy = self.asking(response, known, without=options)
        request = PublishRequest("a", Raw(b'{"a":1}'))
        return self.outcome(policy.publish(Visitor("u"), request))

    def test_without_result(self) -> None:
        """The client's data is published, with the namespace's history."""
        for response in (ProxyResponse(), result(PublishAnswer())):
            options = self.publish(response)
            kept = options.history_size, options.history_ttl, options.history_meta_ttl
            self.assertEqual(kept, (5, 60.0, 70.0))
            self.assertEqual((options.data, options.delta), (None, False))
        self.assertEqual(bytes(self.backend.asked[0].data), b'{"a":1}')

    def test_result(self) -> None:
        """The result replaces the data and the options of the publication."""
        answer = PublishAnswer(
            *(Raw(b"null"), "MQ==", True, {"t": "1"}, "key", True, 7, "e")
        )
        options = self.publish(result(answer))
        self.assertEqual(bytes(options.data), b"null")
        kept = options.history_size, options.history_ttl, options.history_meta_ttl
        self.assertEqual(kept, (0, 0.0, 70.0))
        self.assertEqual((options.tags, options.idempotency_key), ({"t": "1"}, "key"))
        version = options.delta, options.version, options.version_epoch
        self.assertEqual(version, (True, 7, "e"))
        options = self.publish(result(PublishAnswer(b64data="MQ==")))
        self.assertEqual(bytes(options.data), b"1")

    def test_refused(self) -> None:
        """Failure, error, disconnect, malformed base64 and no such proxy."""
        for response, code in (
            *((FAILED, 100), (ERROR, 404), (GO_AWAY, 4500)),
            (result(PublishAnswer(b64data=BAD)), 100),
        ):
            self.assertEqual(self.publish(response), code)
        self.assertEqual(self.publish(ProxyResponse(), "rpc"), 108)

    def test_format(self) -> None:
        """Data of another format does not reach the backend."""
        self.assertEqual(
            self.publish(
                ProxyResponse(), publication_data_format="json_object"
            ).history_size,
            5,
        )
        policy = self.asking(
            *(ProxyResponse(), "publish"),
            without={
                "publish_proxy_enabled": True,
                "publication_data_format": "json_object",
            },
        )
        request = PublishRequest("a", Raw(b"1"))
        self.assertEqual(self.outcome(policy.publish(Visitor(), request)), 107)
        self.assertEqual(self.backend.asked, [])


class MapTests(BackendCase):
    """The events of maps."""

    def change(
        self, response: Any, removed: bool = False, known: str = "", **more: Any
    ) -> Any:
        """Change a map by a backend with this response."""
        own = MapOptions(
            "ephemeral",
            key_ttl=60.0,
            publish_proxy_enabled=True,
            remove_proxy_enabled=True,
        )
        options = {"subscription_type": "map", "map": own, "delta_publish": True}
        event = known or ("map_remove" if removed else "map_publish")
        policy = self.asking(response, event, without={**options, **more})
        data = EMPTY if removed else Raw(b"1")
        request = PublishRequest("a", data, key="k", removed=removed, type=1)
        return self.outcome(policy.change_map(Visitor("u"), request))

    def test_publish(self) -> None:
        """The result replaces the key, the data and the options."""
        for response in (ProxyResponse(), result(MapPublishAnswer())):
            key, change = self.change(response)
            self.assertEqual((key, change.data, change.delta), ("k", None, False))
        [event] = self.backend.asked
        self.assertEqual((event.key, bytes(event.data)), ("k", b"1"))
        answer = MapPublishAnswer(
            *("l", Raw(b"2"), "MQ==", {"t": "1"}, 5, "if_new", EMPTY, "", "i"),
            *(True, 7, "e"),
        )
        key, change = self.change(result(answer))
        self.assertEqual(
            (key, bytes(change.data), change.tags), ("l", b"2", {"t": "1"})
        )
        self.assertEqual((change.key_mode, change.idempotency_key), ("if_new", "i"))
        version = change.delta, change.version, change.version_epoch
        self.assertEqual(version, (True, 7, "e"))
        _, change = self.change(result(MapPublishAnswer(b64data="MQ==")))
        self.assertEqual(bytes(change.data), b"1")

    def test_remove(self) -> None:
        """The result says which key is removed."""
        key, _ = self.change(ProxyResponse(), removed=True)
        self.assertEqual(key, "k")
        answer = MapRemoveAnswer("l", {"t": "1"}, "i")
        key, change = self.change(result(answer), removed=True)
        self.assertEqual((key, change.tags), ("l", {"t": "1"}))
        self.assertEqual(change.idempotency_key, "i")

    def test_refused(self) -> None:
        """Failure, error, disconnect, and results that cannot be used."""
        for removed in (False, True):
            for response, code in ((FAILED, 100), (ERROR, 404), (GO_AWAY, 4500)):
                self.assertEqual(self.change(response, removed), code)
            self.assertEqual(self.change(ProxyResponse(), removed, "rpc"), 108)
            other = self.change(ProxyResponse(), removed, subscription_type="")
            self.assertEqual(other, 108)
        for answer in (
            MapPublishAnswer(b64data=BAD),
            MapPublishAnswer(key_mode="sometimes"),
        ):
            self.assertEqual(self.change(result(answer)), 100)


class RPCTests(BackendCase):
    """The rpc event."""

    def call(
        self, response: Any, method: str = "m", rules: RPCRules | None = None
    ) -> Any:
        """Call a method by a backend with this response."""
        rules = rules or RPCRules(
            ":", "default", {"n": "own", "off": None, "gone": "gone"}
        )
        policy = self.asking(response, "rpc default", "rpc own", rpc=rules)
        request = RPCRequest(Raw(b"[1]"), method)
        return self.outcome(policy.rpc(Visitor("u"), request))

    def test_result(self) -> None:
        """The result is the reply, without one it is empty."""
        self.assertEqual(bytes(self.call(result(RPCAnswer(Raw(b"1"))))), b"1")
        [event] = self.backend.asked
        self.assertEqual((event.method, bytes(event.data)), ("m", b"[1]"))
        data = self.call(result(RPCAnswer(Raw(b"1"), "/w==")))
        self.assertEqual(bytes(data), b"\xff")
        self.assertIs(self.call(ProxyResponse()), EMPTY)
        self.assertIs(self.call(result(RPCAnswer())), EMPTY)

    def test_refused(self) -> None:
        """Failure, error, disconnect and malformed base64."""
        for response, code in (
            *((FAILED, 100), (ERROR, 404), (GO_AWAY, 4500)),
            (result(RPCAnswer(b64data=BAD)), 100),
        ):
            self.assertEqual(self.call(response), code)

    def test_namespaces(self) -> None:
        """The method's namespace decides which proxy is asked."""
        for method, code in (
            *(("n:m", 0), (":m", 0), ("no:m", 104), ("off:m", 108), ("gone:m", 108)),
        ):
            outcome = self.call(ProxyResponse(), method)
            self.assertEqual(outcome if isinstance(outcome, int) else 0, code, method)
        rules = RPCRules("", "default")
        self.assertIs(self.call(ProxyResponse(), "no:m", rules), EMPTY)
        self.assertEqual(self.call(ProxyResponse(), "m", RPCRules()), 108)
        only = RPCRules(":", None, {"n": "own"})
        self.assertEqual(self.call(ProxyResponse(), "m", only), 108)
        self.assertIs(self.call(ProxyResponse(), "n:m", only), EMPTY)

    def test_ping(self) -> None:
        """The built-in method comes first."""
        policy = self.asking(ERROR, "rpc", rpc=RPCRules(), rpc_ping_method="ping")
        answered = policy.rpc(Visitor(), RPCRequest(method="ping"))
        self.assertIs(self.outcome(answered), EMPTY)
        answered = policy.rpc(Visitor(), RPCRequest(method="m"))
        self.assertEqual(self.outcome(answered), 104)
