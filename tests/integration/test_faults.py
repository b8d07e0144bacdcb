"""Clients of two nodes on one Redis, while something between them fails.

Whatever fails, each client gets every acknowledged publication once and in order, or
is told that it did not.  ``FAULTS=full`` tries that with more clients for longer.
"""

import os
import shutil
import time
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .cable import Cable
from .checker import Verdict, judge, out_of_order
from .crowd import Crowd
from .publisher import Publisher
from .redis_servers import Server as Storage
from .redis_servers import valkey
from .server import Server

FULL = os.environ.get("FAULTS") == "full"
#: Clients and channels.
CLIENTS, CHANNELS = (200, 50) if FULL else (20, 5)
#: Publications in a second, and seconds before and after a fault.
RATE, AROUND = (60, 15.0) if FULL else (50, 0.7)
#: Seconds for which Redis, or a node, is gone.
AWAY = 3.0 if FULL else 0.5
#: Seconds that anything may take.
PATIENCE = 60.0 if FULL else 15.0

_CHANNEL = {
    "history_size": 10000,
    "history_ttl": "600s",
    "force_recovery": True,
    "allow_subscribe_for_client": True,
    "allow_subscribe_for_anonymous": True,
}


def nodes(redis: "list[dict[str, Any]]", **client: Any) -> list[Server]:
    """Start nodes that reach Redis as each of *redis* says."""
    started = []
    for number, options in enumerate(redis):
        server = Server(
            {
                "node": {"name": f"node{number}"},
                "client": {"allow_anonymous_connect_without_token": True, **client},
                "channel": {"without_namespace": _CHANNEL},
                "engine": {"type": "redis", "redis": options},
            }
        )
        started.append(server.start())
    return started


