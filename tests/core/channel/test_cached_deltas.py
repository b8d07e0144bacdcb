"""Deltas that are cached for clients that reconnect."""

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.channel import deltas
from centrifugo_tx.core.channel.deltas import Deltas, difference
from centrifugo_tx.protocol.delta import apply, make
from centrifugo_tx.protocol.messages import Publication, Raw

from .delta_client import payload


def publication(offset: int, data: bytes | None = None) -> Publication:
    """Return the publication at *offset*."""
    return Publication(data=Raw(data or payload(offset)), offset=offset)


class KeepingTests(SynchronousTestCase):
    """Payloads that were compared are not compared again."""

    def setUp(self) -> None:
        self.compared = 0
        self.patch(deltas, "make", self.counted)
        self.deltas = Deltas()

    def counted(self, base: bytes, target: bytes) -> bytes:
        self.compared += 1
        return make(base, target)

    def recover(self, first: int, last: int) -> list[bool]:
        """Recover a part of the stream; return which come as deltas."""
        between = self.deltas.as_work_allows()
        forms = []
        for offset in range(first + 1, last + 1):
            before, now = publication(offset - 1), publication(offset)
            delta = between(before, now)
            forms.append(delta is not None)
            if delta is not None:
                self.assertEqual(apply(bytes(before.data), delta), bytes(now.data))
        return forms

    def test_live(self) -> None:
        """A delta made for a live publication serves recovering clients."""
        for offset in range(2, 6):
            self.deltas.between(publication(offset - 1), publication(offset))
        self.assertEqual(self.compared, 4)
        self.assertEqual(self.recover(1, 5), [True] * 4)
        self.assertEqual(self.recover(3, 6), [True] * 3)
        self.assertEqual(self.compared, 5)

    def test_together(self) -> None:
        """Many clients that missed the same publications cost as much as one."""
        for _ in range(50):
            self.recover(1, 6)
        self.assertEqual(self.compared, 5)

    def test_nothing_gained(self) -> None:
        """The result that no delta is worthwhile is cached, too."""
        one, other = publication(1, b"1"), publication(2, b"2")
        for between in (self.deltas.between, self.deltas.as_work_allows()):
            self.assertIsNone(between(one, other))
        self.assertEqual(self.compared, 1)

    def test_payloads(self) -> None:
        """Only payloads count: a stream that was rewritten has other deltas."""
        first, second = publication(1), publication(2)
        self.deltas.between(first, second)
        for base, target in ((payload(3), payload(2)), (payload(1), payload(4))):
            delta = self.deltas.between(publication(1, base), publication(2, target))
            self.assertEqual(apply(base, delta or b""), target)
        self.assertEqual(self.compared, 3)

    def test_limit(self) -> None:
        """The oldest go when there are too many."""
        size = len(difference(publication(1), publication(2)) or b"") + 400
        self.deltas = Deltas(limit=4 * size)
        self.compared = 0
        self.recover(1, 6)
        self.recover(2, 6)
        self.assertEqual(self.compared, 5)
        self.recover(1, 2)
        self.assertEqual(self.compared, 6)
        self.assertEqual(len(self.deltas._made), 4)

    def test_work(self) -> None:
        """After very much loss the rest comes in full; the next client gets further."""
        self.deltas = Deltas(work=3 * len(payload(1)))
        self.assertEqual(self.recover(1, 8), [True] * 3 + [False] * 4)
        self.assertEqual(self.recover(1, 8), [True] * 6 + [False])
        self.assertEqual(self.recover(1, 8), [True] * 7)
        self.assertEqual(self.compared, 7)
