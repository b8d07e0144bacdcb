"""Rules between options."""

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.check import check, problems, warnings
from centrifugo_tx.config.model import Config
from centrifugo_tx.config.reader import Reader
from centrifugo_tx.errors import ConfigError


def config_of(tree: Mapping[str, Any]) -> Config:
    """Return a configuration as a file with this content makes it."""
    reader = Reader({}, {})
    config = reader.section(Config, tree, "", "")
    assert isinstance(config, Config) and not reader.problems, reader.problems
    return config


def nested(path: str, value: object) -> dict[str, Any]:
    """Return a tree with a value at a dotted path."""
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def channel(**options: object) -> dict[str, Any]:
    """Return a tree with options for channels without a namespace."""
    return {"channel": {"without_namespace": options}}


class CheckCase(SynchronousTestCase):
    """Something that checks configurations."""

    def assertProblem(self, tree: Mapping[str, Any], *beginnings: str) -> None:
        """Assert that exactly these problems are reported, by their beginnings."""
        found = problems(config_of(tree))
        self.assertEqual(len(found), len(beginnings), found)
        for line, beginning in zip(found, beginnings, strict=True):
            self.assertTrue(line.startswith(beginning), line)

    def assertFine(self, tree: Mapping[str, Any]) -> None:
        """Assert that nothing is wrong."""
        self.assertEqual(problems(config_of(tree)), [])


class AllTests(CheckCase):
    """The whole configuration."""

    def test_defaults(self) -> None:
        """The defaults are right, and nothing is to be warned of."""
        self.assertFine({})
        self.assertEqual(warnings(Config()), [])

    def test_together(self) -> None:
        """All problems come at once, a line each."""
        tree = {"engine": {"type": "x"}, "client": {"ping_interval": "1s"}}
        with self.assertRaises(ConfigError) as caught:
            check(config_of(tree))
        self.assertEqual(
            str(caught.exception).split("\n"),
            [
                'engine.type: "x" must be one of "memory", "redis"',
                "client.ping_interval: 1s must be greater than client.pong_timeout"
                " (8s)",
            ],
        )


