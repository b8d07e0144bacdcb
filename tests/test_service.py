"""The server: how it is built, started, reloaded and stopped."""

from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx import renewed_tls
from centrifugo_tx.config.model import Config
from centrifugo_tx.errors import ReplyError
from centrifugo_tx.renewed_tls import current_tls
from centrifugo_tx.service import Server, build

from .config.test_check import config_of
from .integration.certificates import Authority

#: Everything that can be served.
ALL: dict[str, Any] = {"health": {"enabled": True}, "prometheus": {"enabled": True}}


class ServiceCase(SynchronousTestCase):
    """A case with a server that has no network."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def build(self, tree: dict[str, Any]) -> Server:
        """Return a server for loopback addresses; the cleanup stops it."""
        http = {"address": "127.0.0.1", **tree.get("http_server", {})}
        server = build(self.reactor, config_of({**tree, "http_server": http}))
        self.addCleanup(self.stop, server)
        return server

    def stop(self, server: Server) -> None:
        """Stop *server* if it is running."""
        if server.running:
            stopped = server.stopService()
            self.reactor.advance(10)
            self.successResultOf(stopped)


class LifeTests(ServiceCase):
    """Starting and stopping the server."""

    def test_start(self) -> None:
        """The node starts, then its ports listen; a line says what they serve."""
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        server = self.build({**ALL, "http_server": {"internal_port": "9000"}})
        self.assertNoResult(server.started)
        server.startService()
        self.successResultOf(server.started)
        listening = [(port, address) for port, _, _, address in self.reactor.tcpServers]
        self.assertEqual(listening, [(8000, "127.0.0.1"), (9000, "127.0.0.1")])
        lines = [(event.get("what"), event.get("where")) for event in events]
        self.assertIn(("websocket", "127.0.0.1:8000"), lines)
        self.assertIn(("api, prometheus, health", "127.0.0.1:9000"), lines)

    def test_port_taken(self) -> None:
        """The start fails if a port is in use."""
        server = self.build({})

        def refuse(*_: Any, **__: Any) -> None:
            raise CannotListenError("127.0.0.1", 8000, OSError("in use"))

        self.patch(self.reactor, "listenTCP", refuse)
        server.startService()
        self.failureResultOf(server.started, CannotListenError)

    def test_stop(self) -> None:
        """After the stop no port listens and the reactor has no pending calls."""
        server = self.build({})
        server.startService()
        stopped = server.stopService()
        self.reactor.advance(0)
        self.successResultOf(stopped)
        self.assertTrue(server.node.stopping)
        self.assertEqual(server.ports, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ReloadTests(ServiceCase):
    """A reload changes some options (configuration rules, "Reload")."""

    def test_channels(self) -> None:
        """Namespaces and channel options change."""
        server = self.build({})
        with self.assertRaises(ReplyError):
            server.node.policy.channel("ns:a")
        namespaces = [{"name": "ns", "presence": True}]
        server.reload(config_of({"channel": {"namespaces": namespaces}}))
        self.assertTrue(server.node.policy.channel("ns:a").presence)

    def test_subscription_tokens(self) -> None:
        """Subscription tokens keep separate keys, or shared ones, as at the start."""
        own = {"enabled": True, "hmac_secret_key": "k"}
        enabled = config_of({"client": {"subscription_token": own}})
        server = self.build({})
        server.reload(enabled)
        policy: Any = server.node.policy
        self.assertIs(policy.subscription_verifier, policy.verifier)
        server = build(self.reactor, enabled)
        server.reload(Config())
        policy = server.node.policy
        self.assertIsNot(policy.subscription_verifier, policy.verifier)

    def test_header(self) -> None:
        """The header of user ids stays: transports keep the one of the start."""
        server = self.build({"client": {"user_id_http_header": "X-User"}})
        server.reload(Config())
        policy: Any = server.node.policy
        self.assertEqual(policy.options.user_id_http_header, "X-User")

    def test_outgoing_tls(self) -> None:
        """Connections to other services use the certificates of today."""
        self.patch(renewed_tls, "_RENEWED", {})
        old, new = Authority().pem, Authority().pem

        def tree(pem: str, name: str) -> dict[str, Any]:
            tls = {"enabled": True, "server_ca_pem": pem, "server_name": name}
            redis = {"address": ["rediss://127.0.0.1:1"], "tls": tls}
            return {"engine": {"redis": redis}}

        server = self.build(tree(old, "a"))
        start = config_of(tree(old, "a")).engine.redis.tls
        server.reload(config_of(tree(new, "b")))
        self.assertEqual(current_tls(start), config_of(tree(new, "b")).engine.redis.tls)

    def test_disputed_tls(self) -> None:
        """Two sections that were the same and differ now: the log says so."""
        self.patch(renewed_tls, "_RENEWED", {})
        pem = Authority().pem

        def tree(first: str, second: str) -> dict[str, Any]:
            sections = [
                {"enabled": True, "server_ca_pem": pem, "server_name": name}
                for name in (first, second)
            ]
            redis = {"tls": sections[0], "sentinel_tls": sections[1]}
            return {"engine": {"redis": redis}}

        server = self.build(tree("a", "a"))
        lines: list[str] = []
        observer = lambda event: lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        server.reload(config_of(tree("a", "b")))
        self.assertIn(
            "certificates of engine.redis.sentinel_tls, engine.redis.tls need a"
            " restart: they were the same at the start",
            lines,
        )

    def test_limits(self) -> None:
        """The limits of new connections are those of today, from or to none, too."""
        server = self.build({})
        limiter = server._limiter
        assert limiter is not None
        client = {"connection_limit": 5, "connection_rate_limit": 7}
        server.reload(config_of({"client": client}))
        self.assertEqual((limiter.limit, limiter.rate), (5, 7))
        server.reload(Config())
        self.assertEqual((limiter.limit, limiter.rate), (0, 0))

    def test_node_options(self) -> None:
        """The options of the node stay as they were at the start."""
        server = self.build({})
        server.reload(config_of({"client": {"channel_limit": 1}}))
        self.assertEqual(server.node.options.channel_limit, 128)
