"""The memory of channels that are no longer used, in the memory engine.

Run as a program, this module prints one figure, in bytes per channel name or per key.
"""

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from twisted.internet.task import Clock

from centrifugo_tx.core.timer_wheel import TimerWheel
from centrifugo_tx.engines.memory import MemoryBroker
from centrifugo_tx.engines.recent_results import MAX_RESULTS, RecentResults
from centrifugo_tx.options import HistoryQuery
from centrifugo_tx.protocol.messages import StreamPosition

from .measures import Bench, Figure, Rounds

__all__ = ["names"]

#: New channel names in a round.
NAMES = 200_000


def names(bench: Bench) -> Iterator[Figure]:
    """Yield the memory per channel name and per idempotency key."""
    rounds: Rounds = {}
    for name, arguments in {
        "1,000 names a second": ("channels", "1000"),
        "1 name a second": ("channels", "1"),
        "an idempotency key": ("keys",),
    }.items():
        rounds[name] = [_measured(*arguments) for _ in range(bench.rounds)]
    yield Figure("Memory of a name that was used once", "bytes", rounds)


def _measured(*arguments: str) -> float:
    """Return the figure of a separate process, whose memory nothing else has used."""
    command = [sys.executable, "-m", "benchmarks.names", *arguments]
    root = Path(__file__).parents[1]
    return float(subprocess.check_output(command, text=True, cwd=root))


def _channels(rate: int) -> int:
    clock = Clock()
    broker = MemoryBroker(clock, 2592000.0)
    query = HistoryQuery(limit=0)

    def fill() -> None:
        for number in range(NAMES):
            # A subscriber that may recover reads the top of the stream.
            broker.history(f"room:{number:016x}", query)
            if number % rate == 0:
                clock.advance(1)

    return _growth(fill) // NAMES


def _keys() -> int:
    results = RecentResults(TimerWheel(Clock(), 1))

    def fill() -> None:
        for number in range(MAX_RESULTS):
            position = StreamPosition(number + 1000, "abcdefgh")
            results.put(f"room:{number:016x}", f"{number:036x}", position, 0.0, 300.0)

    return _growth(fill) // MAX_RESULTS


def _growth(action: Callable[[], None]) -> int:
    gc.collect()
    before = _resident()
    action()
    gc.collect()
    return _resident() - before


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    print(_channels(int(rest[0])) if what == "channels" else _keys())