class ServerTests(CheckCase):
    """Addresses, engines, endpoints."""

    def test_workers(self) -> None:
        """Workers are a number that machines have cores, or ``auto``."""
        for wrong in ("x", "-1", "257", "1.5", "\u0663"):
            self.assertProblem({"workers": wrong}, "workers: '")
        for right in (0, 1, "2", 256, "auto"):
            self.assertFine({"workers": right})

    def test_ports(self) -> None:
        """A port is a number that a port can have."""
        self.assertProblem(nested("http_server.port", 70000), "http_server.port: 70000")
        for wrong in ("0x10", "70000", "\u0665", "-1"):
            self.assertProblem(
                nested("http_server.internal_port", wrong), "http_server.internal_port"
            )
        self.assertFine(nested("http_server.internal_port", "9000"))

    def test_h2c(self) -> None:
        """HTTP/2 in clear text needs an internal port of its own, and no TLS."""
        http: dict[str, Any] = {"h2c_external": True}
        self.assertProblem({"http_server": http}, "http_server.h2c_external: requires")
        http["internal_port"] = "8000"
        self.assertProblem({"http_server": http}, "http_server.h2c_external: requires")
        http["internal_port"] = "9000"
        self.assertFine({"http_server": http})

    def test_tls(self) -> None:
        """TLS needs certificate and key; HTTP/3 needs TLS; WebTransport HTTP/3."""
        self.assertProblem(nested("http_server.tls.enabled", True), "http_server.tls")
        self.assertProblem(
            nested("http_server.http3.enabled", True), "http_server.http3.enabled"
        )
        self.assertProblem(nested("webtransport.enabled", True), "webtransport.enabled")

    def test_types(self) -> None:
        """Brokers and the like are of known types."""
        for path in ("broker.type", "map_broker.type", "engine.type"):
            self.assertProblem(nested(path, "rabbit"), f'{path}: "rabbit" must be')
        manager = {"type": "x"}
        self.assertFine({"presence_manager": manager})
        self.assertProblem(
            {"presence_manager": {**manager, "enabled": True}}, "presence_manager.type"
        )
        self.assertProblem(nested("controller.enabled", True), "controller.type")

    def test_engine_unused(self) -> None:
        """The engine's type does not matter when nothing is left to it."""
        both = {"broker": {"enabled": True}, "presence_manager": {"enabled": True}}
        self.assertFine({**both, "engine": {"type": "x"}})

    def test_unreleased(self) -> None:
        """An unfinished broker needs its switch."""
        broker = {"broker": {"enabled": True, "type": "redisnats"}}
        self.assertProblem(broker, "broker.type")
        self.assertFine({**broker, "enable_unreleased_features": True})

    def test_prefix(self) -> None:
        """Paths begin with a slash."""
        self.assertProblem(
            nested("websocket.handler_prefix", "ws"), "websocket.handler_prefix: 'ws'"
        )

    def test_same_path(self) -> None:
        """Two endpoints of a port have two paths."""
        health = {"enabled": True, "handler_prefix": "/api/"}
        self.assertProblem(
            {"health": health},
            "http_api.handler_prefix: '/api' takes '/api', which"
            " health.handler_prefix already uses",
        )
        self.assertProblem(
            nested("websocket.handler_prefix", "/api/info"),
            "http_api.handler_prefix: '/api' takes '/api/info', which"
            " websocket.handler_prefix already uses",
        )
        self.assertProblem(
            {"sse": {"enabled": True, "handler_prefix": "/emulation"}},
            "emulation.handler_prefix: '/emulation' takes '/emulation', which"
            " sse.handler_prefix already uses",
        )
        self.assertFine({"health": {**health, "enabled": False}})
        self.assertFine({"health": health, "http_api": {"disabled": True}})

    def test_same_path_elsewhere(self) -> None:
        """On two ports a path may be the same."""
        tree = nested("websocket.handler_prefix", "/api")
        self.assertProblem(tree, "http_api.handler_prefix")
        self.assertFine({**tree, "http_server": {"internal_port": 9000}})
        self.assertFine(
            {
                **tree,
                "http_server": {"address": "127.0.0.1", "internal_address": "::1"},
            }
        )
        external = {**tree, "http_server": {"internal_port": 9000}}
        external["http_api"] = {"external": True}
        self.assertProblem(external, "http_api.handler_prefix")

    def test_same_port(self) -> None:
        """Two listeners have two ports, or two addresses."""
        grpc = {"enabled": True, "port": 8000}
        self.assertProblem(
            {"uni_grpc": grpc},
            "uni_grpc.port: 8000 is already used by http_server.port",
        )
        self.assertProblem(
            {"uni_grpc": {**grpc, "address": "127.0.0.1"}},
            "uni_grpc.port: 8000 is already used by http_server.port, and"
            " uni_grpc.address '127.0.0.1' overlaps http_server.address ''",
        )
        self.assertProblem(
            {"uni_grpc": {**grpc, "port": 10000}, "grpc_api": {"enabled": True}},
            "uni_grpc.port: 10000 is already used by grpc_api.port",
        )
        self.assertFine({"uni_grpc": {**grpc, "enabled": False}})
        self.assertFine(
            {
                "uni_grpc": {**grpc, "address": "127.0.0.2"},
                "http_server": {"address": "127.0.0.1"},
            }
        )

    def test_same_internal_port(self) -> None:
        """Clients and all others have one listener, or two that fit together."""
        self.assertFine(nested("http_server.internal_port", 8000))
        http = {"internal_address": "127.0.0.1"}
        self.assertProblem(
            {"http_server": http},
            "http_server.port: 8000 is already used by http_server.port, and"
            " http_server.internal_address '127.0.0.1' overlaps",
        )
        self.assertFine({"http_server": http, "http_api": {"disabled": True}})
        self.assertFine({"http_server": {**http, "internal_port": 9000}})
        grpc = {"uni_grpc": {"enabled": True, "port": 9000}}
        self.assertProblem(
            {"http_server": {"internal_port": 9000}, **grpc},
            "uni_grpc.port: 9000 is already used by http_server.internal_port",
        )

    def test_error_mode(self) -> None:
        """The error mode of gRPC is empty or transport."""
        self.assertProblem(nested("grpc_api.error_mode", "x"), "grpc_api.error_mode")


