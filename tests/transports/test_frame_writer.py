"""Frames into a byte stream."""

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.transports.frame_writer import READING, FlushBatch, FrameWriter


class Stream(StringTransport):
    """Counts the writes, and pauses its producer when it has no more room."""

    def __init__(self) -> None:
        super().__init__()
        self.writes, self.room = 0, 1000

    def write(self, data: bytes) -> None:
        """Count."""
        self.writes += 1
        super().write(data)
        if len(self.value()) > self.room:
            self.producer.pauseProducing()


class Watched(FrameWriter):
    """Notes why the peer was given up."""

    reasons: list[str]

    def queue_overflowed(self) -> None:
        self.reasons.append("slow")
        self.end(drop=True)

    def write_timed_out(self) -> None:
        self.reasons.append("late")
        self.end(drop=True)


class TurnClock(Clock):
    """A clock with turns: calls for the next turn wait for it, as in a reactor."""

    turns = 0

    def turn(self) -> None:
        """Make the calls that are due now, and not those that they add."""
        self.turns += 1
        for call in list(self.calls):
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class FrameStreamTests(SynchronousTestCase):
    """Frames leave at the end of the turn, or wait while the peer is slow."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.stream = Stream()
        self.frames = self.writer_with_limit(limit=10)

    def writer_with_limit(self, limit: int) -> Any:
        frames = Watched(self.stream, FlushBatch(self.clock, write_timeout=5), limit)
        frames.reasons = []
        frames.open()
        return frames

    def test_one_write(self) -> None:
        """Frames of one turn leave in one write, in order."""
        for frame in (b"a", b"b", b"c"):
            self.frames.write(frame)
        self.assertEqual(self.stream.writes, 0)
        self.clock.advance(0)
        self.assertEqual((self.stream.value(), self.stream.writes), (b"abc", 1))

    def test_next_turn(self) -> None:
        """Frames of the next turn follow."""
        self.frames.write(b"a")
        self.clock.advance(0)
        self.frames.write(b"b")
        self.clock.advance(0)
        self.assertEqual((self.stream.value(), self.stream.writes), (b"ab", 2))

    def test_many_at_once(self) -> None:
        """However much is written in one turn, a peer that keeps up is not slow."""
        for _ in range(100):
            self.frames.write(b"x")
        self.clock.advance(0)
        self.assertEqual((len(self.stream.value()), self.frames.reasons), (100, []))

    def test_one_too_large(self) -> None:
        """A frame longer than the limit is never sent."""
        self.frames.write(b"x" * 10)
        self.clock.advance(0)
        self.assertEqual(self.frames.reasons, [])
        self.frames.write(b"x" * 11)
        self.assertEqual(self.frames.reasons, ["slow"])
        self.assertEqual(self.stream.value(), b"x" * 10)

    def test_within_a_turn(self) -> None:
        """The limit holds within a turn, too, if the stream takes no more."""
        self.stream.room = 15
        for _ in range(8):
            self.frames.write(b"x" * 3)
        self.assertEqual(self.frames.reasons, [])
        self.assertEqual(len(self.stream.value()), 18)
        for _ in range(2):
            self.frames.write(b"x" * 3)
        self.assertEqual(self.frames.reasons, ["slow"])
        self.clock.advance(0)
        self.assertEqual(len(self.stream.value()), 18)

    def test_order_within_a_turn(self) -> None:
        """Frames that are flushed early stay in order, and each is sent once."""
        letters = b"abcdefghijklmnopqrstuvwxyz"
        for letter in letters:
            self.frames.write(bytes([letter]))
        self.clock.advance(0)
        self.assertEqual(self.stream.value(), letters)

    def test_slices(self) -> None:
        """Sending to many peers takes several turns, and none waits for long."""
        clock, sent = TurnClock(), []
        batch = FlushBatch(clock)

        class Slow(StringTransport):
            """A stream whose writes take a millisecond."""

            def write(self, data: bytes) -> None:
                """Note the turn, and let time pass."""
                super().write(data)
                clock.rightNow += 0.001
                sent.append(clock.turns)

        streams = [Slow() for _ in range(100)]
        writers = [FrameWriter(stream, batch, 1000) for stream in streams]
        for writer in writers:
            writer.write(b"a")
        for _ in range(2):
            clock.turn()
        for writer in writers:
            writer.write(b"b")
        for _ in range(10):
            clock.turn()
        self.assertEqual([stream.value() for stream in streams], [b"ab"] * 100)
        turns = [sent.count(turn) for turn in range(1, 13)]
        self.assertEqual(turns, [READING] * 5 + [4] + [0] * 6)

    def test_paused(self) -> None:
        """While the stream is full frames wait; then they leave together."""
        self.frames.write(b"a")
        self.frames.pauseProducing()
        self.frames.write(b"b")
        self.clock.advance(0)
        self.assertEqual(self.stream.value(), b"")
        self.frames.resumeProducing()
        self.assertEqual((self.stream.value(), self.stream.writes), (b"ab", 1))

    def test_slow(self) -> None:
        """Beyond the limit the client is closed, and its queue dropped."""
        self.frames.pauseProducing()
        self.frames.write(b"x" * 10)
        self.assertEqual(self.frames.reasons, [])
        self.frames.write(b"x")
        self.assertEqual(self.frames.reasons, ["slow"])
        self.clock.advance(0)
        self.assertEqual(self.stream.value(), b"")

    def test_late(self) -> None:
        """A peer that takes nothing for the timeout is given up."""
        self.frames.pauseProducing()
        self.clock.advance(5)
        self.assertEqual(self.frames.reasons, ["late"])

    def test_not_late(self) -> None:
        """One that takes something in time is not."""
        self.frames.pauseProducing()
        self.clock.advance(4)
        self.frames.resumeProducing()
        self.clock.advance(4)
        self.assertEqual(self.frames.reasons, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end(self) -> None:
        """Ending writes the queue, even to a full stream; later frames are dropped."""
        self.frames.write(b"a")
        self.frames.pauseProducing()
        self.frames.end(drop=False)
        self.frames.write(b"b")
        self.clock.advance(10)
        self.assertEqual(self.stream.value(), b"a")
        self.assertIsNone(self.stream.producer)

    def test_end_and_drop(self) -> None:
        """Or drops it."""
        self.frames.write(b"a")
        self.frames.end(drop=True)
        self.clock.advance(0)
        self.assertEqual(self.stream.value(), b"")
