"""The stream of one channel, in memory."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.engines.memory_stream import MemoryStream, new_epoch
from centrifugo_tx.options import HistoryQuery, PublishOptions
from centrifugo_tx.protocol.messages import Raw, StreamPosition


def filled(top: int, size: int) -> MemoryStream:
    """Return a stream into which *top* publications went."""
    stream = MemoryStream()
    for n in range(top):
        stream.append(Raw(b"%d" % n), PublishOptions(history_size=size))
    return stream


class Epochs(SynchronousTestCase):
    """Names of epochs."""

    def test_form(self) -> None:
        """An epoch is eight ASCII letters."""
        self.assertRegex(new_epoch(), "^[a-zA-Z]{8}$")

    def test_unique(self) -> None:
        """No two streams have the same epoch."""
        self.assertEqual(len({MemoryStream().epoch for _ in range(1000)}), 1000)


class Reading(SynchronousTestCase):
    """The part of a stream that a query asks for."""

    @given(
        top=st.integers(0, 12),
        size=st.integers(1, 8),
        since=st.none() | st.integers(0, 14),
        limit=st.integers(-1, 9),
        reverse=st.booleans(),
    )
    def test_against_definition(
        self, top: int, size: int, since: int | None, limit: int, reverse: bool
    ) -> None:
        """Reading returns the publications that the definition selects."""
        stream = filled(top, size)
        kept = list(range(max(0, top - size) + 1, top + 1))
        if reverse:
            kept.reverse()
            if since is not None:
                begins = since - 1 in kept
                kept = [n for n in kept if begins and n < since]
        elif since is not None:
            kept = [n for n in kept if n > since]
        position = None if since is None else StreamPosition(since, stream.epoch)
        found = stream.read(HistoryQuery(limit, position, reverse))
        self.assertEqual([p.offset for p in found], kept if limit < 0 else kept[:limit])

    def test_first_publication_carries_the_epoch(self) -> None:
        """The epoch stands on the first publication of a stream, on no other."""
        stream = filled(3, 10)
        found = stream.read(HistoryQuery(limit=-1))
        self.assertEqual([p.epoch for p in found], [stream.epoch, "", ""])


class Versions(SynchronousTestCase):
    """States that are too old."""

    def test_forgotten_version(self) -> None:
        """A publication without a version makes the stream forget its version."""
        stream = MemoryStream()
        stream.append(Raw(b"1"), PublishOptions(history_size=5, version=9))
        self.assertTrue(stream.supersedes(9, ""))
        stream.append(Raw(b"2"), PublishOptions(history_size=5))
        self.assertFalse(stream.supersedes(9, ""))

    def test_large_versions(self) -> None:
        """Versions are compared exactly up to 64 bits."""
        stream = MemoryStream()
        stream.append(Raw(b"1"), PublishOptions(history_size=5, version=2**64 - 2))
        self.assertTrue(stream.supersedes(2**64 - 2, ""))
        self.assertFalse(stream.supersedes(2**64 - 1, ""))