class ClientTests(CheckCase):
    """Connections and tokens."""

    def test_pings(self) -> None:
        """Pings are further apart than a pong may take, unless none is expected."""
        client = {"ping_interval": "5s", "pong_timeout": "5s"}
        self.assertProblem({"client": client}, "client.ping_interval: 5s must be")
        self.assertFine({"client": {**client, "pong_timeout": "-1s"}})

    def test_origins(self) -> None:
        """Patterns of origins are globs."""
        self.assertFine(nested("client.allowed_origins", ["https://*.a.b", "*"]))
        self.assertProblem(
            nested("client.allowed_origins", ["*", "[a"]), "client.allowed_origins.[1]"
        )

    def test_claim(self) -> None:
        """The user's claim has a simple name."""
        self.assertProblem(
            nested("client.token.user_id_claim", "a.b"), "client.token.user_id_claim"
        )

    def test_exact_and_regex(self) -> None:
        """Audience and issuer are given exactly or as expressions."""
        for name in ("audience", "issuer"):
            token = {name: "a", f"{name}_regex": "b"}
            self.assertProblem(
                {"client": {"token": token}}, f"client.token.{name}_regex: cannot"
            )

    def test_expressions(self) -> None:
        """Expressions compile, by the rules of RE2."""
        for wrong in ("(", "(?=a)"):
            self.assertProblem(
                nested("client.token.issuer_regex", wrong), "client.token.issuer_regex"
            )

    def test_subscription_tokens(self) -> None:
        """The second section counts only when it is used."""
        token: dict[str, Any] = {"user_id_claim": "a.b"}
        self.assertFine({"client": {"subscription_token": token}})
        self.assertProblem(
            {"client": {"subscription_token": {**token, "enabled": True}}},
            "client.subscription_token.user_id_claim",
        )

    def test_personal_channel(self) -> None:
        """Its namespace exists, and a single connection needs presence there."""
        path = "client.subscribe_to_user_personal_channel"
        personal: dict[str, Any] = {"personal_channel_namespace": "me"}
        self.assertFine(nested(path, personal))
        personal["enabled"] = True
        self.assertProblem(
            nested(path, personal), f"{path}.personal_channel_namespace: 'me'"
        )
        namespaces = {"channel": {"namespaces": [{"name": "me"}]}}
        self.assertFine({**nested(path, personal), **namespaces})
        personal["single_connection"] = True
        self.assertProblem(
            {**nested(path, personal), **namespaces}, f"{path}.single_connection"
        )

    def test_single_connection_unused(self) -> None:
        """A single connection needs presence even while the feature is off."""
        path = "client.subscribe_to_user_personal_channel.single_connection"
        self.assertProblem(nested(path, True), path)
        self.assertFine({**nested(path, True), **channel(presence=True)})

    def test_transforms(self) -> None:
        """Transforms have codes, and reasons that fit a close frame."""
        path = "client.connect_code_to_unidirectional_disconnect.transforms"
        self.assertProblem(
            nested(path, [{"to": {"reason": "\u00e9"}}]),
            f"{path}.[0].code",
            f"{path}.[0].to.code",
            f"{path}.[0].to.reason",
        )
        path = "uni_sse.connect_code_to_http_response.transforms"
        self.assertProblem(
            nested(path, [{}]), f"{path}.[0].code", f"{path}.[0].to.status_code"
        )


