"""The ids of connections."""

from uuid import RFC_4122, UUID

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.session.connections import BLOCK, RandomIds


class RandomIdsTests(SynchronousTestCase):
    """UUIDs from blocks of random bytes."""

    def test_form(self) -> None:
        """Each is a random UUID in the usual form."""
        ids = RandomIds()
        for _ in range(64):
            id = ids.next()
            parsed = UUID(id)
            self.assertEqual(str(parsed), id)
            self.assertEqual((parsed.version, parsed.variant), (4, RFC_4122))

    def test_different(self) -> None:
        """All are different, across several blocks."""
        ids, count = RandomIds(), BLOCK // 16 * 3 + 1
        self.assertEqual(len({ids.next() for _ in range(count)}), count)

    def test_fork(self) -> None:
        """A child process does not continue the block of its parent."""
        parent, child = RandomIds(), RandomIds()
        parent.next()
        child._digits, child._at = parent._digits, parent._at
        child.forget()
        self.assertNotEqual(child.next(), parent.next())
