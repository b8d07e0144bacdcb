"""A master fails under clients with recovery, and another takes over."""

from centrifugo_tx.engines.redis.cluster import key_slot

from .checker import Sent
from .fault_case import CHANNELS, FaultCase, start_nodes, wait
from .publisher import Publisher
from .redis_topologies import ClusterOfSix, Watched


class FailoverCase(FaultCase):
    """Replicas lag, so a new master may lack acknowledged publications."""

    goes_back = True

    def stored_publications(self, publisher: Publisher) -> dict[str, list[Sent]]:
        """Return the acknowledged publications that storage still has."""
        return {
            channel: self._stored(channel, sent)
            for channel, sent in publisher.sent.items()
        }

    def _stored(self, channel: str, sent: list[Sent]) -> list[Sent]:
        stored: set[Sent] = set()

        def read() -> bool:
            # A node may still be on its way to the new master.
            try:
                history = self.nodes[0].api("history", channel=channel, limit=-1)
            except AssertionError:
                return False
            stored.update(
                Sent(each["data"]["n"], history["epoch"], each["offset"])
                for each in history["publications"]
            )
            return True

        wait(read, "history can be read")
        return [each for each in sent if each in stored]


class SentinelTests(FailoverCase):
    """A master, two replicas, and three Sentinels, for each test others."""

    def begin(self, down_after: float = 60.0) -> None:
        """Start all of them, and two nodes."""
        self.watched = Watched(down_after)
        self.addCleanup(self.watched.stop)
        redis = {"address": [self.watched.address]}
        self.nodes = start_nodes(self.addCleanup, redis, redis)

    def test_master_killed(self) -> None:
        """Clients continue with the next master, and are told of its losses."""
        self.begin(down_after=1.0)
        old = self.watched.servers[0]

        def take_over() -> None:
            old.kill()
            wait(lambda: self.watched.master is not old, "there is a new master")

        self.ordeal(take_over, old.start, data_stays=False)

    def test_ordered(self) -> None:
        """A requested failover also reveals its losses."""
        self.begin()
        old = self.watched.servers[0]

        def order() -> None:
            wait(lambda: self.watched.failed_over(old), "there is a new master")

        self.ordeal(order, data_stays=False)


class ClusterTests(FailoverCase):
    """Three masters and their replicas, for each test others."""

    def begin(self, down_after: float = 60.0) -> None:
        """Start all of them, and two nodes."""
        self.cluster = ClusterOfSix(down_after)
        self.addCleanup(self.cluster.stop)
        addresses = ",".join(each.address for each in self.cluster.nodes)
        redis = {"cluster_address": [addresses]}
        self.nodes = start_nodes(self.addCleanup, redis, redis)

    def slot(self) -> int:
        """Return the slot of a channel that takes part."""
        return key_slot(f"{self.id().rpartition('.')[2]}0".encode())

    def test_master_killed(self) -> None:
        """Clients continue with the replica, and are told of its losses."""
        self.begin(down_after=2.5)
        slot = self.slot()
        old = self.cluster.master_of(slot)

        def take_over() -> None:
            old.kill()
            wait(
                lambda: self.cluster.master_of(slot) is not old,
                "a replica has taken over",
            )

        self.ordeal(take_over, old.start, data_stays=False)

    def test_slot_moved(self) -> None:
        """Slots that move cost nothing but time."""
        self.begin()
        name = self.id().rpartition(".")[2]
        slots = {key_slot(f"{name}{n}".encode()) for n in range(CHANNELS)}

        def move() -> None:
            for slot in slots:
                source, target = self.cluster.ends(slot)
                self.cluster.migrate(slot, source, target)
                self.cluster.finish(slot, source, target)

        self.ordeal(move)
