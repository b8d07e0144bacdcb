"""Warnings about options with which the server still starts."""

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.check import problems, warnings
from centrifugo_tx.config.model import Config

from .test_check import config_of, nested

SECRET = "0123456789abcdef0123456789abcdef"
TOKEN = {"token": {"hmac_secret_key": SECRET}}
LOCAL = {"address": "127.0.0.1"}


class WarningCase(SynchronousTestCase):
    """Configurations that can be run, and the lines about them."""

    def assertWarned(self, tree: Mapping[str, Any], *beginnings: str) -> None:
        """Assert that exactly these lines come, by how they begin."""
        config = config_of(tree)
        self.assertEqual(problems(config), [])
        found = warnings(config)
        self.assertEqual(len(found), len(beginnings), found)
        for line, beginning in zip(found, beginnings, strict=True):
            self.assertTrue(line.startswith(beginning), line)
            self.assertNotIn("\n", line)

    def test_defaults(self) -> None:
        """The defaults cause none."""
        self.assertEqual(warnings(Config()), [])


class SecurityTests(WarningCase):
    """Options that admit strangers."""

    def test_insecure_modes(self) -> None:
        """Each mode is named."""
        self.assertWarned(
            {
                "http_server": {**LOCAL, "internal_port": "9000"},
                "client": {
                    "insecure": True,
                    "insecure_skip_token_signature_verify": True,
                },
                "http_api": {"insecure": True},
                "admin": {"enabled": True, "insecure": True},
                "debug": {"enabled": True},
            },
            "INSECURE client mode",
            "INSECURE HTTP API mode",
            "INSECURE admin mode",
            "INSECURE token signature mode",
            "debug endpoints",
        )

    def test_company(self) -> None:
        """Keys without effect, and ports that all machines can reach."""
        self.assertWarned(
            {"client": {"insecure": True, **TOKEN}},
            "INSECURE client mode",
            "client.insecure: true makes the keys in client.token useless",
        )
        for section in ("admin", "http_api"):
            options = {"insecure": True}
            if section == "admin":
                options["enabled"] = True
            mode = "INSECURE"
            said = f'{section}.insecure: true serves everybody who reaches ""'
            self.assertWarned({section: options}, mode, said)
            http: dict[str, Any] = {"internal_address": "127.0.0.1"}
            http["internal_port"] = 9000
            self.assertWarned({section: options, "http_server": http}, mode)
            options["external"] = True
            self.assertWarned({section: options, "http_server": http}, mode, said)

    def test_debug(self) -> None:
        """Debug pages on the port that clients use, whatever its address."""
        enabled = "debug endpoints are enabled"
        shown = "debug.enabled: true shows users and channels on http_server.port"
        http: dict[str, Any]
        for http in (
            {},
            LOCAL,
            {"internal_port": "8000"},
            {**LOCAL, "internal_address": "127.0.0.1"},
        ):
            tree = {"debug": {"enabled": True}, "http_server": http}
            self.assertWarned(tree, enabled, shown)
        apart = {"debug": {"enabled": True}, "http_server": {"internal_port": "9000"}}
        self.assertWarned(apart, enabled)

    def test_grpc(self) -> None:
        """A gRPC port without a key is open to any caller."""
        tree: dict[str, Any] = {"grpc_api": {"enabled": True}}
        self.assertWarned(tree, 'grpc_api.key: "" serves everybody')
        tree["grpc_api"]["address"] = "127.0.0.1"
        self.assertWarned(tree)

    def test_short_secrets(self) -> None:
        """Secrets under 32 bytes, whose values are not shown."""
        self.assertWarned({"client": TOKEN})
        short = "x" * 31
        tree = {
            "client": {
                "token": {"hmac_secret_key": short, "hmac_previous_secret_key": "y"},
                "subscription_token": {"enabled": True, "hmac_secret_key": "z"},
            },
            "admin": {"enabled": True, "password": "p", "secret": "s"},
            "http_api": {"key": "k"},
            "grpc_api": {"enabled": True, "key": "g"},
        }
        self.assertWarned(
            tree,
            "client.token.hmac_secret_key: has 31 bytes and may be guessed",
            "client.token.hmac_previous_secret_key: has 1 bytes",
            "client.subscription_token.hmac_secret_key: has 1 bytes",
            "admin.secret: has 1 bytes",
            "http_api.key: has 1 bytes",
            "grpc_api.key: has 1 bytes",
        )
        self.assertNotIn(short, "".join(warnings(config_of(tree))))
        self.assertWarned({"http_api": {"key": "k"}, "http_server": LOCAL})

    def test_origins(self) -> None:
        """Origin patterns for all pages; worse with tokens in URLs and with cookies."""
        for pattern in ("*", "https://*"):
            self.assertWarned(
                nested("client.allowed_origins", [pattern]),
                f'client.allowed_origins: "{pattern}" allows pages of every origin',
            )
        self.assertWarned(nested("client.allowed_origins", ["https://*.example.com"]))
        self.assertWarned(
            nested("client.allowed_origins", ["https://a", "*"]),
            'client.allowed_origins.[1]: "*" allows',
        )
        self.assertWarned(
            {
                "client": {"allowed_origins": ["*"], **TOKEN},
                "uni_sse": {"enabled": True},
                "uni_websocket": {"enabled": True},
            },
            'client.allowed_origins: "*" allows',
            'client.allowed_origins: "*" with uni_websocket and uni_sse, whose clients',
        )
        proxy = {"connect": {"enabled": True, "endpoint": "http://localhost/"}}
        found = warnings(
            config_of({"client": {"allowed_origins": ["*"], "proxy": proxy}})
        )
        self.assertTrue(any("cookies of their visitors" in line for line in found))

    def test_key_sets(self) -> None:
        """A key set that tokens or the network can bend."""
        path = "client.token.jwks_public_endpoint"
        self.assertWarned(
            nested(path, "http://keys.example.com/"),
            f'{path}: "http://keys.example.com/" is not encrypted',
        )
        for url in ("https://keys.example.com/", "http://127.0.0.1:8080/keys"):
            self.assertWarned(nested(path, url))

    def test_unverified(self) -> None:
        """Certificates that are not verified."""
        tls = {"enabled": True, "insecure_skip_verify": True}
        redis = {"address": ["rediss://r:1"], "tls": tls}
        self.assertWarned(
            {"engine": {"type": "redis", "redis": redis}},
            "engine.redis.tls.insecure_skip_verify: true accepts the certificate",
        )


