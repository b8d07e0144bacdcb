"""The composition root: what is wired to what, started, reloaded and stopped."""

from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.model import Config
from centrifugo_tx.errors import ReplyError
from centrifugo_tx.service import (
    Server,
    build,
    endpoints,
    node_options,
    reference_style_version,
)

from .config.test_check import config_of

#: Everything that can be served.
ALL: dict[str, Any] = {"health": {"enabled": True}, "prometheus": {"enabled": True}}


class ServiceCase(SynchronousTestCase):
    """Something with a server that has no network."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def build(self, tree: dict[str, Any]) -> Server:
        """Make a server that listens on loopback, and is stopped in the end."""
        http = {"address": "127.0.0.1", **tree.get("http_server", {})}
        server = build(self.reactor, config_of({**tree, "http_server": http}))
        self.addCleanup(self.stop, server)
        return server

    def stop(self, server: Server) -> None:
        """Stop a server, if it runs."""
        if server.running:
            stopped = server.stopService()
            self.reactor.advance(10)
            self.successResultOf(stopped)


class PlacementTests(ServiceCase):
    """Which endpoint is on which address.

    See configuration rules, "Ports and endpoints".
    """

    def placed(self, **tree: Any) -> dict[tuple[str, int], list[str]]:
        """Return the names of the endpoints by address."""
        config = config_of({**ALL, **tree})
        node = build(self.reactor, config).node
        found = endpoints(self.reactor, config, node)
        return {address: names for address, (_, names) in found.items()}

    def test_one_port(self) -> None:
        """By default everything is on one port."""
        self.assertEqual(
            self.placed(),
            {("", 8000): ["websocket", "api", "prometheus", "health"]},
        )

    def test_internal_port(self) -> None:
        """API, metrics and health move to the internal port."""
        self.assertEqual(
            self.placed(http_server={"internal_port": "9000", "address": "10.0.0.1"}),
            {
                ("10.0.0.1", 8000): ["websocket"],
                ("10.0.0.1", 9000): ["api", "prometheus", "health"],
            },
        )

    def test_internal_address(self) -> None:
        """Another address makes two servers, too."""
        self.assertEqual(
            list(self.placed(http_server={"internal_address": "127.0.0.1"})),
            [("", 8000), ("127.0.0.1", 8000)],
        )

    def test_external_api(self) -> None:
        """The API can stay outside."""
        placed = self.placed(
            http_server={"internal_port": "9000"}, http_api={"external": True}
        )
        self.assertEqual(placed[("", 8000)], ["websocket", "api"])
        self.assertEqual(placed[("", 9000)], ["prometheus", "health"])

    def test_clients(self) -> None:
        """Transports that have to be asked for are outside."""
        names = ["uni_websocket", "uni_sse", "uni_http_stream"]
        placed = self.placed(
            http_server={"internal_port": "9000"},
            **{name: {"enabled": True} for name in names},
        )
        self.assertEqual(placed[("", 8000)], ["websocket", *names])

    def test_streams(self) -> None:
        """Who has a stream needs the endpoint for commands beside it."""
        for asked in (["http_stream"], ["sse"], ["http_stream", "sse"]):
            placed = self.placed(**{name: {"enabled": True} for name in asked})
            self.assertEqual(placed[("", 8000)][1:-3], [*asked, "emulation"])
        placed = self.placed(init={"enabled": True})
        self.assertEqual(placed[("", 8000)][:2], ["websocket", "init"])

    def test_body_limits(self) -> None:
        """Streams and commands have limits of their own."""
        config = config_of(
            {
                "http_stream": {"enabled": True, "max_request_body_size": 7},
                "sse": {"enabled": True, "handler_prefix": "/s"},
                "emulation": {"handler_prefix": "/e/", "max_request_body_size": 0},
            }
        )
        node = build(self.reactor, config).node
        ((served, _),) = endpoints(self.reactor, config, node).values()
        self.assertEqual(set(served.streams), {b"/connection/http_stream", b"/s"})
        self.assertIn(b"/e", served.handlers)
        limits = served.body_limits
        self.assertEqual(limits[b"/api/publish"], 16 * 1024 * 1024)
        self.assertEqual(
            {path: size for path, size in limits.items() if b"/api" not in path},
            {b"/connection/http_stream": 7, b"/s": 65536, b"/e": 65536},
        )

    def test_nothing(self) -> None:
        """An address without endpoints is not opened."""
        placed = self.placed(
            http_server={"internal_port": "9000"}, websocket={"disabled": True}
        )
        self.assertEqual(list(placed), [("", 9000)])

    def test_prefixes(self) -> None:
        """Paths are as configured."""
        config = config_of(
            {
                "websocket": {"handler_prefix": "/ws/"},
                "http_api": {"handler_prefix": "/x"},
                "health": {"enabled": True, "handler_prefix": "/h"},
            }
        )
        node = build(self.reactor, config).node
        ((served, _),) = endpoints(self.reactor, config, node).values()
        self.assertEqual(list(served.sockets), [b"/ws"])
        self.assertIn(b"/x/publish", served.handlers)
        self.assertIn(b"/h", served.handlers)


class LifeTests(ServiceCase):
    """Start and stop."""

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
        """A port that cannot be had is a failure of the start."""
        server = self.build({})

        def refuse(*_: Any, **__: Any) -> None:
            raise CannotListenError("127.0.0.1", 8000, OSError("in use"))

        self.patch(self.reactor, "listenTCP", refuse)
        server.startService()
        self.failureResultOf(server.started, CannotListenError)

    def test_stop(self) -> None:
        """Nothing listens, and nothing is left in the reactor."""
        server = self.build({})
        server.startService()
        stopped = server.stopService()
        self.reactor.advance(0)
        self.successResultOf(stopped)
        self.assertTrue(server.node.stopping)
        self.assertEqual(server.ports, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class OptionTests(ServiceCase):
    """Configuration becomes what the parts live by."""

    def test_node(self) -> None:
        """The numbers of clients and channels reach the node."""
        config = config_of(
            {
                "client": {
                    "ping_interval": "30s",
                    "channel_limit": 5,
                    "channel_position_check_delay": "7s",
                    "recovery_max_publication_limit": 9,
                    "connect_include_server_time": True,
                },
                "channel": {"max_length": 10},
                "node": {"name": "n"},
            }
        )
        options = node_options(config)
        self.assertEqual(options.name, "n")
        self.assertEqual(options.ping_interval, 30.0)
        self.assertEqual(options.channel_limit, 5)
        self.assertEqual(options.position_check_delay, 7.0)
        self.assertEqual(options.recovery_limit, 9)
        self.assertEqual(options.channel_max_length, 10)
        self.assertEqual(options.concurrency, 1)
        self.assertTrue(options.include_server_time)

    def test_node_name(self) -> None:
        """Without a name the host and the port make one."""
        self.assertTrue(node_options(Config()).name.endswith("_8000"))


class VersionTests(SynchronousTestCase):
    """What clients and monitoring are told of the version."""

    def test_form(self) -> None:
        """Three numbers and a word, whatever the version of the package looks like."""
        for release, expected in (
            ("0.1.0", "0.1.0 OSS"),
            ("1.2", "1.2.0 OSS"),
            ("7", "7.0.0 OSS"),
            ("1.2.3.4", "1.2.3 OSS"),
            ("1.2.dev3+g12ab.d2026", "1.2.0 OSS"),
            ("2!1.4.0rc1.post2", "1.4.0 OSS"),
            ("odd", "0.0.0 OSS"),
        ):
            self.assertEqual(reference_style_version(release), expected)
        self.assertRegex(node_options(Config()).version, r"^\d+\.\d+\.\d+ OSS$")


class ReloadTests(ServiceCase):
    """What SIGHUP changes (configuration rules, "Reload")."""

    def test_channels(self) -> None:
        """Namespaces and channel options are taken over."""
        server = self.build({})
        with self.assertRaises(ReplyError):
            server.node.policy.channel("ns:a")
        namespaces = [{"name": "ns", "presence": True}]
        server.reload(config_of({"channel": {"namespaces": namespaces}}))
        self.assertTrue(server.node.policy.channel("ns:a").presence)

    def test_subscription_tokens(self) -> None:
        """Whether subscription tokens have keys of their own stays as it was."""
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

    def test_numbers(self) -> None:
        """What the node was given at the start stays."""
        server = self.build({})
        server.reload(config_of({"client": {"channel_limit": 1}}))
        self.assertEqual(server.node.options.channel_limit, 128)