class ChannelTests(CheckCase):
    """Channel options."""

    def problem(self, beginning: str, **options: object) -> None:
        """Assert one problem of channels without a namespace."""
        self.assertProblem(channel(**options), f"channel.without_namespace.{beginning}")

    def test_names(self) -> None:
        """Namespaces have unique names of certain characters."""
        for path in ("channel.namespaces", "rpc.namespaces"):
            names = [{"name": "ab"}, {"name": "a"}, {"name": "a:b"}, {"name": "ab"}]
            self.assertProblem(
                nested(path, names),
                f"{path}.[1].name: 'a' must match",
                f"{path}.[2].name: 'a:b' must match",
                f"{path}.[3].name: 'ab' is used twice",
            )

    def test_whole_seconds(self) -> None:
        """TTLs of history are whole seconds."""
        self.assertProblem(
            nested("channel.history_meta_ttl", "1500ms"),
            "channel.history_meta_ttl: 1.5",
        )
        self.problem("history_ttl: 1.5s", history_size=1, history_ttl="1500ms")

    def test_history(self) -> None:
        """History needs size and TTL, and the meta TTL outlives it."""
        self.assertFine(channel(history_size=1, history_ttl="1m"))
        self.problem("history_ttl", history_size=1)
        self.problem("history_size", history_ttl="1m")
        self.problem("history_ttl: 721h0m0s", history_size=1, history_ttl="721h")
        self.problem(
            "history_ttl: 1m0s",
            history_size=1,
            history_ttl="1m",
            history_meta_ttl="30s",
        )

    def test_recovery(self) -> None:
        """Recovery needs history, cache recovery both of its switches."""
        self.problem("force_recovery", force_recovery=True)
        history = {"history_size": 1, "history_ttl": "1m", "force_recovery": True}
        self.assertFine(channel(**history))
        self.problem("auto_cache_recover", **history, auto_cache_recover=True)
        self.assertFine(
            channel(**history, auto_cache_recover=True, force_recovery_mode="cache")
        )

    def test_regex(self) -> None:
        """The expression for names compiles."""
        self.problem("channel_regex: '('", channel_regex="(")

    def test_delta(self) -> None:
        """There is one kind of delta."""
        self.assertFine(channel(allowed_delta_types=["fossil"]))
        self.problem("allowed_delta_types: 'x'", allowed_delta_types=["x"])

    def test_proxies(self) -> None:
        """Names of proxies exist, and the default one has an endpoint."""
        self.problem("subscribe_proxy_name: 'x'", subscribe_proxy_name="x")
        self.assertProblem(
            channel(publish_proxy_enabled=True), "channel.proxy.publish.endpoint"
        )
        self.assertFine(
            {
                **channel(publish_proxy_enabled=True, publish_proxy_name="own"),
                "proxies": [{"name": "own", "endpoint": "http://a"}],
            }
        )

    def test_stream_proxy(self) -> None:
        """A stream proxy uses gRPC, and excludes other proxies."""
        own = {"name": "own", "endpoint": "http://a"}
        options: dict[str, Any] = {
            "subscribe_stream_proxy_enabled": True,
            "subscribe_stream_proxy_name": "own",
        }
        path = "channel.without_namespace.subscribe_stream_proxy"
        self.assertProblem({**channel(**options), "proxies": [own]}, f"{path}_name")
        own["endpoint"] = "grpc://a:1"
        options |= {"publish_proxy_enabled": True, "publish_proxy_name": "own"}
        self.assertProblem({**channel(**options), "proxies": [own]}, f"{path}_enabled")

    def test_map(self) -> None:
        """A map has a mode, and the TTLs that the mode asks for."""
        self.problem("map.mode", subscription_type="map")
        self.problem(
            "map.key_ttl", subscription_type="map", map={"mode": "recoverable"}
        )
        persistent = {"mode": "persistent"}
        self.assertFine(channel(subscription_type="map", map=persistent))
        self.problem("map.mode", subscription_type="map_users", map=persistent)
        ephemeral = {"mode": "ephemeral", "key_ttl": "1m"}
        self.problem("map.stream_size", map={**ephemeral, "stream_size": 1})
        self.problem("map.stream_ttl", map={**persistent, "stream_ttl": "-1s"})
        recoverable = {"mode": "recoverable", "key_ttl": "1m", "meta_ttl": "30s"}
        self.problem("map.meta_ttl", map=recoverable)
        recoverable = {"mode": "recoverable", "key_ttl": "1h", "meta_ttl": "2m"}
        self.problem("map.meta_ttl", map=recoverable)
        self.problem("map.meta_ttl", map={**persistent, "meta_ttl": "2m"})
        self.problem(
            "map.default_page_size", map={"min_page_size": 9, "max_page_size": 3}
        )
        self.problem(
            "map.remove_client_on_unsubscribe",
            map={"remove_client_on_unsubscribe": True},
        )

    def test_presence_prefix(self) -> None:
        """A presence prefix leads to a namespace of its type."""
        self.problem(
            "map_clients_presence_channel_prefix: 'pp:'",
            map_clients_presence_channel_prefix="pp:",
        )

    def test_shared_poll(self) -> None:
        """Shared poll needs its key, and a backend."""
        tree = channel(subscription_type="shared_poll")
        backend: dict[str, Any] = {"endpoint": "http://a/poll"}
        keys = {"shared_poll": {"hmac_secret_key": "k"}}
        tree["channel"]["proxy"] = {"shared_poll_refresh": backend}
        path = "channel.without_namespace"
        self.assertProblem(tree, f"{path}.subscription_type: shared_poll needs")
        self.assertFine({**tree, **keys})
        tree["channel"]["without_namespace"]["shared_poll"] = {
            "refresh_interval": "-1s"
        }
        negative = f"{path}.shared_poll.refresh_interval"
        self.assertProblem({**tree, **keys}, negative)
        del tree["channel"]["without_namespace"]["shared_poll"]
        tree["channel"]["proxy"] = {"shared_poll_refresh": {"endpoint": ""}}
        missing = "channel.proxy.shared_poll_refresh.endpoint: must be set"
        self.assertProblem({**tree, **keys}, missing)

    def test_shared_poll_publish(self) -> None:
        """Keys are published with versions, over any engine."""
        poll = {"publish_enabled": True, "mode": "versioned", "proxy_name": "own"}
        keys = {
            "shared_poll": {"hmac_secret_key": "k"},
            "proxies": [{"name": "own", "endpoint": "http://a"}],
        }
        options = channel(subscription_type="shared_poll", shared_poll=poll)
        path = "channel.without_namespace.shared_poll.publish_enabled"
        self.assertFine({**options, **keys})
        self.assertFine({**options, **keys, "engine": {"type": "redis"}})
        del poll["mode"]
        self.assertProblem({**options, **keys}, path)