class ServerTests(WarningCase):
    """Values that are replaced, or expensive."""

    def test_compression(self) -> None:
        """A level that zlib does not have is replaced by the quickest."""
        for level in (-1, 0, 1, 9):
            socket = {"compression": True, "compression_level": level}
            self.assertWarned({"websocket": socket})
        for name in ("websocket", "uni_websocket"):
            for level in (20, -2):
                socket = {"compression": True, "compression_level": level}
                if name == "uni_websocket":
                    socket["enabled"] = True
                self.assertWarned(
                    {name: socket},
                    f"{name}.compression_level: {level} is not a level from -1 to 9;"
                    " using 1",
                )

    def test_log_level(self) -> None:
        """Log levels are known in any case."""
        self.assertWarned({"log": {"level": "WARN"}})
        self.assertWarned({"log": {"level": "loud"}}, "log.level: 'loud' is unknown")

    def test_maps_apart(self) -> None:
        """Maps in memory beside a shared engine."""
        options = {"subscription_type": "map", "map": {"mode": "persistent"}}
        tree: dict[str, Any] = {
            "channel": {"without_namespace": options},
            "client": TOKEN,
        }
        self.assertWarned(tree)
        for engine in (
            {"engine": {"type": "redis"}},
            {"broker": {"enabled": True, "type": "redis"}},
        ):
            said = "map_broker.type: maps are kept in memory"
            self.assertWarned({**tree, **engine}, said)
            self.assertWarned({**tree, **engine, "map_broker": {"type": "redis"}})
        self.assertWarned({"engine": {"type": "redis"}})

    def test_presence(self) -> None:
        """An interval of updates that the engine does not wait for."""
        tree: dict[str, Any] = {
            "channel": {"without_namespace": {"presence": True}},
            "client": {"presence_update_interval": "60s", **TOKEN},
        }
        said = "client.presence_update_interval: 1m0s must be less than "
        self.assertWarned(tree, f"{said}the memory engine's limit (1m0s)")
        redis: dict[str, Any] = {"presence_ttl": "50s"}
        tree["engine"] = {"type": "redis", "redis": redis}
        self.assertWarned(tree, f"{said}engine.redis.presence_ttl (50s)")
        redis["presence_ttl"] = "61s"
        self.assertWarned(tree)
        tree["channel"] = {}
        redis["presence_ttl"] = "50s"
        self.assertWarned(tree)

    def test_large(self) -> None:
        """Limits that let one client cost much."""
        self.assertWarned(
            {"client": {"queue_max_size": 10**9, "channel_limit": 10000}},
            "client.queue_max_size: 1000000000 allows that many bytes",
        )


