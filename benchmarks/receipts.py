"""What receipts cost, without sockets.

``python -m benchmarks.receipts`` compares a channel with receipts and one without: the
CPU time of a delivery and the memory of an idle subscriber.  Then it prints the CPU
time of asking one subscriber and taking its pong, and of reading the receipts of a
publication in a channel with 100,000 subscribers.
"""

import gc
import platform
import time
import tracemalloc
from argparse import ArgumentParser
from statistics import median

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from centrifugo_tx.core import Client, Node
from centrifugo_tx.embedding.policy import AdaptedPolicy, Policy
from centrifugo_tx.engines.memory import memory_engine
from centrifugo_tx.options import (
    Admission,
    ChannelOptions,
    PublishOptions,
    ReceiptQuery,
    SubscribeOptions,
)
from centrifugo_tx.protocol.messages import ConnectRequest
from centrifugo_tx.typing import Client as AnyClient

from .burst import Sink

ROUNDS = 9
#: Subscribers, and publications to them in one round.
SUBSCRIBERS, PUBLICATIONS = 1000, 200
#: Subscribers of the channel whose receipts are read.
LARGE = 100_000
KEPT = PublishOptions(history_size=100, history_ttl=60.0)


class Open(Policy):
    """A policy that subscribes clients with names of their own to one channel."""

    def __init__(self, receipts: bool) -> None:
        self.receipts = receipts
        self.count = 0

    def channel(self, name: str) -> ChannelOptions:
        """Return options with history."""
        return ChannelOptions(
            history_size=100, history_ttl=60.0, receipts=self.receipts
        )

    def connect(self, client: AnyClient, request: ConnectRequest) -> Admission:
        """Admit the client."""
        self.count += 1
        options = SubscribeOptions(
            positioned=True, receipts_ttl=60.0 if self.receipts else 0.0
        )
        return Admission(user=f"user{self.count}", subs={"news": options})


@define(eq=False)
class World:
    """A node with subscribers."""

    receipts: bool
    count: int
    clock: Clock = field(factory=Clock, init=False)
    node: Node = field(init=False)
    clients: list[Client] = field(factory=list, init=False)
    #: Bytes that one client takes.
    size: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1_000_000_000)
        policy = AdaptedPolicy(Open(self.receipts))
        self.node = Node(memory_engine(self.clock), policy, self.clock)
        self.node.start()
        self.publish(1)

    def fill(self) -> None:
        """Connect the clients."""
        for _ in range(self.count):
            client = self.node.connect(Sink())
            client.receive(b'{"id":1,"connect":{}}')
            self.clients.append(client)

    def measure_memory(self) -> float:
        """Connect the clients; return the bytes that one of them takes."""
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        self.fill()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        return grown / self.count

    def publish(self, count: int) -> float:
        """Publish; return the CPU time of one delivery in microseconds."""
        began = time.process_time()
        for _ in range(count):
            self.node.streams.publish("news", b'{"text":"hello"}', KEPT)
        spent = time.process_time() - began
        return spent / count / max(1, len(self.clients)) * 1e6

    def ask(self) -> float:
        """Ask all for receipts; return the microseconds of one ping with its pong."""
        began = time.process_time()
        self.node.ask_for_receipts("news", 1)
        self.clock.advance(0)
        for client in self.clients:
            client.receive(b"{}")
        spent = time.process_time() - began
        self.clock.advance(2)
        return spent / len(self.clients) * 1e6

    def read(self, limit: int) -> float:
        """Read receipts; return the milliseconds of CPU time."""
        began = time.process_time()
        query = ReceiptQuery("news", 1, limit=limit)
        asked = Deferred.fromCoroutine(self.node.receipts.read(query))
        while not asked.called:
            self.clock.advance(0)
        return (time.process_time() - began) * 1e3


def main() -> None:
    """Print the figures; the variants alternate."""
    parser = ArgumentParser(prog="python -m benchmarks.receipts")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    print(f"Python {platform.python_version()}, {SUBSCRIBERS} subscribers")

    sizes = [World(receipts, 3000).measure_memory() for receipts in (False, True)]
    print(
        f"memory of an idle subscriber: {sizes[0]:.0f} bytes, {sizes[1]:.0f} with"
        f" receipts, ratio {sizes[1] / sizes[0]:.3f}"
    )
    worlds = [World(receipts, SUBSCRIBERS) for receipts in (False, True)]
    for world in worlds:
        world.fill()
        world.publish(PUBLICATIONS)
    pairs = [[world.publish(PUBLICATIONS) for world in worlds] for _ in range(rounds)]
    plain, kept = (median(each) for each in zip(*pairs, strict=True))
    ratio = median(kept / plain for plain, kept in pairs)
    print(f"delivery: {plain:.3f} us, {kept:.3f} us with receipts, ratio {ratio:.3f}")
    asked = median(worlds[1].ask() for _ in range(rounds))
    print(f"a ping for a receipt, and its pong: {asked:.1f} us")
    large = World(True, LARGE)
    large.fill()
    for limit in (0, 1000):
        spent = median(large.read(limit) for _ in range(3))
        print(f"receipts of {LARGE} subscribers, {limit} listed: {spent:.0f} ms")


if __name__ == "__main__":
    main()
