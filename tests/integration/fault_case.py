"""Clients of two nodes on one Redis, while a part between them fails.

In any case, each client receives every acknowledged publication once and in order, or
is told of the loss.  ``FAULTS=full`` runs the tests with more clients for longer; then,
and with ``FAULTS=told``, the tests print their counts (``pytest -s``).
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .checker import Sent, Verdict, judge, out_of_order
from .crowd import Crowd
from .publisher import Publisher
from .server import Server

__all__ = ["CHANNELS", "CLIENTS", "FULL", "FaultCase", "rest", "start_nodes", "wait"]

FULL = os.environ.get("FAULTS") == "full"
#: Clients and channels.
CLIENTS, CHANNELS = (200, 50) if FULL else (20, 5)
#: Publications in a second, and seconds before and after a fault.
RATE, AROUND = (60, 15.0) if FULL else (50, 0.4)
#: Seconds for which Redis, or a node, is gone.
AWAY = 3.0 if FULL else 0.5
#: Seconds that anything may take.
PATIENCE = 120.0

_CHANNEL = {
    "history_size": 10000,
    "history_ttl": "600s",
    "force_recovery": True,
    "allow_subscribe_for_client": True,
    "allow_subscribe_for_anonymous": True,
}


def wait(condition: Callable[[], bool], what: str) -> None:
    """Wait until *condition* holds."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, f"waited in vain: {what}"
        time.sleep(0.02)


def rest() -> None:
    """Let some time pass."""
    time.sleep(AWAY)


def start_nodes(cleanup: Callable[..., Any], *redis: dict[str, Any]) -> list[Server]:
    """Start nodes that reach Redis as each of *redis* says.

    :param cleanup: takes what closes one of them: ``addCleanup``, ``addClassCleanup``.
    """
    nodes = []
    for number, options in enumerate(redis):
        node = Server(
            {
                "node": {"name": f"node{number}"},
                "client": {"allow_anonymous_connect_without_token": True},
                "channel": {"without_namespace": _CHANNEL},
                "engine": {"type": "redis", "redis": options},
            }
        )
        cleanup(node.close)
        nodes.append(node)
    with ThreadPoolExecutor() as pool:
        list(pool.map(Server.start, nodes))
    return nodes


class FaultCase(SynchronousTestCase):
    """Clients of both nodes are subscribed to everything before anything fails."""

    #: Whether a new master may lack acknowledged publications.
    goes_back = False
    nodes: list[Server]
    publisher: Publisher

    def ordeal(self, *faults: Callable[[], object], data_stays: bool = True) -> Verdict:
        """Cause *faults* during publishing, and check the clients.

        A fault may end the publishing; then no later publication reveals a missed one.

        :param data_stays: no client may be told of a loss.
        """
        ports = [node.port for node in self.nodes]
        name = self.id().rpartition(".")[2]
        channels = [f"{name}{number}" for number in range(CHANNELS)]
        crowd = Crowd(ports, channels, CLIENTS)
        self.addCleanup(crowd.stop)
        crowd.start()
        wait(lambda: crowd.settled, "all are subscribed")
        publisher = self.publisher = Publisher(ports, channels, RATE)
        self.addCleanup(publisher.stop)
        publisher.start()
        time.sleep(AROUND)
        before = publisher.count
        for fault in faults:
            fault()
        time.sleep(AROUND)
        publisher.finish()
        kept = self.stored_publications(publisher)
        self.arrive(crowd, publisher)
        crowd.stop()
        total = Verdict()
        for channel in channels:
            verdict = judge(crowd.accounts(channel), kept[channel], self.goes_back)
            total.checked += verdict.checked
            total.excused += verdict.excused
            total.replaced += verdict.replaced
            total.losses_told += verdict.losses_told
            total.faults += verdict.faults
            total.faults += out_of_order(kept[channel])
        self.report(publisher, crowd, total)
        self.assertEqual(crowd.faults, [])
        self.assertEqual(total.faults[:20], [])
        sent = sum(map(len, kept.values()))
        judged = total.checked + total.excused + total.replaced
        self.assertEqual(judged, CLIENTS * sent)
        self.assertGreaterEqual(total.checked, CLIENTS * (before + CHANNELS) // 2)
        if data_stays:
            self.assertEqual((total.losses_told, total.excused), (0, 0))
            self.assertEqual(sent, publisher.count)
        return total

    def stored_publications(self, publisher: Publisher) -> dict[str, list[Sent]]:
        """Return the acknowledged publications that storage still has."""
        return publisher.sent

    def arrive(self, crowd: Crowd, publisher: Publisher) -> None:
        """Wait until all clients have the last publications, with a bound."""
        until = time.monotonic() + PATIENCE
        lasts = {channel: sent[-1] for channel, sent in publisher.sent.items()}
        while time.monotonic() < until and not crowd.faults:
            if all(
                account.received(last)
                or account.excused(last)
                or (self.goes_back and account.another(last, set()))
                for channel, last in lasts.items()
                for account in crowd.accounts(channel)
            ):
                return
            time.sleep(0.05)

    def report(self, publisher: Publisher, crowd: Crowd, total: Verdict) -> None:
        """Print the counts if they are wanted."""
        if "FAULTS" in os.environ:
            print(
                f"\n{self.id().rpartition('.')[2]}: {publisher.count} acknowledged, "
                f"{publisher.failed} failed; {total.checked} receptions checked, "
                f"{total.excused} excused, {total.replaced} replaced, "
                f"told {total.losses_told} times; {dict(crowd.events)}"
            )
