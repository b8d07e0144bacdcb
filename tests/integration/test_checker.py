"""The findings of the checker of deliveries."""

from twisted.trial.unittest import SynchronousTestCase

from .checker import Account, Sent, Verdict, judge, out_of_order

SENT = [Sent(1, "a", 1), Sent(2, "a", 2), Sent(3, "a", 3)]


class VerdictTests(SynchronousTestCase):
    """A client that has subscribed to an empty channel, and three publications."""

    def setUp(self) -> None:
        """Subscribe."""
        self.account = Account("one")
        self.account.begin("a", 0)

    def take(self, *numbers: int) -> None:
        """Receive publications whose offsets are their numbers."""
        for number in numbers:
            self.account.take(number, number)

    def verdict(self, sent: list[Sent] = SENT) -> Verdict:
        """Judge."""
        return judge([self.account], sent)

    def test_all(self) -> None:
        """A client that received all publications once and in order has no fault."""
        self.take(1, 2, 3)
        verdict = self.verdict()
        self.assertEqual((verdict.checked, verdict.faults), (3, []))

    def test_hole(self) -> None:
        """A hole is found when it comes, and as a loss."""
        self.take(1, 3)
        self.assertEqual(
            self.verdict().faults, ["one: 3 came after 1", f"one: never got {SENT[1]}"]
        )

    def test_end(self) -> None:
        """Publications missing at the end are lost, too."""
        self.take(1, 2)
        self.assertEqual(self.verdict().faults, [f"one: never got {SENT[2]}"])

    def test_twice(self) -> None:
        """A publication that comes again is found, also under another offset."""
        self.take(1, 2, 3)
        self.account.take(3, 4)
        self.assertEqual(self.verdict().faults, ["one: number 3 came twice"])

    def test_order(self) -> None:
        """Two publications in the wrong order are found."""
        self.take(2, 1, 3)
        self.assertEqual(len(self.verdict().faults), 3)

    def test_another_instead(self) -> None:
        """Another publication at the offset of a missing one is a fault."""
        self.take(1)
        self.account.take(9, 2)
        self.take(3)
        self.assertEqual(self.verdict().faults, [f"one: never got {SENT[1]}"])

    def test_gone_back(self) -> None:
        """It is one if storage goes back, and knows the other no more."""
        self.take(1)
        self.account.take(9, 2)
        self.take(3)
        verdict = judge([self.account], SENT, goes_back=True)
        self.assertEqual((verdict.checked, verdict.replaced), (2, 1))
        self.assertEqual(verdict.faults, [])
        known = [*SENT, Sent(9, "a", 4)]
        verdict = judge([self.account], known, goes_back=True)
        self.assertEqual(len(verdict.faults), 2)

    def test_told(self) -> None:
        """A client that was told of the loss has no fault; its publications still
        count.
        """
        self.take(1)
        self.account.begin("a", 2)
        self.take(3)
        verdict = self.verdict()
        self.assertEqual(
            (verdict.checked, verdict.excused, verdict.losses_told), (2, 1, 1)
        )
        self.assertEqual(verdict.faults, [])

    def test_new_epoch(self) -> None:
        """What an old epoch still brought is excused when the client knows the new."""
        self.take(1)
        self.account.begin("b", 0)
        self.account.take(4, 1)
        verdict = self.verdict([*SENT, Sent(4, "b", 1)])
        self.assertEqual((verdict.checked, verdict.excused), (2, 2))
        self.assertEqual(verdict.faults, [])

    def test_epoch_unheard_of(self) -> None:
        """A client that does not know of a new epoch has lost its publications."""
        self.take(1, 2, 3)
        new = Sent(4, "b", 1)
        self.assertEqual(self.verdict([*SENT, new]).faults, [f"one: never got {new}"])

    def test_recovered_elsewhere(self) -> None:
        """A recovery that ends in another epoch does not count."""
        self.account.go_on("b")
        self.assertEqual(self.verdict([]).faults, ["one: recovered from a to b"])

    def test_numbering(self) -> None:
        """Offsets that do not follow the order of sending are found."""
        self.assertEqual(out_of_order(SENT), [])
        self.assertEqual(len(out_of_order([SENT[1], SENT[0]])), 1)
        self.assertEqual(out_of_order([SENT[2], Sent(4, "b", 1)]), [])
