"""Metrics pushed to Graphite."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from centrifugo_tx import graphite
from centrifugo_tx.graphite import GraphiteExporter, graphite_prefix, lines
from centrifugo_tx.web.exposition import process_registry
from centrifugo_tx.web.metric_growth import MetricGrowth, Value

from .log_lines import LogTestCase
from .support import World
from .transports.websocket_stream import Stream


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Connects when the test says so."""

    def __init__(self) -> None:
        self.attempts: list[tuple[Any, Deferred[Any]]] = []

    def connect(self, factory: IProtocolFactory) -> "Deferred[Any]":
        waiting: Deferred[Any] = Deferred()
        self.attempts.append((factory, waiting))
        return waiting


class LineTests(LogTestCase):
    """The plaintext protocol."""

    def test_path(self) -> None:
        """Labels are parts of the path, counters whole numbers."""
        name = "centrifugo_node_messages_sent_count"
        counter = Value(name, "", (("type", "publication"),), 3, counted=True)
        summary = Value("centrifugo_api_command_duration_seconds", "sum", (), 0.25)
        self.assertEqual(
            lines([counter, summary], "p.n", False, 7),
            b"p.n.centrifugo.node.messages_sent_count.type.publication 3 7\n"
            b"p.n.centrifugo.api.command_duration_seconds.sum 0.250000 7\n",
        )

    def test_tags(self) -> None:
        """Labels are tags if they should be."""
        value = Value("a_b_c", "", (("x", "1"), ("y", "2;3")), 1)
        self.assertEqual(
            lines([value], "p", True, 7), b"p.a.b.c;x=1;y=2_3 1.000000 7\n"
        )

    def test_unsafe(self) -> None:
        """No label or node name can split a path or a line."""
        value = Value("a_b_c", "", (("v", "1.2 OSS\n"),), 1)
        self.assertEqual(
            lines([value], "p", False, 7), b"p.a.b.c.v.1_2_OSS_ 1.000000 7\n"
        )
        self.assertEqual(
            graphite_prefix("centrifugo.", "höst.a_80"), "centrifugo.h_st_a_80"
        )


class ExporterTests(LogTestCase):
    """Pushing, and what happens while Graphite is away."""

    def setUp(self) -> None:
        super().setUp()
        self.world = World()
        self.clock, self.endpoint = self.world.clock, Endpoint()
        self.exporter = GraphiteExporter(
            self.clock, MetricGrowth(self.world.node), self.endpoint, "p.n", 10.0
        )
        self.exporter.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Stop, if the test has not."""
        if self.exporter.running:
            self.exporter.stopService()

    def accept(self) -> tuple[Any, Stream]:
        """Accept the latest connection; return its two ends."""
        factory, waiting = self.endpoint.attempts[-1]
        protocol, transport = factory.buildProtocol(None), Stream()
        protocol.makeConnection(transport)
        waiting.callback(protocol)
        return protocol, transport

    def push(self) -> bytes:
        """Accept a connection, and take everything."""
        protocol, transport = self.accept()
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(Failure(ConnectionDone()))
        return transport.value()

    def refuse(self) -> None:
        """Refuse the latest connection."""
        self.endpoint.attempts[-1][1].errback(ConnectionRefusedError())

    def test_push(self) -> None:
        """Each interval is pushed over a connection of its own, with its growth."""
        self.world.publish("a", 1)
        self.clock.advance(10)
        now = int(self.clock.seconds())
        line = b"p.n.centrifugo.node.messages_sent_count.type.publication %d %d\n"
        self.assertIn(line % (1, now), self.push())
        self.clock.advance(10)
        self.assertIn(line % (0, now + 10), self.push())
        self.assertEqual(len(self.endpoint.attempts), 2)
        self.assertEqual(self.events, [])

    def test_process(self) -> None:
        """The process metrics of the client library are pushed, too."""
        self.exporter._process = process_registry()
        self.clock.advance(10)
        text = self.push()
        self.assertIn(b"\np.n.process.resident.memory_bytes ", text)
        self.assertNotIn(b"histogram", text)

    def test_outage(self) -> None:
        """An outage is logged once; queued metrics arrive later, in order."""
        self.clock.advance(10)
        first = int(self.clock.seconds())
        self.refuse()
        self.clock.advance(10)
        self.refuse()
        self.clock.advance(10)
        self.assertEqual(len(self.endpoint.attempts), 2)  # backs off
        self.clock.advance(10)
        text = self.push()
        for seconds in range(0, 40, 10):
            self.assertIn(b" %d\n" % (first + seconds), text)
        self.assertEqual(
            [event["log_format"] for event in self.events],
            ["Graphite does not take metrics", "Graphite takes metrics again"],
        )
        self.assertEqual(self.events[1]["dropped"], 0)

    def test_bound(self) -> None:
        """Of a long outage the latest intervals are kept."""
        self.patch(graphite, "BUFFER", 20000)
        for _ in range(60):
            self.clock.advance(10)
            if not self.endpoint.attempts[-1][1].called:
                self.refuse()
        self.assertLessEqual(self.exporter._size, 20000)
        self.clock.advance(60)
        self.clock.advance(10)
        self.assertTrue(self.push().endswith(b" %d\n" % (self.clock.seconds() - 10)))
        self.assertGreater(self.events[-1]["dropped"], 10)

    def test_reset(self) -> None:
        """Metrics that the peer may not have read are sent again."""
        self.clock.advance(10)
        protocol, transport = self.accept()
        protocol.connectionLost(Failure(ConnectionLost()))
        self.clock.advance(10)
        self.assertTrue(self.push().startswith(transport.value()))

    def test_silent_peer(self) -> None:
        """A peer that reads nothing is given up after ten seconds."""
        self.clock.advance(10)
        protocol, transport = self.accept()
        self.clock.advance(9)
        self.assertFalse(transport.aborted)
        self.clock.advance(1)
        self.assertTrue(transport.aborted)
        protocol.connectionLost(Failure(ConnectionLost()))

    def test_stop(self) -> None:
        """Stopping cancels an attempt silently."""
        self.clock.advance(10)
        self.exporter.stopService()
        self.assertTrue(self.endpoint.attempts[-1][1].called)
        self.assertEqual(self.events, [])
        self.clock.advance(100)
        self.assertEqual(len(self.endpoint.attempts), 1)
