"""A worker, and the pipes to its parent."""

import os
from typing import Any

import msgspec
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.access import TokenOptions
from centrifugo_tx.config.model import ChannelSection, ClientSection, Config
from centrifugo_tx.config.servers import ShutdownOptions
from centrifugo_tx.workers.__main__ import WorkerLink
from centrifugo_tx.workers.link_messages import (
    AllReady,
    CollectedMetrics,
    CollectMetrics,
    Failed,
    GatheredMetrics,
    GatherMetrics,
    LineSplitter,
    LogRecord,
    Order,
    Ping,
    Pong,
    Ready,
    Reload,
    Report,
    Start,
    decode_order,
    decode_report,
    encode,
)

from ..config.test_check import config_of
from ..support import MemoryTransport

#: A server that listens nowhere.
QUIET = config_of(
    {
        "websocket": {"disabled": True},
        "http_api": {"disabled": True},
        "shutdown": {"timeout": "3s"},
    }
)


class MessageTests(SynchronousTestCase):
    """Messages through the pipes."""

    def test_round_trip(self) -> None:
        """All of a configuration arrives, secrets and lists included."""
        config = Config(
            workers="2",
            client=ClientSection(
                token=TokenOptions(hmac_secret_key="s\u00e9cret\n"), pong_timeout=-1.5
            ),
            channel=ChannelSection(namespaces=_namespaces("a", "b")),
        )
        for order in (Start(config), Start(Config()), Reload(config)):
            line = encode(order)
            self.assertEqual(line.count(b"\n"), 1)
            self.assertEqual(decode_order(line), order)
        for report in (Ready(), Failed("x\ny"), LogRecord({"a": {"b": 1}})):
            self.assertEqual(decode_report(encode(report)), report)

    def test_lines(self) -> None:
        """A stream is cut into lines wherever its pieces end."""
        lines = LineSplitter()
        self.assertEqual(lines.feed(b"a"), [])
        self.assertEqual(lines.feed(b"b\nc\n\nd"), [b"ab", b"c", b""])
        self.assertEqual(lines.feed(b"\n"), [b"d"])


def _namespaces(*names: str) -> Any:
    tree = {"channel": {"namespaces": [{"name": name} for name in names]}}
    return config_of(tree).channel.namespaces


class Pipes(StringTransport):
    """The pipes to the parent."""

    def reports(self) -> list[Report]:
        """Return the reports other than log lines."""
        found = [decode_report(line) for line in self.value().splitlines()]
        return [report for report in found if not isinstance(report, LogRecord)]


class Reactor(MemoryReactorClock):
    """A reactor that notes when it is to stop."""

    stopped = 0

    def stop(self) -> None:
        """Note it."""
        self.stopped += 1


