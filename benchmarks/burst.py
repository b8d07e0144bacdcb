"""A burst of publications to a channel that is larger than one slice.

``python -m benchmarks.burst`` publishes 16 times in one turn of the reactor.  It prints
the CPU time of each delivery, down to the transport's ``write``, with and without
gathering the publications that wait for a lane.
"""

import platform
import statistics
import time

from attrs import define, field
from twisted.internet.task import Clock
from zope.interface import implementer

from centrifugo_tx.core import Node
from centrifugo_tx.core import node as node_module
from centrifugo_tx.embedding.policy import AdaptedPolicy, Policy
from centrifugo_tx.engines.memory import memory_engine
from centrifugo_tx.interfaces import ITransport
from centrifugo_tx.options import Admission, SubscribeOptions, TransportInfo
from centrifugo_tx.protocol.codes import Disconnect
from centrifugo_tx.protocol.messages import ConnectRequest
from centrifugo_tx.protocol.wire import Wire, websocket_json
from centrifugo_tx.typing import Client

BURST, ROUNDS = 16, 5


@implementer(ITransport)
@define(eq=False)
class Sink:
    """A transport that discards its frames."""

    wire: Wire = field(factory=websocket_json)
    info: TransportInfo = field(factory=TransportInfo)
    peer_address: str = ""

    def write(self, frame: bytes) -> None:
        """Discard *frame*."""

    def close(self, disconnect: Disconnect) -> None:
        """Do nothing, because this benchmark closes no client."""

    def pause(self) -> None:
        """Do nothing, because no commands wait."""

    def resume(self) -> None:
        """Do nothing, because no commands wait."""


class Open(Policy):
    """A policy that subscribes every client to one channel."""

    def connect(self, client: Client, request: ConnectRequest) -> Admission:
        """Admit the client."""
        return Admission(subs={"news": SubscribeOptions()})


def delivery(subscribers: int) -> float:
    """Return the CPU time of one delivery in a burst, in microseconds."""
    clock = Clock()
    clock.advance(1_000_000_000)
    node = Node(memory_engine(clock), AdaptedPolicy(Open()), clock)
    node.start()
    for _ in range(subscribers):
        node.connect(Sink()).receive(b'{"id":1,"connect":{}}')
    began = time.process_time()
    for number in range(BURST):
        node.publish("news", b'{"n":%d}' % number)
    for _ in range(2 * BURST * subscribers // 1000 + 2):
        clock.advance(0)
    return (time.process_time() - began) / BURST / subscribers * 1e6


def main() -> None:
    """Print the figures; the two variants alternate."""
    print(f"Python {platform.python_version()}, {BURST} publications in one turn")
    gathered = node_module.GATHERED
    for subscribers in (1000, 1001, 10000):
        ours, apart = [], []
        for _ in range(ROUNDS):
            node_module.GATHERED = gathered
            ours.append(delivery(subscribers))
            node_module.GATHERED = 0
            apart.append(delivery(subscribers))
        one, other = statistics.median(ours), statistics.median(apart)
        print(
            f"{subscribers:6} subscribers: {one:.3f} us a delivery, {other:.3f} apart,"
            f" apart / gathered: {other / one:.1f}"
        )


if __name__ == "__main__":
    main()