class ChannelTests(WarningCase):
    """Namespaces."""

    def assertChannel(self, options: Mapping[str, Any], *names: str) -> None:
        """Assert the lines about options of a namespace, by their beginnings."""
        path = "channel.namespaces.[0]"
        tree = {"channel": {"namespaces": [{"name": "aa", **options}]}}
        beginnings = [f"{path}{name}" for name in names]
        self.assertWarned({**tree, "client": TOKEN}, *beginnings)

    def test_closed(self) -> None:
        """Nobody can subscribe; anything that may allow it is enough."""
        tree: dict[str, Any] = {"channel": {"namespaces": [{"name": "aa"}]}}
        self.assertWarned(tree, "channel.namespaces.[0]: nobody can subscribe")
        for client in (
            TOKEN,
            {"token": {"jwks_public_endpoint": "https://k"}},
            {"subscription_token": {"enabled": True, "hmac_secret_key": SECRET}},
            {"subscribe_to_user_personal_channel": {"enabled": True}},
        ):
            self.assertWarned({**tree, "client": client})
        for name in ("allow_subscribe_for_client", "allow_user_limited_channels"):
            options = {"name": "aa", name: True}
            self.assertWarned({"channel": {"namespaces": [options]}})

    def test_ineffective(self) -> None:
        """Options that need others."""
        self.assertChannel(
            {"force_push_join_leave": True},
            ".force_push_join_leave: true has no effect without join_leave",
        )
        self.assertChannel(
            {"allow_publish_for_anonymous": True, "force_recovery_mode": "cache"},
            '.force_recovery_mode: "cache" has no effect without force_recovery or',
            ".allow_publish_for_anonymous: true has no effect without"
            " allow_publish_for_client or allow_publish_for_subscriber",
        )
        for name in ("allow_presence_for_client", "allow_presence_for_subscriber"):
            said = f".{name}: true has no effect without presence"
            self.assertChannel({name: True}, said)
            self.assertChannel({name: True, "presence": True})
        for name in (
            *("allow_history_for_client", "allow_history_for_subscriber"),
            "allow_recovery",
        ):
            said = f".{name}: true has no effect without history_size"
            self.assertChannel({name: True}, said)
            history = {"history_size": 1, "history_ttl": "1s"}
            self.assertChannel({name: True, **history})
        self.assertChannel(
            {"allow_subscribe_for_anonymous": True},
            ".allow_subscribe_for_anonymous: true has no effect without",
        )
        self.assertChannel(
            {"delta_publish": True},
            ".delta_publish: true has no effect without allowed_delta_types",
        )

    def test_types(self) -> None:
        """Options of maps and of polled channels in others."""
        self.assertChannel(
            {"map": {"stream_size": 5, "mode": "recoverable", "key_ttl": "1s"}},
            ".map: has no effect unless",
        )
        self.assertChannel(
            {"shared_poll": {"refresh_batch_size": 7}},
            ".shared_poll: has no effect unless",
        )

    def test_expensive(self) -> None:
        """Joins for all, and long histories."""
        joins = {"join_leave": True, "force_push_join_leave": True}
        self.assertChannel(joins, ".force_push_join_leave: true sends each join")
        self.assertChannel({"join_leave": True, "presence": True})
        self.assertChannel(
            {"history_size": 10001, "history_ttl": "1s"},
            ".history_size: 10001 publications are kept for each channel",
        )


