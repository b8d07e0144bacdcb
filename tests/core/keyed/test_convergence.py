"""In any order of events, clients converge to the state of the map."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from .map_world import MapWorld, Reader

KEYS = st.sampled_from("abcde")
READER = st.integers(0, 2)
ACTIONS = st.one_of(
    *[st.tuples(st.just("put"), KEYS)] * 4,
    st.tuples(st.just("drop"), KEYS),
    *[st.tuples(st.just("step"), READER)] * 8,
    st.tuples(st.just("reconnect"), READER),
    st.tuples(st.just("leave"), READER),
    st.tuples(st.just("pause"), st.integers(1, 3)),
    st.tuples(st.just("clear"), st.none()),
)


class Story:
    """Three clients that read one map, while it changes."""

    def __init__(self, channel: str) -> None:
        self.world = MapWorld()
        self.channel = channel
        self.readers = [self._reader() for _ in range(3)]
        self.number = 0
        for key in "abcde":
            self.act("put", key)

    def _reader(self) -> Reader:
        return Reader(self.world.connected(), self.channel)

    def act(self, what: str, argument: Any) -> None:
        """Do one thing."""
        if what == "put":
            self.number += 1
            self.world.put(self.channel, argument, self.number)
        elif what == "drop":
            self.world.drop(self.channel, argument)
        elif what == "pause":
            self.world.clock.advance(argument)
        elif what == "clear":
            maps = self.world.node.maps
            assert maps is not None
            maps.clear(self.channel)
        else:
            getattr(self, f"_{what}")(argument)
        for reader in self.readers:
            reader.apply_pushes()

    def _step(self, which: int) -> None:
        reader = self.readers[which]
        if reader.peer.closed:  # it took too long, or never ponged
            self._reconnect(which)
        elif not reader.live:
            reader.step()

    def _reconnect(self, which: int) -> None:
        reader = self.readers[which]
        reader.apply_pushes()
        if not reader.peer.closed:
            reader.peer.client.transport_lost()
        reader.reconnect(self.world.connected())

    def _leave(self, which: int) -> None:
        reader = self.readers[which]
        if not reader.peer.closed:
            reader.peer.ask(unsubscribe={"channel": self.channel})
            self.readers[which] = Reader(reader.peer, self.channel)

    def end(self) -> None:
        """Let every client become live."""
        for which, reader in enumerate(self.readers):
            while not reader.live:
                self._step(which)


class ConvergenceTests(SynchronousTestCase):
    """Random stories of changes, pages, disconnects and pauses."""

    def check(self, story: Story) -> None:
        """Compare the entries of each live client with those of the map."""
        state = story.world.state(story.channel)
        for reader in story.readers:
            if not reader.live or reader.peer.closed:
                continue
            self.assertEqual(reader.held, state)
            first = reader.offsets[0] if reader.offsets else 0
            expected = list(range(first, first + len(reader.offsets)))
            self.assertEqual(reader.offsets, expected)

    @settings(max_examples=120, deadline=None, derandomize=True)
    @given(actions=st.lists(ACTIONS, min_size=10, max_size=60))
    def test_with_stream(self, actions: list[tuple[str, Any]]) -> None:
        """Each client holds the map, and saw each change after its state once."""
        story = Story("m:a")
        for action in actions:
            story.act(*action)
            self.check(story)
        story.end()
        story.act("put", "a")
        self.assertTrue(all(reader.live for reader in story.readers))
        self.check(story)

    @settings(max_examples=120, deadline=None, derandomize=True)
    @given(actions=st.lists(ACTIONS, min_size=10, max_size=60))
    def test_without_stream(self, actions: list[tuple[str, Any]]) -> None:
        """Each client holds the map."""
        story = Story("e:a")
        for action in actions:
            story.act(*action)
            self.check(story)
        story.end()
        story.act("put", "a")
        self.assertTrue(all(reader.live for reader in story.readers))
        self.check(story)
