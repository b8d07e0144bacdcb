"""Settings that all client transports of one server share."""

from collections.abc import Collection, Sequence

from attrs import frozen
from twisted.logger import Logger

from ..bounded_log import BoundedLog
from ..core import Node
from ..metrics import Counter
from .connection_limit import ConnectionLimiter
from .frame_writer import FlushBatch
from .origin import OriginRule

__all__ = ["TransportSettings"]


@frozen(eq=False)
class TransportSettings:
    """The node that clients join, and the limits and rules of their transports.

    ``queue_max_size`` is how many bytes may wait for a slow client; ``kept_headers``
    are the names, in lower case, of the request headers that the policy reads.
    """

    node: Node
    limiter: ConnectionLimiter
    origins: OriginRule
    queue_max_size: int = 1048576
    kept_headers: frozenset[str] = frozenset()

    @classmethod
    def unlimited(
        cls,
        node: Node,
        allowed_origins: Sequence[str] = (),
        headers: Collection[str] = (),
    ) -> "TransportSettings":
        """Return settings without a connection limit.

        :param headers: names of the request headers that the policy reads.
        :raises ValueError: an allowed origin is not a glob.
        """
        limiter = ConnectionLimiter(
            node.clock, lambda: node.connections.num_clients, Counter()
        )
        log = BoundedLog(Logger(), node.clock)
        return cls(
            node,
            limiter,
            OriginRule(allowed_origins, log),
            node.options.queue_max_size,
            frozenset(name.lower() for name in headers),
        )

    def flush_batch(self, write_timeout: float = 1.0) -> FlushBatch:
        """Return a new batch of writers.

        :param write_timeout: seconds until a peer that reads nothing is closed.
        """
        return FlushBatch(self.node.clock, write_timeout)