class WorkerLinkCase(SynchronousTestCase):
    """A worker without a network."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.observers: list[Any] = []
        self.link = WorkerLink(self.reactor, self.begin_logging)
        self.pipes = Pipes()
        self.link.makeConnection(self.pipes)
        self.exits: list[int] = []
        self.patch(os, "_exit", self.exits.append)

    def begin_logging(self, observers: list[Any], redirectStandardIO: bool) -> None:
        """Keep the observer."""
        assert not redirectStandardIO
        self.observers += observers

    def order(self, order: Order) -> None:
        """Have the parent want something."""
        self.link.dataReceived(encode(order))

    def finish(self) -> None:
        """Have everything go out, and the pipes close."""
        self.reactor.advance(0)
        self.assertTrue(self.pipes.disconnecting)
        self.assertEqual(self.reactor.stopped, 0)
        self.link.connectionLost()
        self.assertEqual(self.reactor.stopped, 1)


class LifeTests(WorkerLinkCase):
    """From start to end."""

    def test_orderly(self) -> None:
        """The worker serves, and ends when the parent closes the pipe."""
        self.order(Start(QUIET))
        self.assertEqual(self.pipes.reports(), [Ready()])
        self.link.readConnectionLost()
        self.finish()
        self.assertEqual(self.link.code, 0)

    def test_clients(self) -> None:
        """Clients are disconnected first, and the end waits for them."""
        self.order(Start(QUIET))
        assert self.link._server is not None
        transport = MemoryTransport()
        client = self.link._server.node.connect(transport)
        self.link.end()
        self.assertEqual([each.code for each in transport.closed], [3001])
        self.assertFalse(self.pipes.disconnecting)
        client.transport_lost()
        self.finish()
        self.assertEqual(self.exits, [])

    def test_health(self) -> None:
        """The health endpoint answers 503 until all workers serve, and 200 then."""
        self.order(AllReady())  # before the start it means nothing
        self.order(Start(QUIET))
        assert self.link._server is not None
        health = self.link._server.health
        self.assertEqual(health(None).status, 503)
        self.order(AllReady())
        self.assertEqual(health(None).status, 200)

    def test_ping(self) -> None:
        """A ping of the parent is answered."""
        self.order(Start(QUIET))
        self.order(Ping())
        self.assertEqual(self.pipes.reports(), [Ready(), Pong()])
        self.link.end()
        self.finish()

    def test_too_slow(self) -> None:
        """After ``shutdown.timeout`` the process ends regardless."""
        self.order(Start(QUIET))
        assert self.link._server is not None
        client = self.link._server.node.connect(MemoryTransport())
        self.link.end()
        self.reactor.advance(2.9)
        self.assertEqual(self.exits, [])
        self.reactor.advance(0.2)
        self.assertEqual(self.exits, [1])
        client.transport_lost()

    def test_parent_gone(self) -> None:
        """Without a parent the end is as orderly, and nothing more is reported."""
        self.order(Start(QUIET))
        assert self.link._server is not None
        transport = MemoryTransport()
        client = self.link._server.node.connect(transport)
        self.pipes.clear()
        self.link.writeConnectionLost()
        self.link.readConnectionLost()
        self.link.connectionLost()
        self.assertEqual([each.code for each in transport.closed], [3001])
        self.assertEqual(self.reactor.stopped, 0)
        client.transport_lost()
        self.reactor.advance(0)
        self.assertEqual(self.reactor.stopped, 1)
        self.assertEqual(self.pipes.value(), b"")

    def test_before_the_start(self) -> None:
        """A worker without a configuration ends at once."""
        self.link.readConnectionLost()
        self.finish()

    def test_cannot_build(self) -> None:
        """A configuration that is wrong after all is a report and exit code 1."""
        self.order(Start(_with_key("no key")))
        (report,) = self.pipes.reports()
        self.assertIsInstance(report, Failed)
        self.finish()
        self.assertEqual(self.link.code, 1)

    def test_cannot_start(self) -> None:
        """So is a server that cannot start."""
        config = msgspec.structs.replace(
            QUIET, shutdown=ShutdownOptions(timeout=3.0), health=_health()
        )
        self.patch(self.reactor, "adoptStreamPort", self.refuse)
        self.order(Start(config))
        self.assertEqual(self.pipes.reports(), [Failed("no room")])
        self.finish()
        self.assertEqual(self.link.code, 1)

    def refuse(self, *_: object) -> None:
        """Listen to nothing."""
        raise OSError("no room")


def _health() -> Any:
    return config_of({"health": {"enabled": True}}).health


def _with_key(key: str) -> Config:
    token = TokenOptions(rsa_public_key=key)
    return msgspec.structs.replace(QUIET, client=ClientSection(token=token))


class RunTests(WorkerLinkCase):
    """In between."""

    def setUp(self) -> None:
        super().setUp()
        self.order(Start(QUIET))

    def test_reload(self) -> None:
        """The server takes over what changes."""
        assert self.link._server is not None
        before = self.link._server.node.policy
        self.order(Reload(QUIET))
        self.assertIsNot(self.link._server.node.policy, before)

    def test_reload_fails(self) -> None:
        """An invalid configuration is logged, and the server continues as before."""
        assert self.link._server is not None
        before = self.link._server.node.policy
        self.order(Reload(_with_key("no key")))
        self.assertIs(self.link._server.node.policy, before)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_reload_too_late(self) -> None:
        """A worker that is stopping ignores a reload."""
        self.link.end()
        self.order(Reload(QUIET))
        self.finish()

    def test_metrics(self) -> None:
        """Asked for metrics, the worker asks the parent, which asks all of them."""
        gather = self.link._wrap_exposition(lambda: b"mine")
        both: list[Any] = [gather(), gather()]
        self.assertEqual(
            self.pipes.reports(), [Ready(), GatherMetrics(), GatherMetrics()]
        )
        self.pipes.clear()
        self.order(CollectMetrics())
        self.assertEqual(self.pipes.reports(), [CollectedMetrics("mine")])
        self.order(GatheredMetrics("whole"))
        for gathered in both:
            self.assertEqual(self.successResultOf(gathered), b"whole")
        self.order(GatheredMetrics("whole"))  # nobody waits for it any more

    def test_log(self) -> None:
        """Log events at or above the level are sent to the parent."""
        (observer,) = self.observers
        log = Logger("a", observer=LogPublisher(observer))
        self.pipes.clear()
        log.debug("not this")
        log.info("{a} went", a="b")
        (line,) = self.pipes.value().splitlines()
        report = decode_report(line)
        assert isinstance(report, LogRecord)
        self.assertEqual(report.record["text"], "b went")
        self.assertEqual(report.record["fields"], {"a": "b"})
