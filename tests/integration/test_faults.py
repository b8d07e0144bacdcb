"""Redis, the network or a node fails under clients with recovery."""

import shutil
import time

from .cable import Cable
from .fault_case import CHANNELS, CLIENTS, FULL, FaultCase, rest, start_nodes
from .redis_servers import Server, valkey


class OneServer(FaultCase):
    """One Valkey, which writes everything down; each node has its own way to it."""

    storage: Server
    cables: list[Cable]

    @classmethod
    def setUpClass(cls) -> None:
        """Start all of them."""
        settings = {"appendonly": "yes", "appendfsync": "always"}
        cls.storage = Server(valkey(), settings).start()
        cls.addClassCleanup(cls.storage.stop)
        cls.cables = []
        for _ in range(2):
            cls.cables.append(Cable([cls.storage.port]))
            cls.addClassCleanup(cls.cables[-1].close)
        addresses = [f"127.0.0.1:{cable.port}" for cable in cls.cables]
        cls.nodes = start_nodes(
            cls.addClassCleanup, *({"address": [each]} for each in addresses)
        )

    # --- Redis -----------------------------------------------------------------

    def test_redis_killed(self) -> None:
        """If Redis returns with its data no publication is lost."""
        self.ordeal(self.storage.kill, rest, self.storage.start)

    def test_redis_emptied(self) -> None:
        """If Redis returns without data all clients are told."""

        def lose_data() -> None:
            self.storage.kill()
            rest()
            shutil.rmtree(self.storage.folder / "appendonlydir")
            self.storage.start()

        total = self.ordeal(lose_data, data_stays=False)
        self.assertGreaterEqual(total.losses_told, CLIENTS * CHANNELS)

    def test_messages_cut_off(self) -> None:
        """If only the connections for messages are lost no publication is lost."""

        def kill() -> None:
            for _ in range(3):
                self.storage.call("CLIENT", "KILL", "TYPE", "pubsub")
                time.sleep(0.3)

        self.ordeal(kill)

    def test_silence_after_messages_cut_off(self) -> None:
        """Unheard publications are recovered without a later one."""

        def kill() -> None:
            self.storage.call("CLIENT", "KILL", "TYPE", "pubsub")
            self.publisher.finish()

        self.ordeal(kill)

    # --- The network -----------------------------------------------------------

    def outage(self, seconds: float, *cables: Cable, held: bool = False) -> None:
        """Cut *cables* for a while."""

        def cut() -> None:
            for cable in cables:
                (cable.hold if held else cable.cut)()
            time.sleep(seconds)
            for cable in cables:
                cable.mend()

        self.ordeal(cut)

    def test_short_cut(self) -> None:
        """Connections that are lost for a moment cost nothing but time."""
        self.outage(0.1, *self.cables)

    def test_cut(self) -> None:
        """Nor do those that cannot be made again for a second."""
        self.outage(1.0, *self.cables)

    def test_one_node_cut(self) -> None:
        """Publications of the other node meanwhile are recovered."""
        self.outage(1.0, self.cables[0])

    def test_silence_after_cut(self) -> None:
        """Publications that one node missed are recovered without a later one."""

        def cut() -> None:
            self.cables[0].cut()
            self.publisher.finish()
            rest()
            self.cables[0].mend()

        self.ordeal(cut)

    def test_one_node_held(self) -> None:
        """Packets that are late are no loss."""
        self.outage(1.0, self.cables[0], held=True)

    if FULL:

        def test_long_cut(self) -> None:
            """Half a minute without Redis costs nothing but time."""
            self.outage(30.0, *self.cables)

        def test_one_node_cut_long(self) -> None:
            """Nor does half a minute without it on one node."""
            self.outage(30.0, self.cables[0])

        def test_one_node_held_long(self) -> None:
            """Nor do packets that never come."""
            self.outage(30.0, self.cables[0], held=True)

    # --- A node ----------------------------------------------------------------

    def test_node_killed(self) -> None:
        """The clients of a node that dies go on at the other one."""
        self.ordeal(self.nodes[0].kill, rest, self.nodes[0].start)

    def test_node_killed_during_cut(self) -> None:
        """Clients that come to a node without Redis are served when it is back."""

        def cut() -> None:
            self.cables[1].cut()
            self.nodes[0].kill()
            rest()
            self.cables[1].mend()
            rest()

        self.ordeal(cut, self.nodes[0].start)
