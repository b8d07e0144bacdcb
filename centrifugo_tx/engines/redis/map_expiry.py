"""Removes expired keys of maps."""

from collections.abc import Callable, Mapping

from attrs import define, field
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import BrokerUnavailable
from ...metrics import Counter, Metrics
from ...options import MapRules
from ..memory_stream import new_epoch
from .connection import Refused
from .map_envelope import removal_of_any
from .map_layout import MapLayout
from .map_scripts import EXPIRE_KEYS
from .script_arguments import ExpireKeys
from .topology import Shard

__all__ = ["MapExpiry", "stream_limits"]

#: Maps that are processed concurrently, and steps per list in one search; the rest
#: waits for the next search.
MAPS, STEPS = 64, 100


@define(eq=False)
class MapExpiry:
    """Searches the lists of maps for keys that have expired.

    A script removes a batch of keys, announces each removal, and lists the map under
    the expiry time of its next key.  So only one of the searching nodes removes a key.
    Maps without a namespace on this node are left to other nodes.
    """

    _clock: IReactorTime
    _layouts: Mapping[Shard, MapLayout]
    _rules: Callable[[str], MapRules | None]
    _metrics: Metrics
    batch: int
    _silent: bool = False
    _loop: LoopingCall = field(init=False)
    _removed: Counter = field(init=False)
    _errors: Counter = field(init=False)
    _away: bool = field(default=False, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._loop = LoopingCall(self.search)
        self._loop.clock = self._clock
        counter = self._metrics.counter
        self._removed = counter("map_broker_cleanup_removed_count", broker_name="")
        self._errors = counter("map_broker_cleanup_errors_count", broker_name="")

    def start(self, interval: float) -> None:
        """Search every *interval* seconds; a search starts after the previous one has
        ended.
        """
        if interval > 0:
            self._loop.start(interval, now=False)

    def stop(self) -> None:
        """Stop searching, and ignore failures of a search that is still running."""
        self._away = True
        if self._loop.running:
            self._loop.stop()

    def search(self) -> "Deferred[None]":
        """Remove the keys that have expired; never fails."""
        looks = [
            Deferred.fromCoroutine(self._search_list(shard, layout, due)).addErrback(
                self._failed
            )
            for shard, layout in self._layouts.items()
            for due in layout.due
        ]
        return gatherResults(looks).addCallback(self._note_results)

    def _note_results(self, results: "list[bool | None]") -> None:
        if all(results):
            self._away = False

    def _failed(self, failure: Failure) -> None:
        """Count a failure; log the first of an outage, and all unexpected ones."""
        self._errors.value += 1
        if isinstance(failure.value, FirstError):
            failure = failure.value.subFailure
        if failure.check(BrokerUnavailable):
            if not self._away:
                self._log.warn(
                    "keys of maps cannot expire: {reason}",
                    reason=failure.getErrorMessage(),
                )
            self._away = True
        else:
            self._log.failure("keys of maps cannot expire", failure)

    async def _search_list(self, shard: Shard, layout: MapLayout, due: bytes) -> bool:
        now = b"%d" % int(self._clock.seconds() * 1000)
        foreign = 0
        for _ in range(STEPS):
            names = await shard.send(
                *(due, b"ZRANGEBYSCORE", due, b"0", now),
                *(b"LIMIT", b"%d" % foreign, b"%d" % MAPS),
            )
            work = []
            for name in names:
                channel = name.decode(errors="replace")
                rules = self._rules(channel)
                if rules is None:
                    foreign += 1
                else:
                    work.append(self._expire(shard, layout, channel, rules, now))
            foreign += sum(await gatherResults(work, consumeErrors=True))
            if len(names) < MAPS and not work:
                break
        return True

    def _expire(
        self,
        shard: Shard,
        layout: MapLayout,
        channel: str,
        rules: MapRules,
        now: bytes,
    ) -> "Deferred[bool]":
        """Remove a batch of a map's keys; return whether Redis cannot do so."""
        stream, meta, state, expire, state_meta, order, due, messages = layout.keys(
            channel
        )
        stream_size, stream_ttl, meta_ttl = stream_limits(rules)
        return shard.run(
            EXPIRE_KEYS,
            self._count,
            *(stream, meta, state, expire, state_meta, due, order),
            *ExpireKeys(
                now=now,
                batch=b"%d" % self.batch,
                messages=b"" if self._silent else messages,
                channel=channel.encode(),
                epoch=new_epoch().encode(),
                stream_size=stream_size,
                stream_ttl=stream_ttl,
                meta_ttl=meta_ttl,
                removal=removal_of_any(int(now)),
            ),
        ).addErrback(self._refused)

    def _count(self, removed: int) -> bool:
        self._removed.value += removed
        return False

    def _refused(self, failure: Failure) -> bool:
        """Skip a map that Redis cannot process, so that the others are processed."""
        failure.trap(Refused)
        self._failed(failure)
        return True


def stream_limits(rules: MapRules) -> tuple[bytes, bytes, bytes]:
    """Return size and TTL of the stream, and the meta TTL, in milliseconds."""
    if not rules.stream_size:
        return b"0", b"0", b"0"
    return (
        b"%d" % rules.stream_size,
        b"%d" % int(rules.stream_ttl * 1000),
        b"%d" % int(rules.meta_ttl * 1000),
    )
