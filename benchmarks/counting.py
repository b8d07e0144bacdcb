"""What counting costs: the share of metrics in a fan-out and in a command.

``python -m benchmarks.counting`` counts how often one operation calls each function of
the metrics, measures what such a call costs, and prints the sum as a share of the CPU
time of the whole operation, without sockets.  With them an operation costs several
times as much, and counting the same.
"""

import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from centrifugo_tx import metrics
from centrifugo_tx.core.node_metrics import MessageCounters, NodeMetrics
from centrifugo_tx.metrics import Histogram, Metrics
from centrifugo_tx.protocol.messages import Raw

from .burst import Sink
from .commands import new_node

__all__ = ["measures"]

ROUNDS = 7
#: The functions, with arguments for a call.
_FUNCTIONS: list[tuple[type, str, tuple[Any, ...]]] = [
    (MessageCounters, "add", (1, 100)),
    (Histogram, "observe", (0.0003,)),
]
DATA = Raw(b'{"user":"alice","text":"hello world, this is a message"}')


@contextmanager
def counted() -> "Iterator[Counter[str]]":
    """Count the calls of all functions, and the additions to counters."""
    calls: Counter[str] = Counter()
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in _FUNCTIONS]
    slot: Any = metrics.Counter.value

    def add(counter: metrics.Counter, value: float) -> None:
        calls["addition"] += 1
        slot.__set__(counter, value)

    def wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls[name] += 1
            return function(*arguments)

        return call

    for owner, name, function in originals:
        setattr(owner, name, wrapped(name, function))
    metrics.Counter.value = property(slot.__get__, add)
    try:
        yield calls
    finally:
        metrics.Counter.value = slot
        for owner, name, function in originals:
            setattr(owner, name, function)


def cost(action: Callable[[], object], times: int) -> float:
    """Return the CPU time of *action* in seconds."""
    began = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - began) / times


def cost_of_call(owner: type, name: str, arguments: tuple[Any, ...]) -> float:
    """Return what one call of a function costs, in seconds."""
    all_metrics = Metrics()
    histogram = all_metrics.histogram("client_command_duration_seconds_histogram")
    counters = MessageCounters(all_metrics.counter("a"), all_metrics.counter("b"))
    holders: dict[type, object] = {
        Histogram: histogram,
        MessageCounters: counters,
    }
    call = getattr(holders[owner], name)
    return cost(lambda: call(*arguments), 20_000) - cost(_nothing, 20_000)


def _nothing() -> None:
    """Do nothing: what a round of the loop itself costs."""


def cost_of_addition() -> float:
    """Return what one addition to a counter costs, in seconds."""
    received = NodeMetrics(Metrics()).received

    def add() -> None:
        received["publication"].value += 1

    return cost(add, 20_000) - cost(_nothing, 20_000)


def shares(
    operation: Callable[[], object], times: int, rounds: int
) -> tuple[float, float]:
    """Return the CPU time of counting, in seconds, and its share of an operation."""
    operation()
    with counted() as calls:
        operation()
    costs, shares = [], []
    for _ in range(rounds):
        # Those of the functions are part of what a call of them costs.
        additions = calls["addition"] - 2 * calls["add"]
        spent = additions * cost_of_addition()
        spent += sum(
            calls[name] * cost_of_call(owner, name, arguments)
            for owner, name, arguments in _FUNCTIONS
        )
        costs.append(spent)
        shares.append(spent / cost(operation, times))
    return median(costs), median(shares)


def fan_out(subscribers: int) -> Callable[[], object]:
    """Return one publication to so many subscribers."""
    node = new_node()
    for _ in range(subscribers):
        client = node.connect(Sink())
        client.receive(b'{"id":1,"connect":{}}')
        client.receive(b'{"id":2,"subscribe":{"channel":"news"}}')
    clock: Any = node.clock

    def publish() -> None:
        node.publish("news", DATA)
        clock.advance(0)

    return publish


def command(text: bytes) -> Callable[[], object]:
    """Return one command of a client, from message to reply."""
    client = new_node().connect(Sink())
    client.receive(b'{"id":1,"connect":{}}')

    def run() -> None:
        client.queue.allowance = 1
        client.receive(text)

    return run


def measures() -> dict[str, tuple[Callable[[], object], int]]:
    """Return the operations by name, and how often each is repeated."""
    return {
        "a publication to 1 subscriber": (fan_out(1), 5000),
        "a publication to 100 subscribers": (fan_out(100), 1000),
        "a publication to 1,000 subscribers": (fan_out(1000), 200),
        "a publish command": (
            command(b'{"id":2,"publish":{"channel":"chat","data":{"a":1}}}'),
            5000,
        ),
    }


def main() -> None:
    """Print the share of counting in each operation."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    for name, (operation, times) in measures().items():
        spent, part = shares(operation, times, rounds)
        print(f"{name:<36} {1e6 * spent:6.2f} us  {100 * part:5.2f} %")


if __name__ == "__main__":
    main()
