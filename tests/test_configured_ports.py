"""The endpoints on each port, as configured."""

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.configured_ports import endpoints
from centrifugo_tx.service import build

from .config.test_check import config_of

#: Everything that can be served.
ALL: dict[str, Any] = {"health": {"enabled": True}, "prometheus": {"enabled": True}}


class EndpointTests(SynchronousTestCase):
    """Each endpoint is served on its configured address.

    See configuration rules, "Ports and endpoints".
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def names_by_address(self, **tree: Any) -> dict[tuple[str, int], list[str]]:
        """Return the names of the endpoints by address."""
        config = config_of({**ALL, **tree})
        node = build(self.reactor, config).node
        found = endpoints(self.reactor, config, node)
        return {address: names for address, (_, names) in found.items()}

    def test_one_port(self) -> None:
        """By default all endpoints are on one port."""
        self.assertEqual(
            self.names_by_address(),
            {("", 8000): ["websocket", "api", "prometheus", "health"]},
        )

    def test_internal_port(self) -> None:
        """With an internal port, API, metrics and health are served there."""
        self.assertEqual(
            self.names_by_address(
                http_server={"internal_port": "9000", "address": "10.0.0.1"}
            ),
            {
                ("10.0.0.1", 8000): ["websocket"],
                ("10.0.0.1", 9000): ["api", "prometheus", "health"],
            },
        )

    def test_internal_address(self) -> None:
        """A separate internal address opens a second port."""
        self.assertEqual(
            list(self.names_by_address(http_server={"internal_address": "127.0.0.1"})),
            [("", 8000), ("127.0.0.1", 8000)],
        )

    def test_external_api(self) -> None:
        """The API can be served on the external port."""
        names = self.names_by_address(
            http_server={"internal_port": "9000"}, http_api={"external": True}
        )
        self.assertEqual(names[("", 8000)], ["websocket", "api"])
        self.assertEqual(names[("", 9000)], ["prometheus", "health"])

    def test_clients(self) -> None:
        """Enabled transports are on the external port."""
        transports = ["uni_websocket", "uni_sse", "uni_http_stream"]
        names = self.names_by_address(
            http_server={"internal_port": "9000"},
            **{name: {"enabled": True} for name in transports},
        )
        self.assertEqual(names[("", 8000)], ["websocket", *transports])

    def test_streams(self) -> None:
        """Streaming transports also enable the endpoint for their commands."""
        for enabled in (["http_stream"], ["sse"], ["http_stream", "sse"]):
            names = self.names_by_address(
                **{name: {"enabled": True} for name in enabled}
            )
            self.assertEqual(names[("", 8000)][1:-3], [*enabled, "emulation"])
        names = self.names_by_address(init={"enabled": True})
        self.assertEqual(names[("", 8000)][:2], ["websocket", "init"])

    def test_body_limits(self) -> None:
        """Streaming transports and the emulation endpoint have own body limits."""
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
        """No port is opened for an address without endpoints."""
        names = self.names_by_address(
            http_server={"internal_port": "9000"}, websocket={"disabled": True}
        )
        self.assertEqual(list(names), [("", 9000)])

    def test_prefixes(self) -> None:
        """Endpoints are served under the configured paths."""
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
