"""The reactor of an application: the global one, or that of an asyncio loop."""

import sys
from asyncio import AbstractEventLoop
from functools import partial
from threading import Thread
from typing import Any

from twisted.internet.interfaces import IReactorTime

from .typing import Clock

__all__ = ["clock_or_reactor", "reactor_of"]


def clock_or_reactor(clock: Clock | IReactorTime | None) -> IReactorTime:
    """Return *clock*, or without one the global reactor, which this may install."""
    given: Any = clock
    if given is None:
        from twisted.internet import reactor as given
    found: IReactorTime = given
    return found


#: The reactors that `reactor_of` has made, for loops that are not closed.
_REACTORS: dict[AbstractEventLoop, Any] = {}


def reactor_of(loop: AbstractEventLoop) -> Any:
    """Return the Twisted reactor of *loop*, which runs.

    The first reactor of a process becomes the global one, for libraries that import it.
    A reactor that Twisted itself runs on this loop is found, too.  The reactor never
    stops the loop: whoever runs the loop stops it.

    :raises RuntimeError: another reactor runs in this process.
    """
    found = _REACTORS.get(loop)
    if found is None:
        for closed in [each for each in _REACTORS if each.is_closed()]:
            del _REACTORS[closed]
        found = _REACTORS[loop] = _running_reactor(loop) or _new_reactor(loop)
    return found


def _running_reactor(loop: AbstractEventLoop) -> Any:
    """Return the global reactor if it runs, and so on this loop."""
    if "twisted.internet.reactor" not in sys.modules:
        return None
    from twisted.internet import asyncioreactor, reactor

    installed: Any = reactor
    if not installed.running or installed in _REACTORS.values():
        return None
    if not isinstance(installed, asyncioreactor.AsyncioSelectorReactor):
        raise RuntimeError(
            f"the reactor that runs is a {type(installed).__name__}, but AsyncNode "
            "needs asyncio: install twisted.internet.asyncioreactor first"
        )
    return installed


def _new_reactor(loop: AbstractEventLoop) -> Any:
    from twisted.internet.asyncioreactor import AsyncioSelectorReactor

    made: Any = AsyncioSelectorReactor(loop)
    if "twisted.internet.reactor" not in sys.modules:
        from twisted.internet.main import installReactor

        installReactor(made)
    # Signals belong to the loop's owner.  So does the end of the process, which must
    # not wait for the threads that look up names.
    made.startRunning(installSignalHandlers=False)
    made.getThreadPool().threadFactory = partial(Thread, daemon=True)
    return made
