"""Two nodes are restarted one after the other while clients publish and listen."""

from .cable import Cable
from .fault_case import FaultCase, start_nodes
from .redis_servers import shared, valkey
from .sdk import SDK
from .server import Server
from .test_python_sdk import PYTHON_SDK

#: Clients of the official SDK; the others reconnect without a delay.
SDK_CLIENTS = 8
#: Minimum seconds between the first and the last reconnect.
SPREAD = 0.1


class RollingRestartTests(FaultCase):
    """As an operator upgrades a cluster."""

    @classmethod
    def setUpClass(cls) -> None:
        """Start both nodes."""
        address = [shared(valkey()).address]
        redis = {"address": address, "prefix": "rolling"}
        cls.nodes = start_nodes(cls.addClassCleanup, redis, redis)

    def test_rolling_restart(self) -> None:
        """No client is disconnected permanently, and no message is lost.

        Disconnected clients do not all reconnect at once.
        """
        channel = f"{self.id().rpartition('.')[2]}0"
        balancer = Cable([node.port for node in self.nodes])
        self.addCleanup(balancer.close)
        sdk = SDK(PYTHON_SDK)
        self.addCleanup(sdk.close)
        names = [f"sdk{number}" for number in range(SDK_CLIENTS)]
        for name in names:
            sdk.order(
                "connect", client=name, url=balancer.url, reconnect_delays=[0.5, 3]
            )
            sdk.expect("connected", client=name)
            sdk.order("subscribe", client=name, channel=channel, recoverable=True)
            sdk.expect("subscribed", client=name)
        before = [node.pid for node in self.nodes]

        def restart(node: Server) -> None:
            self.assertEqual(node.stop(), 0)
            node.start()

        self.ordeal(*(lambda node=node: restart(node) for node in self.nodes))
        self.assertEqual(len({*before, *(node.pid for node in self.nodes)}), 4)
        for node in self.nodes:
            self.assertEqual(node.complaints(), [])
        sent = [each.number for each in self.publisher.sent[channel]]
        for name in names:
            got: list[int] = []
            while sent[-1] not in got:
                event = sdk.expect("publication", client=name)
                got.append(event["data"]["n"])
            # Those whose acknowledgement was lost with a node may be there, too.
            self.assertEqual(got, sorted(set(got)))
            self.assertEqual([each for each in sent if each not in got], [])
        times = [event["at"] for event in sdk.pending("connected")]
        self.assertGreaterEqual(len(times), SDK_CLIENTS)
        self.assertGreater(max(times) - min(times), SPREAD)
        for each in sdk.pending("connecting"):
            self.assertLess(each["code"], 3500)
        self.assertEqual(sdk.pending("disconnected"), [])
