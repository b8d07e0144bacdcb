"""The public names: what embedding applications may rely on."""

from twisted.trial.unittest import SynchronousTestCase

import centrifugo_tx
from centrifugo_tx import service, transports

NAMES = [
    "Admission",
    "BrokerUnavailable",
    "CentrifugoError",
    "ChannelOptions",
    "Client",
    "ConfigError",
    "Disconnect",
    "DisconnectClient",
    "Engine",
    "Error",
    "Expiry",
    "HistoryQuery",
    "IBroker",
    "IBrokerEventHandler",
    "IClient",
    "IControlEventHandler",
    "IController",
    "IMapBroker",
    "IMapEventHandler",
    "IPolicy",
    "IPresenceManager",
    "ITransport",
    "MapChange",
    "MapRules",
    "Node",
    "NodeOptions",
    "Policy",
    "PollRules",
    "Polled",
    "PublishOptions",
    "ReplyError",
    "SubscribeOptions",
    "Unsubscribe",
    "memory_engine",
]


class PublicNameTests(SynchronousTestCase):
    """Names may be added on purpose, by adding them here; none may go."""

    def test_frozen(self) -> None:
        """The package exports these names and no others, and each is there."""
        self.assertEqual(sorted(centrifugo_tx.__all__), sorted(NAMES))
        for name in NAMES:
            self.assertTrue(hasattr(centrifugo_tx, name), name)

    def test_transports(self) -> None:
        """A node can be put under a path of any Twisted Web application."""
        names = [
            "emulation_resource",
            "http_stream_resource",
            "sse_resource",
            "uni_http_stream_resource",
            "uni_sse_resource",
            "uni_websocket_resource",
            "websocket_resource",
        ]
        self.assertEqual(sorted(transports.__all__), names)
        for name in names:
            self.assertTrue(callable(getattr(transports, name)), name)

    def test_service(self) -> None:
        """The whole server can be made of a configuration."""
        self.assertIs(service.make_service, service.build)
        self.assertEqual(
            sorted(service.__all__),
            ["Server", "build", "make_service"],
        )
