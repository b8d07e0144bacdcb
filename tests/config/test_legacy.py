"""Flat names of v1 to v5."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.legacy import modernize
from centrifugo_tx.config.model import Config

from .test_check import config_of


def modern(**tree: object) -> Config:
    """Return the configuration that old names make."""
    return config_of(modernize(tree)[0])


class NameTests(SynchronousTestCase):
    """Names at the top."""

    def test_today(self) -> None:
        """A file of today is left as it is."""
        tree = {"client": {"insecure": True}, "pid_file": "x", "log": {"level": "warn"}}
        self.assertEqual(modernize(tree), (tree, []))

    def test_lines(self) -> None:
        """Each old name gets a line that says what became of it."""
        _, lines = modernize({"api_key": "k", "sockjs": True})
        self.assertEqual(
            [str(change) for change in lines],
            [
                "old option api_key is read as http_api.key",
                "old option sockjs no longer has any effect: HTTP streaming and SSE"
                " replace SockJS",
            ],
        )

    def test_v5(self) -> None:
        """Options of a file of v5."""
        config = modern(
            token_hmac_secret_key="t",
            api_key="k",
            api_insecure=True,
            admin=True,
            admin_password="p",
            admin_secret="s",
            allowed_origins=["https://a"],
            allow_anonymous_connect_without_token=True,
            client_channel_limit=5,
            ping_interval="30s",
            port=9000,
            internal_port=9001,
            tls=True,
            tls_cert_pem="",
            log_level="debug",
            name="n",
            health=True,
            prometheus=True,
            prometheus_handler_prefix="/m",
            websocket_compression=True,
            uni_sse=True,
            engine="redis",
            redis_address="redis:6379",
            redis_prefix="p",
            shutdown_timeout="5s",
            global_history_meta_ttl="1h",
            node_info_metrics_aggregate_interval="5s",
            rpc_ping=True,
        )
        self.assertEqual(config.client.token.hmac_secret_key, "t")
        self.assertEqual(config.http_api.key, "k")
        self.assertTrue(config.http_api.insecure)
        self.assertTrue(config.admin.enabled)
        self.assertEqual(config.admin.password, "p")
        self.assertEqual(config.client.allowed_origins, ("https://a",))
        self.assertTrue(config.client.allow_anonymous_connect_without_token)
        self.assertEqual(config.client.channel_limit, 5)
        self.assertEqual(config.client.ping_interval, 30.0)
        self.assertEqual(config.http_server.port, 9000)
        self.assertEqual(config.http_server.internal_port, "9001")
        self.assertTrue(config.http_server.tls.enabled)
        self.assertEqual(config.log.level, "debug")
        self.assertEqual(config.node.name, "n")
        self.assertTrue(config.health.enabled)
        self.assertTrue(config.prometheus.enabled)
        self.assertEqual(config.prometheus.handler_prefix, "/m")
        self.assertTrue(config.websocket.compression)
        self.assertTrue(config.uni_sse.enabled)
        self.assertEqual(config.engine.type, "redis")
        self.assertEqual(config.engine.redis.address, ("redis:6379",))
        self.assertEqual(config.engine.redis.prefix, "p")
        self.assertEqual(config.shutdown.timeout, 5.0)
        self.assertEqual(config.channel.history_meta_ttl, 3600.0)
        self.assertEqual(config.node.info_metrics_aggregate_interval, 5.0)
        self.assertTrue(config.rpc.ping.enabled)

    def test_seconds(self) -> None:
        """A number in an old duration counts seconds."""
        config = modern(client_stale_close_delay=25, shutdown_timeout=1.5)
        self.assertEqual(config.client.stale_close_delay, 25.0)
        self.assertEqual(config.shutdown.timeout, 1.5)

    def test_type_decides(self) -> None:
        """A name that is both old and current is identified by its type."""
        for name in ("admin", "debug", "health", "sse", "grpc_api"):
            self.assertTrue(getattr(modern(**{name: True}), name).enabled)
            self.assertEqual(modernize({name: {"enabled": True}})[1], [])

    def test_no_old_name(self) -> None:
        """A scalar under a name that never was a flat one is left as it is."""
        tree = {"http_server": 5, "client": "x"}
        self.assertEqual(modernize(tree), (tree, []))

    def test_today_wins(self) -> None:
        """A path of today in the same file goes before."""
        tree = {"api_key": "old", "http_api": {"key": "new"}}
        found, lines = modernize(tree)
        self.assertEqual(config_of(found).http_api.key, "new")
        self.assertEqual(
            [*map(str, lines)],
            ["old option api_key is ignored in favor of http_api.key"],
        )

    def test_broker(self) -> None:
        """A broker by its name is switched on."""
        config = modern(broker="nats", nats_url="nats://n", nats_prefix="p")
        self.assertTrue(config.broker.enabled)
        self.assertEqual(config.broker.type, "nats")
        self.assertEqual(config.broker.nats.url, "nats://n")

    def test_redis_hosts(self) -> None:
        """Lists of hosts and ports become addresses."""
        config = modern(redis_host="a,b", redis_port="1,2")
        self.assertEqual(config.engine.redis.address, ("a:1", "b:2"))
        self.assertEqual(modern(redis_port=7).engine.redis.address, ("127.0.0.1:7",))

    def test_tls_object(self) -> None:
        """TLS of v5 had three names for each PEM."""
        pem = "-----BEGIN X-----\n-----END X-----"
        config = modern(nats_tls={"enabled": True, "cert_pem_file": "", "key_pem": pem})
        self.assertTrue(config.broker.nats.tls.enabled)
        self.assertEqual(config.broker.nats.tls.key_pem, pem)

    def test_unknown(self) -> None:
        """A name that never was one is left for the report of unknown keys."""
        self.assertEqual(modernize({"foo": 1}), ({"foo": 1}, []))


class ChannelTests(SynchronousTestCase):
    """Channel options, and the permissions of v1 to v3."""

    def test_v5(self) -> None:
        """Options at the top belong to names without namespace."""
        config = modern(
            presence=True,
            history_size=10,
            history_ttl="60s",
            allow_subscribe_for_client=True,
            namespaces=[{"name": "ns", "proxy_subscribe": True}],
        )
        options = config.channel.without_namespace
        self.assertTrue(options.presence and options.allow_subscribe_for_client)
        self.assertEqual((options.history_size, options.history_ttl), (10, 60.0))
        self.assertFalse(options.allow_user_limited_channels)
        (namespace,) = config.channel.namespaces
        self.assertTrue(namespace.subscribe_proxy_enabled)
        self.assertFalse(namespace.allow_subscribe_for_client)

    def test_v2(self) -> None:
        """Channels that were open by default are opened."""
        config = modern(
            secret="s",
            namespaces=[
                {
                    "name": "open",
                    "publish": True,
                    "anonymous": True,
                    "presence": True,
                    "join_leave": True,
                    "history_size": 5,
                    "history_lifetime": 60,
                    "history_recover": True,
                },
                {"name": "narrow", "publish": True, "subscribe_to_publish": True},
                {"name": "closed", "protected": True, "anonymous": True},
                {"name": "mute", "presence": True, "presence_disable_for_client": True},
            ],
        )
        opened, narrow, closed, mute = config.channel.namespaces
        for name in (
            *("allow_user_limited_channels", "allow_subscribe_for_client"),
            *("allow_subscribe_for_anonymous", "allow_publish_for_client"),
            *("allow_publish_for_anonymous", "allow_presence_for_subscriber"),
            *("allow_presence_for_anonymous", "allow_history_for_subscriber"),
            *("allow_history_for_anonymous", "force_push_join_leave"),
            "force_recovery",
        ):
            self.assertTrue(getattr(opened, name), name)
        self.assertEqual(opened.history_ttl, 60.0)
        self.assertTrue(narrow.allow_publish_for_subscriber)
        self.assertFalse(narrow.allow_publish_for_client)
        self.assertFalse(closed.allow_subscribe_for_client)
        self.assertFalse(closed.allow_subscribe_for_anonymous)
        self.assertTrue(closed.allow_user_limited_channels)
        self.assertFalse(mute.allow_presence_for_subscriber)
        self.assertTrue(config.channel.without_namespace.allow_subscribe_for_client)

    def test_version_switch(self) -> None:
        """A file can say itself for which version it was written."""
        tree: dict[str, Any] = {"api_key": "k", "presence": True}
        name = "allow_subscribe_for_client"
        options = modern(**tree).channel.without_namespace
        self.assertFalse(getattr(options, name))
        options = modern(**tree, legacy_version=3).channel.without_namespace
        self.assertTrue(getattr(options, name))
        options = modern(secret="s", legacy_version=4).channel.without_namespace
        self.assertFalse(getattr(options, name))

    def test_meta_ttl(self) -> None:
        """The name changed its meaning with v5."""
        self.assertEqual(modern(history_meta_ttl="1h").channel.history_meta_ttl, 3600.0)
        channel = modern(history_meta_ttl="1h", global_history_meta_ttl="2h").channel
        self.assertEqual(channel.history_meta_ttl, 7200.0)
        self.assertEqual(channel.without_namespace.history_meta_ttl, 3600.0)


class ProxyTests(SynchronousTestCase):
    """Proxies and consumers."""

    def test_endpoints(self) -> None:
        """An endpoint switches its proxy on; shared settings go to all."""
        config = modern(
            proxy_connect_endpoint="http://c",
            proxy_connect_timeout="2s",
            proxy_rpc_endpoint="http://r",
            proxy_publish_endpoint="http://p",
            proxy_http_headers=["Cookie"],
            proxy_static_http_headers={"a": "b"},
        )
        connect = config.client.proxy.connect
        self.assertTrue(connect.enabled)
        self.assertEqual((connect.endpoint, connect.timeout), ("http://c", 2.0))
        self.assertFalse(config.client.proxy.refresh.enabled)
        self.assertTrue(config.rpc.without_namespace.proxy_enabled)
        self.assertEqual(config.rpc.proxy.endpoint, "http://r")
        publish = config.channel.proxy.publish
        self.assertEqual(publish.http_headers, ("Cookie",))
        self.assertEqual(publish.http.static_headers, {"a": "b"})

    def test_granular(self) -> None:
        """Named proxies are renamed inside, and copied where connections use them."""
        config = modern(
            granular_proxy_mode=True,
            connect_proxy_name="own",
            rpc_proxy_name="own",
            proxies=[
                {
                    "name": "own",
                    "endpoint": "http://o",
                    "static_http_headers": {"a": "b"},
                    "grpc_compression": True,
                }
            ],
            rpc_namespaces=[{"name": "rr", "rpc_proxy_name": "own"}],
            namespaces=[{"name": "ns", "publish_proxy_name": "own"}],
        )
        self.assertEqual(config.client.proxy.connect.endpoint, "http://o")
        self.assertTrue(config.client.proxy.connect.enabled)
        self.assertEqual(config.rpc.without_namespace.proxy_name, "own")
        (proxy,) = config.proxies
        self.assertEqual(proxy.http.static_headers, {"a": "b"})
        self.assertTrue(proxy.grpc.compression)
        (rpc,) = config.rpc.namespaces
        self.assertEqual((rpc.proxy_enabled, rpc.proxy_name), (True, "own"))
        (namespace,) = config.channel.namespaces
        self.assertTrue(namespace.publish_proxy_enabled)

    def test_v2_headers(self) -> None:
        """v2 passed some headers on always."""
        config = modern(
            proxy_connect_endpoint="http://c", proxy_extra_http_headers=["X"]
        )
        headers = config.client.proxy.connect.http_headers
        self.assertIn("Cookie", headers)
        self.assertEqual(headers[-1], "X")

    def test_consumers(self) -> None:
        """v5 ran consumers unless they were disabled."""
        config = modern(
            api_key="k",
            consumers=[
                {"name": "aa", "type": "kafka"},
                {"name": "bb", "type": "kafka", "disabled": True},
            ],
        )
        self.assertEqual([item.enabled for item in config.consumers], [True, False])
        config = modern(consumers=[{"name": "aa", "type": "kafka"}])
        self.assertFalse(config.consumers[0].enabled)
