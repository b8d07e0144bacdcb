"""The ``delta`` field of requests (server API, "API deltas")."""

from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import ChannelOptions, SubscribeOptions
from tests.core.channel.delta_client import DeltaClient, publications_in
from tests.support import World

from .api_backend import HISTORY, Backend, Rules

MAY_HAVE = SubscribeOptions(positioned=True, delta_types=("fossil",))
TEXT = "what stays the same from one to the next"


class Wishing(Rules):
    """Namespace ``dd`` wishes for deltas always."""

    def channel(self, name: str) -> ChannelOptions:
        if name.startswith("dd:"):
            return replace(HISTORY, delta_publish=True)
        return super().channel(name)


class DeltaTests(SynchronousTestCase):
    """A publisher, or its namespace, wishes for deltas."""

    def setUp(self) -> None:
        world = World(policy=Wishing(subscription=MAY_HAVE))
        self.backend = Backend(world=world)

    def forms(
        self, channel: str, method: str = "publish", **request: Any
    ) -> list[bool]:
        """Publish twice; return which came as deltas."""
        client = DeltaClient(self.backend.world.node)
        client.ask(subscribe={"channel": channel, "delta": "fossil"})
        if method == "broadcast":
            request["channels"] = [channel]
        else:
            request["channel"] = channel
        for n in (1, 2):
            self.backend.result(method, data={"n": n, "text": TEXT}, **request)
        found = publications_in(client.take())
        return [publication.get("delta", False) for publication in found]

    def test_request(self) -> None:
        """A request asks for it, by publish or by broadcast."""
        for method in ("publish", "broadcast"):
            self.assertEqual(self.forms("hh:a", method), [False, False])
            self.assertEqual(self.forms("hh:b", method, delta=True), [False, True])

    def test_namespace(self) -> None:
        """A namespace asks for all."""
        self.assertEqual(self.forms("dd:a"), [False, True])
        self.assertEqual(self.forms("dd:a", delta=False), [False, True])
        self.assertEqual(self.forms("dd:b", "broadcast"), [False, True])

    def test_no_history(self) -> None:
        """Without history there is nothing to build on."""
        self.assertEqual(self.forms("a", delta=True), [False, False])
        self.assertEqual(
            self.forms("dd:c", delta=True, skip_history=True), [False, False]
        )

    def test_history(self) -> None:
        """History contains the full payloads."""
        self.forms("dd:d")
        kept = self.backend.result("history", channel="dd:d", limit=2)["publications"]
        self.assertEqual([each["data"]["text"] for each in kept], [TEXT, TEXT])