class IneffectiveTests(WarningCase):
    """Options beside others that leave them without effect."""

    def test_switched_off(self) -> None:
        """A section that is not enabled, once."""
        self.assertWarned(
            {"sse": {"handler_prefix": "/sse", "max_request_body_size": 5}},
            "sse: has no effect while sse.enabled is false",
        )
        tls = {"server_name": "a"}
        self.assertWarned(
            {"grpc_api": {"enabled": True, "key": SECRET, "tls": tls}},
            "grpc_api.tls: has no effect while grpc_api.tls.enabled is false",
        )
        self.assertWarned({"admin": {"password": "p", "secret": "s"}})

    def test_engines(self) -> None:
        """Options of a backend that is not the chosen one."""
        redis = {"redis": {"prefix": "p"}}
        self.assertWarned(
            {"engine": redis},
            'engine.redis: has no effect, because engine.type is "memory"',
        )
        self.assertWarned({"engine": {"type": "redis", **redis}})
        self.assertWarned(
            {"broker": {"type": "redis", **redis}},
            "broker.redis: has no effect, because broker.enabled is false",
        )
        self.assertWarned(
            {
                "engine": {"type": "redis", **redis},
                "broker": {"enabled": True},
                "presence_manager": {"enabled": True},
            },
            "engine.redis: has no effect, because broker and presence_manager replace",
        )
        self.assertWarned(
            {"map_broker": redis},
            'map_broker.redis: has no effect, because map_broker.type is "memory"',
        )

    def test_tokens(self) -> None:
        """Keys beside a key set, and secrets of polls that do not exist."""
        token = {"jwks_public_endpoint": "https://k", "hmac_secret_key": SECRET}
        self.assertWarned(
            {"client": {"token": token}},
            "client.token.hmac_secret_key: has no effect, because jwks_public_endpoint",
        )
        self.assertWarned(
            {"shared_poll": {"hmac_secret_key": SECRET}},
            "shared_poll: has no effect, because no namespace",
        )

    def test_transports(self) -> None:
        """Compression that is off, and emulation without streams."""
        self.assertWarned(
            {"websocket": {"compression_min_size": 5}},
            "websocket.compression_min_size: 5 has no effect while",
        )
        tree: dict[str, Any] = {"emulation": {"handler_prefix": "/e"}}
        self.assertWarned(tree, "emulation: has no effect while sse.enabled and")
        self.assertWarned({**tree, "http_stream": {"enabled": True}})

    def test_ports(self) -> None:
        """TLS of a port that does not exist, and of none."""
        self.assertWarned(
            {"http_server": {"tls_external": True}},
            "http_server.tls_external: true has no effect",
        )
        http: dict[str, Any] = {"internal_tls": {"enabled": True}}
        (line,) = warnings(config_of({"http_server": http}))
        self.assertIn("http_server.internal_tls: has no effect, because", line)
        http["internal_port"] = 9000
        self.assertEqual(warnings(config_of({"http_server": http})), [])