def wait(condition: Callable[[], bool], what: str) -> None:
    """Wait until *condition* holds."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, f"waited in vain: {what}"
        time.sleep(0.02)


def rest() -> None:
    """Let some time pass."""
    time.sleep(AWAY)


class FaultCase(SynchronousTestCase):
    """Clients of both nodes are subscribed to everything before anything fails."""

    nodes: list[Server]

    def ordeal(self, *faults: Callable[[], None], data_stays: bool = True) -> Verdict:
        """Let *faults* happen; judge what the clients got.

        :param data_stays: nobody has a reason to be told of a loss.
        """
        ports = [node.port for node in self.nodes]
        name = self.id().rpartition(".")[2]
        channels = [f"{name}{number}" for number in range(CHANNELS)]
        crowd = Crowd(ports, channels, CLIENTS)
        self.addCleanup(crowd.stop)
        crowd.start()
        wait(lambda: crowd.settled, "all are subscribed")
        publisher = Publisher(ports, channels, RATE)
        self.addCleanup(publisher.stop)
        publisher.start()
        time.sleep(AROUND)
        before = publisher.count
        for fault in faults:
            fault()
        time.sleep(AROUND)
        publisher.finish()
        kept = self.kept(publisher)
        self.arrive(crowd, publisher)
        crowd.stop()
        total = Verdict()
        for channel in channels:
            verdict = judge(crowd.accounts(channel), kept[channel])
            total.checked += verdict.checked
            total.excused += verdict.excused
            total.told += verdict.told
            total.faults += verdict.faults
            total.faults += out_of_order(publisher.sent[channel])
        self.report(publisher, crowd, total)
        self.assertEqual(crowd.faults, [])
        self.assertEqual(total.faults[:20], [])
        sent = sum(map(len, kept.values()))
        self.assertEqual(total.checked + total.excused, CLIENTS * sent)
        self.assertGreaterEqual(total.checked, CLIENTS * (before + CHANNELS) // 2)
        if data_stays:
            self.assertEqual((total.told, total.excused), (0, 0))
            self.assertEqual(sent, publisher.count)
        return total

    def kept(self, publisher: Publisher) -> Any:
        """Return what was acknowledged, and that storage still knows of."""
        return publisher.sent

    def arrive(self, crowd: Crowd, publisher: Publisher) -> None:
        """Wait until all have what came last, or until that takes too long."""
        until = time.monotonic() + PATIENCE
        lasts = {channel: sent[-1] for channel, sent in publisher.sent.items()}
        while time.monotonic() < until and not crowd.faults:
            if all(
                account.received(last) or account.excused(last)
                for channel, last in lasts.items()
                for account in crowd.accounts(channel)
            ):
                return
            time.sleep(0.05)

    def report(self, publisher: Publisher, crowd: Crowd, total: Verdict) -> None:
        """Say what was counted, in full size."""
        if "FAULTS" in os.environ:
            print(
                f"\n{self.id().rpartition('.')[2]}: {publisher.count} acknowledged, "
                f"{publisher.failed} failed; {total.checked} receptions checked, "
                f"{total.excused} excused, told {total.told} times; "
                f"{dict(crowd.events)}"
            )


class OneServer(FaultCase):
    """One Valkey, which writes everything down; each node has its own way to it."""

    storage: Storage
    cables: list[Cable]

    @classmethod
    def setUpClass(cls) -> None:
        """Start all of them."""
        settings = {"appendonly": "yes", "appendfsync": "always"}
        cls.storage = Storage(valkey(), settings).start()
        cls.addClassCleanup(cls.storage.stop)
        cls.cables = []
        for _ in range(2):
            cls.cables.append(Cable([cls.storage.port]))
            cls.addClassCleanup(cls.cables[-1].close)
        cls.nodes = nodes(
            [{"address": [f"127.0.0.1:{cable.port}"]} for cable in cls.cables]
        )
        for node in cls.nodes:
            cls.addClassCleanup(node.close)

    # --- Redis -----------------------------------------------------------------

    def test_redis_killed(self) -> None:
        """When Redis comes back with its data nobody misses anything."""
        self.ordeal(self.storage.kill, rest, self.storage.start)

    def test_redis_emptied(self) -> None:
        """When Redis comes back without data everybody is told."""

        def lose_data() -> None:
            self.storage.kill()
            rest()
            shutil.rmtree(self.storage.folder / "appendonlydir")
            self.storage.start()

        total = self.ordeal(lose_data, data_stays=False)
        self.assertGreaterEqual(total.told, CLIENTS * CHANNELS)

    def test_messages_cut_off(self) -> None:
        """When only the connections for messages are lost nobody misses anything."""

        def kill() -> None:
            for _ in range(3):
                self.storage.call("CLIENT", "KILL", "TYPE", "pubsub")
                time.sleep(0.3)

        self.ordeal(kill)

    # --- The network -----------------------------------------------------------

    def outage(self, seconds: float, *cables: Cable, held: bool = False) -> None:
        """Cut *cables* for a while."""

        def cut() -> None:
            for cable in cables:
                (cable.hold if held else cable.cut)()
            time.sleep(seconds)
            for cable in cables:
                cable.mend()

        self.ordeal(cut)

    def test_short_cut(self) -> None:
        """Connections that are lost for a moment cost nothing but time."""
        self.outage(0.1, *self.cables)

    def test_cut(self) -> None:
        """Nor do those that cannot be made again for a second."""
        self.outage(1.0, *self.cables)

    def test_one_node_cut(self) -> None:
        """What the other node publishes meanwhile is recovered."""
        self.outage(1.0, self.cables[0])

    def test_one_node_held(self) -> None:
        """Packets that are late are no loss."""
        self.outage(1.0, self.cables[0], held=True)

    if FULL:

        def test_long_cut(self) -> None:
            """Half a minute without Redis costs nothing but time."""
            self.outage(30.0, *self.cables)

        def test_one_node_cut_long(self) -> None:
            """Nor does half a minute without it on one node."""
            self.outage(30.0, self.cables[0])

        def test_one_node_held_long(self) -> None:
            """Nor do packets that never come."""
            self.outage(30.0, self.cables[0], held=True)

    # --- A node ----------------------------------------------------------------

    def test_node_killed(self) -> None:
        """The clients of a node that dies go on at the other one."""
        self.ordeal(self.nodes[0].kill, rest, self._restart)

    def _restart(self) -> None:
        self.nodes[0].start()