class ProxyTests(CheckCase):
    """Proxies and consumers."""

    def test_default_proxies(self) -> None:
        """An enabled proxy has an endpoint."""
        self.assertProblem(
            nested("client.proxy.connect.enabled", True),
            "client.proxy.connect.endpoint",
        )

    def test_names(self) -> None:
        """Names are unique, well-formed, and not the reserved one."""
        named = {"endpoint": "http://a"}
        self.assertProblem(
            {
                "proxies": [
                    {"name": "aa", **named},
                    {"name": "aa", **named},
                    {"name": "default", **named},
                ]
            },
            "proxies.[1].name: 'aa' is used twice",
            'proxies.[2].name: "default" is reserved',
        )

    def test_status_transforms(self) -> None:
        """A transform has a status and one target."""
        both = {"to_error": {"code": 1}, "to_disconnect": {"code": 4000}}
        proxy = {
            "name": "aa",
            "endpoint": "http://a",
            "http": {"status_to_code_transforms": [{"status_code": 400, **both}, {}]},
        }
        path = "proxies.[0].http.status_to_code_transforms"
        self.assertProblem(
            {"proxies": [proxy]},
            f"{path}.[0]: needs either",
            f"{path}.[1].status_code",
            f"{path}.[1]: needs either",
        )

    def test_rpc(self) -> None:
        """RPC names proxies that exist."""
        self.assertProblem(
            nested("rpc.without_namespace.proxy_name", "x"), "rpc.without_namespace"
        )

    def test_consumers(self) -> None:
        """Consumers have names and known types."""
        self.assertProblem(
            {"consumers": [{"name": "a-b", "type": "kafka"}, {"name": "ab"}]},
            "consumers.[0].name",
            "consumers.[1].type",
        )
