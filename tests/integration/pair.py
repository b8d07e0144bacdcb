"""Two nodes that look like one server."""

import atexit
import itertools
import time
from typing import Any

from .cable import Cable
from .redis_servers import shared, valkey
from .server import Server

__all__ = ["Pair", "shared_pair"]

#: Seconds in which two nodes find each other.
PATIENCE = 60.0


class Pair:
    """Two nodes on one Valkey, behind a balancer that alternates between them.

    A client and the server API's calls for it are therefore mostly on different nodes.
    """

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        redis = {"address": [shared(valkey()).address], "prefix": name}
        engine = {"engine": {"type": "redis", "redis": redis}}
        self.nodes = [
            Server({**options, **engine, "node": {"name": f"node{number}"}}).start()
            for number in range(2)
        ]
        self.ports = [node.port for node in self.nodes]
        self._balancer = Cable(self.ports)
        self._turns = itertools.cycle(self.nodes)
        until = time.monotonic() + PATIENCE
        while any(len(node.api("info")["nodes"]) < 2 for node in self.nodes):
            assert time.monotonic() < until, "the nodes have not found each other"
            time.sleep(0.02)

    @property
    def port(self) -> int:
        """Return where the balancer listens."""
        return self._balancer.port

    @property
    def url(self) -> str:
        """Return where clients connect to."""
        return self._balancer.url

    def api(self, method: str, **request: Any) -> Any:
        """Call a method of the server API, on one node after the other."""
        return next(self._turns).api(method, **request)

    def close(self) -> None:
        """Leave nothing behind."""
        self._balancer.close()
        for node in self.nodes:
            node.close()


_shared: dict[str, Pair] = {}


def shared_pair(name: str, options: dict[str, Any]) -> Pair:
    """Return two running nodes that all tests with this name share."""
    if name not in _shared:
        _shared[name] = Pair(name, options)
        atexit.register(_shared[name].close)
    return _shared[name]
