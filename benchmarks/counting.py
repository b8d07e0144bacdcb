"""What counting costs: the share of metrics in a fan-out and in a command.

``python -m benchmarks.counting`` counts how often one operation calls each function of
the metrics, measures what such a call costs, and prints the sum as a share of the CPU
time of the whole operation, without sockets.  With them an operation costs several
times as much, and counting the same.
"""

import collections
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from centrifugo_tx.core.node_metrics import MessageCounters, NodeMetrics, Table
from centrifugo_tx.metrics import Counter, Histogram, Metrics
from centrifugo_tx.protocol.messages import Raw

from .burst import Sink
from .commands import new_node

__all__ = ["measures"]

ROUNDS = 7
#: The functions that count.
_FUNCTIONS: list[tuple[type, str]] = [
    (MessageCounters, "add"),
    (Histogram, "observe"),
]
#: The attributes that are counters.
_ATTRIBUTES: list[tuple[type, str]] = [
    (Counter, "value"),
    (MessageCounters, "messages"),
    (MessageCounters, "size"),
    (NodeMetrics, "published"),
    (NodeMetrics, "delivered"),
]
DATA = Raw(b'{"user":"alice","text":"hello world, this is a message"}')


@contextmanager
def counted() -> "Iterator[collections.Counter[str]]":
    """Count the calls of all functions, additions to counters and lookups of them."""
    calls: collections.Counter[str] = collections.Counter()
    originals = [
        (owner, name, getattr(owner, name)) for owner, name in _FUNCTIONS + _ATTRIBUTES
    ]

    def counting(slot: Any) -> property:
        def add(counter: object, value: float) -> None:
            calls["addition"] += 1
            slot.__set__(counter, value)

        return property(slot.__get__, add)

    def look_up(table: "Table[Any, Any]", key: object) -> Any:
        calls["lookup"] += isinstance(key, tuple)  # others are no tables of counters
        return dict.__getitem__(table, key) if key in table else table.__missing__(key)

    def wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls[name] += 1
            return function(*arguments)

        return call

    for owner, name, original in originals:
        function = (owner, name) in _FUNCTIONS
        setattr(
            owner, name, wrapped(name, original) if function else counting(original)
        )
    Table.__getitem__ = look_up  # type: ignore[assignment]
    try:
        yield calls
    finally:
        del Table.__getitem__
        for owner, name, original in originals:
            setattr(owner, name, original)


def cost(action: Callable[[], object], times: int) -> float:
    """Return the CPU time of *action* in seconds."""
    began = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - began) / times


def costs() -> dict[str, float]:
    """Return the CPU time of each kind of counting, without the loop around it."""
    metrics = NodeMetrics(Metrics())
    counters = metrics.command_counters("websocket", "publish")
    received, duration = counters.received, counters.duration
    sent, transport, kind = metrics.transport_counters.sent, "websocket", "publish"
    times = range(20_000)

    def nothing() -> None:
        for _ in times:
            pass

    def addition() -> None:
        for _ in times:
            counters.received.messages += 1

    def add() -> None:
        for _ in times:
            received.add(1, 100)

    def observe() -> None:
        for _ in times:
            duration.observe(0.00002)  # as a command takes

    def lookup() -> None:
        for _ in times:
            sent[transport, kind]

    loops = (addition, add, observe, lookup)
    empty = cost(nothing, 1)
    return {each.__name__: (cost(each, 1) - empty) / len(times) for each in loops}


def shares(
    operation: Callable[[], object], times: int, rounds: int
) -> tuple[float, float]:
    """Return the CPU time of counting, in seconds, and its share of an operation."""
    operation()
    with counted() as calls:
        operation()
    calls["addition"] -= 2 * calls["add"]  # which are part of it
    spent, shares = [], []
    for _ in range(rounds):
        each = costs()
        spent.append(sum(number * each[name] for name, number in calls.items()))
        shares.append(spent[-1] / cost(operation, times))
    return median(spent), median(shares)


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
