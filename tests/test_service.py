"""The server: how it is built, started, reloaded and stopped."""

from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.model import Config
from centrifugo_tx.errors import ReplyError
from centrifugo_tx.service import Server, build

from .config.test_check import config_of

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

    def test_node_options(self) -> None:
        """The options of the node stay as they were at the start."""
        server = self.build({})
        server.reload(config_of({"client": {"channel_limit": 1}}))
        self.assertEqual(server.node.options.channel_limit, 128)
