"""Sampled profiles: which functions a process spends its time in."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from sys import _current_frames  # documented, in spite of its name
from types import FrameType

import msgspec
from attrs import define, field

__all__ = ["FlameNode", "Profile", "Sampler", "flame_tree"]

#: Seconds between two samples, and the longest profile.
INTERVAL, LONGEST = 0.01, 60.0
#: Frames of a stack, and different stacks, that are kept.
DEEPEST, STACKS = 96, 4000
#: Functions in which a thread waits for something to do.
_WAITING = frozenset(
    {
        *("doPoll", "doSelect", "wait", "select", "poll", "get", "_worker", "accept"),
        *("readline", "_recv", "sleep", "_poll_wrapper"),
    }
)


class Profile(msgspec.Struct, frozen=True):
    """How often each stack was seen.

    A stack is written as its functions, outermost first, with ``;`` in between.
    ``waiting`` are the samples of threads with nothing to do, which ``stacks`` leaves
    out; ``other`` are those of rare stacks that did not fit.
    """

    seconds: float
    samples: int
    waiting: int
    other: int
    stacks: dict[str, int]


@define(eq=False)
class Sampler:
    """Samples the stacks of all threads, from a thread of its own."""

    seconds: float
    #: Called in that thread with the result.
    done: Callable[[Profile], object]
    _stop: threading.Event = field(factory=threading.Event, init=False)

    def start(self) -> None:
        """Begin; at most `LONGEST` seconds."""
        threading.Thread(target=self._run, name="profile", daemon=True).start()

    def stop(self) -> None:
        """End early."""
        self._stop.set()

    def _run(self) -> None:
        own, began = threading.get_ident(), time.monotonic()
        stacks: Counter[str] = Counter()
        samples = waiting = other = 0
        while time.monotonic() - began < min(self.seconds, LONGEST):
            if self._stop.wait(INTERVAL):
                break
            for thread, frame in _current_frames().items():
                if thread == own:
                    continue
                samples += 1
                if frame.f_code.co_name in _WAITING:
                    waiting += 1
                    continue
                stack = _written(frame)
                if stack in stacks or len(stacks) < STACKS:
                    stacks[stack] += 1
                else:
                    other += 1
        seconds = round(time.monotonic() - began, 2)
        self.done(Profile(seconds, samples, waiting, other, dict(stacks)))


def _written(frame: FrameType | None) -> str:
    names: list[str] = []
    while frame is not None and len(names) < DEEPEST:
        code = frame.f_code
        module = frame.f_globals.get("__name__", "?")
        names.append(f"{module}.{code.co_qualname}".replace(";", ","))
        frame = frame.f_back
    return ";".join(reversed(names))


@define(eq=False)
class FlameNode:
    """A function in a flame graph, and what it has called."""

    name: str
    samples: int = 0
    calls: "dict[str, FlameNode]" = field(factory=dict)


def flame_tree(profile: Profile) -> FlameNode:
    """Return the stacks of *profile* as a tree."""
    root = FlameNode("all")
    for stack, samples in profile.stacks.items():
        root.samples += samples
        node = root
        for name in stack.split(";"):
            node = node.calls.setdefault(name, FlameNode(name))
            node.samples += samples
    return root
