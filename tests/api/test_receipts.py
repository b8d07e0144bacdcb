"""Receipts in the server API: publish with confirm, and receipts."""

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import SubscribeOptions

from .api_backend import Backend


class ReceiptTests(SynchronousTestCase):
    """Channels of the namespace ``rr`` have receipts."""

    def setUp(self) -> None:
        self.backend = Backend()
        self.world = self.backend.world
        self.world.policy.subscription = SubscribeOptions(
            positioned=True, receipts_ttl=60.0
        )

    def test_confirm(self) -> None:
        """A publication with confirm pings the subscribers, one without does not."""
        ada = self.world.subscribed("rr:a", "ada")
        self.backend.result("publish", channel="rr:a", data=1)
        (push,) = ada.take()
        self.assertIn("pub", push["push"])
        offset = self.backend.result("publish", channel="rr:a", data=2, confirm=True)[
            "offset"
        ]
        self.assertEqual(ada.take()[1:], [{}])
        before = self.backend.result("receipts", channel="rr:a", offset=offset, limit=5)
        ada.send({})
        after = self.backend.result("receipts", channel="rr:a", offset=offset, limit=5)
        counts = {"received": 0, "pending": 0, "away": 0, "unknown": 0, "missed": 0}
        self.assertEqual(
            before,
            {
                "counts": {**counts, "pending": 1},
                "users": [{"user": "ada", "state": "pending", "offset": 0, "at": 0}],
            },
        )
        self.assertEqual(after["counts"], {**counts, "received": 1})
        self.assertEqual(
            after["users"],
            [
                {
                    "user": "ada",
                    "state": "received",
                    "offset": offset,
                    "at": self.world.clock.seconds(),
                }
            ],
        )

    def test_broadcast(self) -> None:
        """A broadcast with confirm pings the subscribers of each channel."""
        peers = [self.world.subscribed(f"rr:{name}", name) for name in "ab"]
        for peer in peers:
            peer.take()
        found = self.backend.result(
            "broadcast", channels=["rr:a", "rr:b", "a"], data=1, confirm=True
        )["responses"]
        self.assertEqual([each.get("error", {}).get("code") for each in found][2], 108)
        for peer in peers:
            self.assertEqual(peer.take()[1:], [{}])

    def test_refused(self) -> None:
        """Each rule has its error, and nothing is published."""
        peer = self.world.subscribed("hh:a", "ada")
        peer.take()
        for code, method, request in (
            (108, "publish", {"channel": "hh:a", "data": 1, "confirm": True}),
            (
                107,
                "publish",
                {"channel": "rr:a", "data": 1, "confirm": True, "skip_history": True},
            ),
            (107, "receipts", {"offset": 1}),
            (107, "receipts", {"channel": "rr:a"}),
            (108, "receipts", {"channel": "hh:a", "offset": 1}),
            (102, "receipts", {"channel": "no:a", "offset": 1}),
        ):
            self.assertEqual(self.backend.code(method, **request), code, request)
        self.assertEqual(peer.take(), [])

    def test_batch(self) -> None:
        """Receipts can be read in a batch."""
        self.world.subscribed("rr:a", "ada")
        commands = [
            {"publish": {"channel": "rr:a", "data": 1}},
            {"receipts": {"channel": "rr:a", "offset": 1}},
        ]
        replies = self.backend.call("batch", commands=commands)["replies"]
        self.assertEqual(replies[1]["receipts"]["counts"]["pending"], 1)
