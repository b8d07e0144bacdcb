"""Keeps the garbage collector from walking over connections that stay."""

import gc
from collections.abc import Callable
from time import perf_counter

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

__all__ = ["GCFreezer"]

#: Seconds between two looks.
INTERVAL = 10.0
#: Growth that is worth a collection: so many connections, and this share of them.
AT_LEAST, SHARE = 1000, 0.25
#: Allocations between two collections of the youngest generation.
THRESHOLD = 20000
#: Seconds that a full collection may take before its survivors are frozen.
PAUSE = 0.02


@define(eq=False, slots=False)
class GCFreezer(Service):
    """Freezes what has survived, whenever the node has grown by a quarter.

    A full collection over 100,000 connections stops the process for 200 ms; with
    those frozen it takes 2 ms.  Nothing is lost by it: a closed connection is in
    no cycle, so its counted references free it, frozen or not.

    What else grows is frozen after a full collection that was too long: channels with
    history, say, so that the next collection has only what is new since.
    """

    _clock: IReactorTime
    _connections: Callable[[], int]
    _seconds: Callable[[], float] = perf_counter
    _frozen: int = field(default=0, init=False)
    _began: float = field(default=0.0, init=False)
    _loop: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._loop = LoopingCall(self._freeze_after_growth)
        self._loop.clock = self._clock

    def startService(self) -> None:
        """Freeze what the start has made, and begin to look."""
        Service.startService(self)
        gc.set_threshold(THRESHOLD, *gc.get_threshold()[1:])
        self._freeze(0)
        gc.callbacks.append(self._freeze_after_long_collection)
        self._loop.start(INTERVAL, now=False)

    def stopService(self) -> None:
        """Look no more."""
        Service.stopService(self)
        self._loop.stop()
        gc.callbacks.remove(self._freeze_after_long_collection)
        gc.unfreeze()

    def _freeze_after_long_collection(self, phase: str, info: dict[str, int]) -> None:
        """Freeze what survives a long collection; the collector calls this."""
        if info["generation"] < 2:
            return
        if phase == "start":
            self._began = self._seconds()
        elif self._seconds() - self._began > PAUSE:
            gc.freeze()

    def _freeze_after_growth(self) -> None:
        now = self._connections()
        if now - self._frozen >= max(AT_LEAST, SHARE * self._frozen):
            self._freeze(now)

    def _freeze(self, connections: int) -> None:
        gc.collect()
        gc.freeze()
        self._frozen = connections
