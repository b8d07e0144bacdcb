"""Old configuration files and variables, rewritten for today."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.check import problems
from centrifugo_tx.config.conversion import Conversion, convert, convert_variables
from centrifugo_tx.config.dump import FORMATS, as_text
from centrifugo_tx.config.files import parse_json, parse_toml
from centrifugo_tx.config.legacy import modernize
from centrifugo_tx.config.legacy_versions import detect
from centrifugo_tx.config.load import from_tree
from centrifugo_tx.config.model import Config
from centrifugo_tx.config.yaml_file import parse_yaml

V2 = """
secret: 0123456789abcdef0123456789abcdef
api_key: key
admin: true
admin_password: p
admin_secret: s
engine: redis
redis_host: "10.0.0.1,10.0.0.2"
redis_port: "6379,6380"
redis_read_timeout: 5
redis_write_timeout: 2
client_presence_ping_interval: 20
client_request_max_size: 1000
shutdown_timeout: 1.5
v3_use_offset: true
tls_autocert_force_rsa: false
sockjs_url: //cdn
history_size: 10
history_lifetime: 60
namespaces:
  - name: chat
    publish: true
    subscribe_to_publish: true
    anonymous: true
    presence: true
    join_leave: true
    history_size: 5
    history_lifetime: 30
    history_recover: true
  - name: own
    protected: true
    presence: true
    presence_disable_for_client: true
"""

V3 = """
token_hmac_secret_key = "0123456789abcdef0123456789abcdef"
api_key = "key"
allowed_origins = ["https://example.com"]
client_anonymous = true
presence_ttl = "90s"
uni_sse = true
tls = true
tls_cert = ""
grpc_api = true
grpc_api_tls_disable = true
position = true

[[namespaces]]
name = "chat"
history_size = 5
history_ttl = "30s"
recover = true
protected = true
"""

V4 = """{
  "token_hmac_secret_key": "0123456789abcdef0123456789abcdef",
  "allow_anonymous_connect_without_token": true,
  "allowed_origins": ["https://example.com"],
  "skip_user_check_in_subscription_token": true,
  "ping_interval": "30s",
  "http_stream": true,
  "sse": true,
  "redis_tls_skip_verify": true,
  "namespaces": [
    {"name": "chat", "allow_subscribe_for_client": true, "force_positioning": true}
  ]
}"""

V5 = """
token_jwks_public_endpoint: https://keys.example.com/
subscription_token_hmac_secret_key: 0123456789abcdef0123456789abcdef
separate_subscription_token_config: true
global_history_meta_ttl: 48h
global_presence_ttl: 30s
history_meta_ttl: 24h
rpc_ping: true
clickhouse_analytics: {enabled: true}
websocket_compression: true
swagger: true
log_level: debug
consumers:
  - {name: first, type: redis_stream,
     redis_stream: {streams: [s], consumer_group: g}}
  - {name: second, type: redis_stream, disabled: true}
namespaces:
  - {name: chat, allow_history_for_subscriber: true, subscribe_cel: "true"}
