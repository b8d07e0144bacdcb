"""Many idle connections: the memory of each, and the CPU time with pings.

One process may open too few files for all of them, so several nodes share them, as many
of ours as of the reference.  All run on the first core.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from .processes import Load, Tools
from .settings import OURS, THEIRS, Servers
from .side_by_side import Result

__all__ = ["idle_connections"]

#: Connections of one node, and seconds for which CPU time is counted.
MOST_PER_NODE, SECONDS = 16_000, 50
_SAID = r'2 {"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}'


def idle_connections(servers: Servers, tools: Tools, count: int) -> list[Result]:
    """Measure both servers, one after the other, once.

    :raises RuntimeError: if a server closes a connection.
    """
    nodes = -(-count // MOST_PER_NODE)
    results = [
        Result("idle", f"{count:,} idle connections on {nodes} nodes", "bytes"),
        Result("idle", "A ping every 25 s, per connection", "µs CPU"),
    ]
    for name in (OURS, THEIRS):
        memory, ping = _measure(servers, tools, name, count, nodes)
        for result, value in zip(results, (memory, ping), strict=True):
            (result.ours if name == OURS else result.theirs).append(value)
    return results


def _measure(
    servers: Servers, tools: Tools, name: str, count: int, nodes: int
) -> tuple[float, float]:
    """Return the bytes of a connection, and the CPU time of a ping in µs."""
    shares = [count // nodes + (node < count % nodes) for node in range(nodes)]
    with ExitStack() as stack:
        loads = []
        for _ in shares:
            server = stack.enter_context(servers.started(name, "pings"))
            loads.append(Load(tools, server))
            stack.callback(loads[-1].close)
        pool = stack.enter_context(ThreadPoolExecutor(nodes))
        for load in loads:
            load.run(f"open 500 {_SAID}")
            load.run("close")
            load.run("idle 1")
        opened = pool.map(
            lambda load, share: load.run(f"open {share} {_SAID}"), loads, shares
        )
        memory = sum(got["memory"] for got in opened)
        idled = list(pool.map(lambda load: load.run(f"idle {SECONDS}"), loads))
    if any(got["failed"] for got in idled):
        raise RuntimeError(f"{name} has closed connections")
    pings = count * SECONDS / 25
    return memory / count, sum(got["cpu"] for got in idled) * 1e6 / pings
