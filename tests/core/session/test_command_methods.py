"""What is known of each method, and what is counted of its commands."""

import json
from collections import Counter
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.session.command_methods import _REPLIES, request_name
from centrifugo_tx.protocol.messages import Command, Reply

from ...support import World
from .test_direct_path import JOINING, KEPT, Deciding, command, requests

NAMES = [name for name in Command.__struct_fields__ if name != "id"]
WITH_RESULT = [name for name in NAMES if name != "send"]


class RequestNameTests(SynchronousTestCase):
    """The method of a command."""

    @given(st.sets(st.sampled_from(NAMES)))
    def test_first(self, given: set[str]) -> None:
        """A command is of the first method in the order of the protocol."""
        parts: dict[str, Any] = {name: {} for name in given}
        command = msgspec.convert({"id": 1, **parts}, Command)
        expected = next((name for name in NAMES if name in given), "")
        self.assertEqual(request_name(command), expected)

    def test_replies(self) -> None:
        """Each result is in the field of the reply that has the name of its method."""
        for name in WITH_RESULT:
            result: Any = object()
            self.assertEqual(
                _REPLIES[name](7, result), Reply(id=7, **{name: result}), name
            )
        self.assertEqual([*_REPLIES], NAMES)


class CountersTests(SynchronousTestCase):
    """The metrics of commands equal what goes over the wire."""

    @settings(deadline=None, max_examples=60)
    @given(st.lists(requests, max_size=8), st.booleans())
    def test_equal(self, commands: list[tuple[str, str]], late: bool) -> None:
        """Every command, reply and push is counted once, with all its bytes."""
        policy = Deciding(publication=KEPT, subscription=JOINING)
        world = World(policy=policy)
        peer = world.open()
        received: Counter[tuple[str, str]] = Counter()
        sent: Counter[tuple[str, str]] = Counter()
        durations: Counter[str] = Counter()
        names = {}
        for id, (name, target) in enumerate([("connect", ""), *commands], 1):
            if peer.closed:
                break
            said = command(id, name, target)
            text, names[id] = json.dumps(said), name
            received[name, "messages"] += 1
            received[name, "bytes"] += len(text)
            durations[name] += 1
            peer.send(text)
            policy.release()
            policy.late = late
        for frame in peer.transport.frames:
            message = json.loads(frame[2:] if frame[1] < 126 else frame[4:])
            kind = names.get(message.get("id", 0)) or pushed(message["push"])
            sent[kind, "messages"] += 1
            sent[kind, "bytes"] += len(frame)
        self.flushLoggedErrors(LookupError)
        self.assertEqual(self.counted(world, "received"), received)
        self.assertEqual(self.counted(world, "sent"), sent)
        observed = {
            dict(labels)["method"]: sum(histogram.counts)
            for name, labels, histogram in world.node.metrics.histograms()
            if name == "client_command_duration_seconds_histogram"
        }
        self.assertEqual(+Counter(observed), durations)

    def counted(self, world: World, direction: str) -> dict[tuple[str, str], float]:
        """Return the messages and bytes of one direction by frame type."""
        family = f"transport_messages_{direction}"
        units = {family: "messages", f"{family}_size": "bytes"}
        return {
            (dict(labels)["frame_type"], units[name]): counter.value
            for name, labels, counter in world.node.metrics.counters()
            if name in units and counter.value
        }


def pushed(push: dict[str, Any]) -> str:
    """Return the frame type of a push."""
    (part,) = (name for name in push if name != "channel")
    return "push_publication" if part == "pub" else f"push_{part}"
