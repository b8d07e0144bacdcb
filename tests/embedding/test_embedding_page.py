"""The block of embedding.rst that uses a node; its other blocks are whole examples."""

import io
from contextlib import redirect_stdout
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx import ChannelOptions, Policy, to_json
from centrifugo_tx.options import Admission, SubscribeOptions
from centrifugo_tx.testing import MemoryNode, result_of

from ..integration.page import DOCS, blocks_of


class Kept(Policy):
    """Keeps history, and shows who is there."""

    def channel(self, name: str) -> ChannelOptions:
        return ChannelOptions(history_size=10, history_ttl=60, presence=True)

    def connect(self, client: Any, request: Any) -> Admission:
        return Admission(user=request.token, info=to_json({"name": "Ann"}))

    def subscribe(self, client: Any, request: Any) -> SubscribeOptions:
        return SubscribeOptions(presence=True)


class PageTests(SynchronousTestCase):
    """The verbs of a node, as the page shows them."""

    def test_use(self) -> None:
        """The function publishes, reads and disconnects."""
        (block,) = blocks_of((DOCS / "embedding.rst").read_text())
        names: dict[str, Any] = {}
        exec(compile(block.text, "embedding.rst", "exec"), names)
        world = MemoryNode(Kept())
        ann = world.client("42")
        ann.subscribe("news")
        with redirect_stdout(io.StringIO()) as printed:
            result_of(Deferred.fromCoroutine(names["use"](world.node)))
        self.assertIn("hello 1\n", printed.getvalue())
        self.assertIn(f"{ann.id} 42 {{'name': 'Ann'}}\n", printed.getvalue())
        assert ann.disconnected is not None
        self.assertEqual(ann.disconnected.code, 3503)
