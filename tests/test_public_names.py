"""The public names: what embedding applications may rely on."""

from twisted.trial.unittest import SynchronousTestCase

import centrifugo_tx
from centrifugo_tx import asgi, messages, options, service, testing, transports

from .public_signatures import exported, mentioned, unexported

#: The modules with the public names.
PUBLIC = [centrifugo_tx, asgi, messages, options, testing, transports]

NAMES = [
    "EMPTY",
    "Admission",
    "AsyncNode",
    "Broker",
    "BrokerEventHandler",
    "BrokerUnavailable",
    "CentrifugoError",
    "ChannelOptions",
    "Client",
    "ClientInfo",
    "Clock",
    "ConfigError",
    "ConfiguredServer",
    "ConnectRequest",
    "ControlEventHandler",
    "Controller",
    "Decision",
    "DelayedCall",
    "Departures",
    "Disconnect",
    "DisconnectClient",
    "Engine",
    "EngineRedisOptions",
    "Error",
    "Expiry",
    "FilterNode",
    "History",
    "HistoryQuery",
    "HistoryRequest",
    "IBroker",
    "IBrokerEventHandler",
    "IClient",
    "IControlEventHandler",
    "IController",
    "IMapBroker",
    "IMapEventHandler",
    "IPolicy",
    "IPresenceManager",
    "IReceiptStore",
    "ITransport",
    "KeyedItem",
    "MapBroker",
    "MapChange",
    "MapChanges",
    "MapEntry",
    "MapEventHandler",
    "MapRules",
    "MapState",
    "MapUpdate",
    "Node",
    "NodeInfo",
    "NodeOptions",
    "Payload",
    "Policy",
    "PolicyProtocol",
    "PollRules",
    "Polled",
    "PresenceManager",
    "PresenceMaps",
    "PresenceStats",
    "Proof",
    "Publication",
    "PublishOptions",
    "PublishRequest",
    "PublishResult",
    "RPCRequest",
    "Raw",
    "ReceiptStore",
    "Receipts",
    "RefreshRequest",
    "ReplicaClientOptions",
    "ReplyError",
    "StreamPosition",
    "SubRefreshRequest",
    "SubscribeOptions",
    "SubscribeRequest",
    "SubscriptionStream",
    "SurveyFailed",
    "SurveyHandler",
    "TLSOptions",
    "TrackBatch",
    "Transport",
    "TransportInfo",
    "Unsubscribe",
    "UserReceipt",
    "from_json",
    "memory_engine",
    "node_service",
    "redis_engine",
    "server_from_file",
    "to_json",
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
        self.assertLessEqual(set(names), set(transports.__all__))
        for name in names:
            self.assertTrue(callable(getattr(transports, name)), name)

    def test_signatures(self) -> None:
        """Every type in a public signature can be imported from a public module."""
        self.assertEqual(unexported(exported(PUBLIC)), {})

    def test_mentioned(self) -> None:
        """The types of parameters, results, properties and fields are all found."""
        self.assertIn(centrifugo_tx.Engine, mentioned(centrifugo_tx.memory_engine))
        node = mentioned(centrifugo_tx.Node)
        for name in ("Engine", "Error", "History", "NodeOptions", "PolicyProtocol"):
            self.assertIn(getattr(centrifugo_tx, name), node)
        change = mentioned(centrifugo_tx.MapChange)
        self.assertIn(centrifugo_tx.MapRules, change)
        public = {"centrifugo_tx.memory_engine": centrifugo_tx.memory_engine}
        found = unexported(public)["centrifugo_tx.memory_engine"]
        self.assertIn("Engine", found)

    def test_service(self) -> None:
        """The whole server can be made of a configuration."""
        self.assertIs(service.make_service, service.build)
        self.assertEqual(
            sorted(service.__all__),
            ["Server", "build", "make_service"],
        )