"""


def explanations(conversion: Conversion, kind: str) -> dict[str, str]:
    """Return the names of one kind of changes, with their explanations."""
    return {
        change.name: change.explanation
        for change in conversion.changes
        if change.kind == kind
    }


class ConversionCase(SynchronousTestCase):
    """Conversion of whole files."""

    def converted(self, tree: Any, version: int) -> tuple[Conversion, Config]:
        """Convert a file of *version*; the result must be right, and stable."""
        conversion = convert(tree)
        self.assertEqual(conversion.verdict.version, version, conversion.verdict.reason)
        loaded = from_tree(conversion.tree, {})
        self.assertEqual((loaded.renamed, loaded.unknown_keys), ([], []))
        self.assertEqual(problems(loaded.config), [])
        again = convert(conversion.tree)
        self.assertEqual((again.verdict.version, again.tree), (6, conversion.tree))
        for extension, parse in (
            (".json", parse_json),
            (".yaml", parse_yaml),
            (".toml", parse_toml),
        ):
            text = as_text(conversion.tree, extension)
            self.assertEqual(from_tree(parse(text), {}).config, loaded.config)
        self.assertEqual(set(FORMATS), {".json", ".yaml", ".yml", ".toml"})
        return conversion, loaded.config


class VersionTests(ConversionCase):
    """A file of each version."""

    def test_v2(self) -> None:
        """Options move, permissions and defaults of v2 are written out."""
        conversion, config = self.converted(parse_yaml(V2), 2)
        client, redis = config.client, config.engine.redis
        self.assertEqual(client.token.hmac_secret_key, "0123456789abcdef" * 2)
        self.assertEqual(redis.address, ("10.0.0.1:6379", "10.0.0.2:6380"))
        self.assertEqual(redis.io_timeout, 5.0)
        self.assertTrue(redis.history_use_lists)
        self.assertEqual(client.presence_update_interval, 20.0)
        self.assertEqual(client.queue_max_size, 10485760)
        self.assertEqual(client.stale_close_delay, 25.0)
        self.assertEqual(client.allowed_origins, ("*",))
        self.assertEqual(config.websocket.message_size_limit, 1000)
        self.assertEqual(config.shutdown.timeout, 1.5)
        chat, own = config.channel.namespaces
        self.assertEqual((chat.history_size, chat.history_ttl), (5, 30.0))
        self.assertTrue(chat.force_recovery and chat.force_push_join_leave)
        self.assertTrue(chat.allow_publish_for_subscriber)
        self.assertFalse(chat.allow_publish_for_client)
        self.assertFalse(own.allow_subscribe_for_client)
        self.assertFalse(own.allow_presence_for_subscriber)
        moved, gone = (
            explanations(conversion, "moved"),
            explanations(conversion, "gone"),
        )
        self.assertEqual(moved["secret"], "client.token.hmac_secret_key")
        self.assertEqual(
            moved["history_lifetime"], "channel.without_namespace.history_ttl"
        )
        self.assertEqual(moved["namespace chat: history_recover"], "force_recovery")
        self.assertIn("v3_use_offset", gone)
        self.assertIn("SockJS", gone)
        adapted = explanations(conversion, "adapted")
        self.assertIn("namespace chat: permissions", adapted)
        self.assertIn("client.allowed_origins", adapted)
        self.assertIn("channel.history_meta_ttl", adapted)

    def test_v3(self) -> None:
        """TOML; the gRPC port of a file with TLS can be without."""
        tree = parse_toml(V3.replace("tls = true\n", "").replace('tls_cert = ""\n', ""))
        _, config = self.converted(tree, 3)
        self.assertTrue(config.client.allow_anonymous_connect_without_token)
        self.assertEqual(config.engine.redis.presence_ttl, 90.0)
        self.assertTrue(config.channel.without_namespace.force_positioning)
        self.assertTrue(config.channel.without_namespace.allow_subscribe_for_client)
        (chat,) = config.channel.namespaces
        self.assertTrue(chat.force_recovery and chat.allow_history_for_subscriber)
        self.assertFalse(chat.allow_subscribe_for_client)
        self.assertFalse(config.grpc_api.tls.enabled)
        self.assertEqual(config.client.queue_max_size, 1048576)
        self.assertEqual(config.client.stale_close_delay, 25.0)

    def test_v4(self) -> None:
        """JSON; channels were closed by then, and positions lived for 90 days."""
        conversion, config = self.converted(parse_json(V4), 4)
        self.assertEqual(config.channel.history_meta_ttl, 90 * 86400.0)
        self.assertTrue(config.http_stream.enabled and config.sse.enabled)
        self.assertTrue(config.engine.redis.tls.insecure_skip_verify)
        self.assertEqual(config.client.stale_close_delay, 10.0)
        (chat,) = config.channel.namespaces
        self.assertTrue(chat.allow_subscribe_for_client and chat.force_positioning)
        self.assertFalse(chat.allow_user_limited_channels)
        gone = explanations(conversion, "gone")
        self.assertEqual(list(gone), ["skip_user_check_in_subscription_token"])

    def test_v5(self) -> None:
        """YAML; consumers ran unless they were disabled."""
        conversion, config = self.converted(parse_yaml(V5), 5)
        self.assertTrue(config.client.subscription_token.enabled)
        self.assertEqual(config.channel.history_meta_ttl, 48 * 3600.0)
        self.assertEqual(config.channel.without_namespace.history_meta_ttl, 86400.0)
        self.assertEqual([each.enabled for each in config.consumers], [True, False])
        self.assertEqual(config.log.level, "debug")
        gone = explanations(conversion, "gone")
        for name in ("clickhouse_analytics", "channel.namespaces.[0].subscribe_cel"):
            self.assertEqual(gone[name], "it belongs to Centrifugo PRO")
        self.assertEqual(explanations(conversion, "adapted"), {})

    def test_v6(self) -> None:
        """A file of today stays as it is."""
        tree = {"client": {"insecure": True}, "foo": 1}
        conversion = convert(tree)
        self.assertEqual((conversion.tree, conversion.changes), (tree, []))


class DetectionTests(SynchronousTestCase):
    """The version of a file."""

    def test_untold(self) -> None:
        """Options of several versions do not tell whether channels were open."""
        tree = {"token_hmac_secret_key": "s", "api_key": "k"}
        self.assertEqual(detect(tree).version, 0)
        self.assertEqual(convert(tree).tree, tree)
        opened = convert(tree, 3).tree["channel"]["without_namespace"]
        self.assertTrue(opened["allow_subscribe_for_client"])
        self.assertNotIn("channel", convert(tree, 5).tree)

    def test_contradiction(self) -> None:
        """Options that no version had together do not tell either."""
        verdict = detect({"secret": "s", "allow_subscribe_for_client": True})
        self.assertEqual(verdict.version, 0)
        self.assertIn("secret", verdict.reason)

    def test_said(self) -> None:
        """The file itself can say."""
        self.assertEqual(detect({"api_key": "k", "legacy_version": 3}).version, 3)

    def test_kinds(self) -> None:
        """Options of two versions: the newer one that has them."""
        self.assertEqual(detect({"anonymous": True}).version, 3)
        self.assertEqual(detect({"presence": True, "http_stream": True}).version, 5)
        item = {"name": "aa", "History_Recover": True}
        self.assertEqual(detect({"namespaces": [item]}).version, 2)


class SpecialTests(SynchronousTestCase):
    """Options that depend on others."""

    def config(self, version: int, **tree: object) -> Config:
        """Return the configuration that a file makes."""
        return from_tree(convert(tree, version).tree, {}).config

    def test_grpc_tls(self) -> None:
        """The gRPC ports used the TLS of the others, unless they had their own."""
        pem = "-----BEGIN X-----\n-----END X-----"
        given: dict[str, Any] = {"tls": True, "tls_cert_pem": pem, "tls_key_pem": pem}
        config = self.config(5, grpc_api=True, uni_grpc=True, **given)
        for section in (config.grpc_api, config.uni_grpc):
            self.assertTrue(section.tls.enabled)
            self.assertEqual(section.tls.cert_pem, pem)
        config = self.config(5, grpc_api=True, grpc_api_tls_disable=True, **given)
        self.assertFalse(config.grpc_api.tls.enabled or config.uni_grpc.tls.enabled)
        config = self.config(
            5, grpc_api=True, grpc_api_tls=True, grpc_api_tls_cert=pem, **given
        )
        self.assertTrue(config.grpc_api.tls.enabled)
        self.assertEqual(config.grpc_api.tls.key_pem, "")

    def test_publish_proxy(self) -> None:
        """Before v4 the publish proxy was asked only where clients could publish."""
        for publish in (True, False):
            tree = {"proxy_publish": True, "publish": publish}
            channel = self.config(3, **tree).channel.without_namespace
            self.assertEqual(channel.publish_proxy_enabled, publish)
        channel = self.config(5, proxy_publish=True).channel.without_namespace
        self.assertTrue(channel.publish_proxy_enabled)

    def test_named_proxies(self) -> None:
        """Names of proxies apply only in granular mode, and only they do there."""
        tree: dict[str, Any] = {
            "proxies": [{"name": "own", "endpoint": "http://o"}],
            "proxy_connect_endpoint": "http://global",
            "connect_proxy_name": "own",
            "namespaces": [{"name": "aa", "subscribe_proxy_name": "own"}],
        }
        config = self.config(5, **tree)
        self.assertEqual(config.client.proxy.connect.endpoint, "http://global")
        self.assertFalse(config.channel.namespaces[0].subscribe_proxy_enabled)
        config = self.config(5, granular_proxy_mode=True, **tree)
        self.assertEqual(config.client.proxy.connect.endpoint, "http://o")
        self.assertTrue(config.channel.namespaces[0].subscribe_proxy_enabled)

    def test_headers_of_v2(self) -> None:
        """v2 forwarded some headers always; v3 those that are listed."""
        endpoint = "http://c"
        headers = self.config(2, proxy_connect_endpoint=endpoint).client.proxy.connect
        self.assertIn("Cookie", headers.http_headers)
        headers = self.config(3, proxy_connect_endpoint=endpoint).client.proxy.connect
        self.assertEqual(headers.http_headers, ())

    def test_old_file_runs(self) -> None:
        """Server and converter give an old file the same meaning."""
        tree = parse_yaml(V5)
        read = from_tree(modernize(tree)[0], {}).config
        self.assertEqual(read, from_tree(convert(tree).tree, {}).config)


class VariableTests(SynchronousTestCase):
    """Environment variables."""

    def test_names(self) -> None:
        """Old names become today's; values stay text."""
        conversion, found = convert_variables(
            {
                "CENTRIFUGO_TOKEN_HMAC_SECRET_KEY": "s",
                "CENTRIFUGO_ALLOWED_ORIGINS": "https://a https://b",
                "CENTRIFUGO_NAMESPACES": '[{"name": "aa", "presence": true}]',
                "CENTRIFUGO_ADMIN": "true",
                "CENTRIFUGO_ADMIN_PASSWORD": "p",
                "CENTRIFUGO_PRESENCE": "true",
                "CENTRIFUGO_GLOBAL_PRESENCE_TTL": "30s",
                "CENTRIFUGO_SOCKJS": "true",
                "CENTRIFUGO_EMPTY": "",
                "CENTRIFUGO_FOO": "x",
                "CENTRIFUGO_VAR_X": "kept",
                "OTHER": "1",
            }
        )
        self.assertEqual(conversion.verdict.version, 5)
        self.assertEqual(
            found,
            {
                "CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY": "s",
                "CENTRIFUGO_CLIENT_ALLOWED_ORIGINS": "https://a https://b",
                "CENTRIFUGO_CHANNEL_NAMESPACES": '[{"name": "aa", "presence": true}]',
                "CENTRIFUGO_ADMIN_ENABLED": "true",
                "CENTRIFUGO_ADMIN_PASSWORD": "p",
                "CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_PRESENCE": "true",
                "CENTRIFUGO_ENGINE_REDIS_PRESENCE_TTL": "30s",
                "CENTRIFUGO_VAR_X": "kept",
            },
        )
        self.assertEqual(list(explanations(conversion, "gone")), ["sockjs", "foo"])

    def test_same_meaning(self) -> None:
        """The new variables are read as the old ones would have been."""
        _, found = convert_variables({"CENTRIFUGO_SHUTDOWN_TIMEOUT": "5s"}, 5)
        self.assertEqual(from_tree(None, found).config.shutdown.timeout, 5.0)

    def test_permissions(self) -> None:
        """Permissions are added where channel options are."""
        _, found = convert_variables({"CENTRIFUGO_API_KEY": "k"}, 3)
        self.assertEqual(found, {"CENTRIFUGO_HTTP_API_KEY": "k"})
        _, found = convert_variables({"CENTRIFUGO_ANONYMOUS": "true"}, 3)
        name = "CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_ALLOW_SUBSCRIBE_FOR_ANONYMOUS"
        self.assertEqual(found[name], "true")

    def test_current(self) -> None:
        """Current variables are unchanged; others may need --from."""
        conversion, found = convert_variables({"CENTRIFUGO_LOG_LEVEL": "info"})
        self.assertEqual(conversion.verdict.version, 6)
        self.assertEqual(found, {"CENTRIFUGO_LOG_LEVEL": "info"})
        conversion, _ = convert_variables({"CENTRIFUGO_API_KEY": "k"})
        self.assertEqual(conversion.verdict.version, 0)
