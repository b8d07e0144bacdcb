"""Official clients in a process of their own, led by a test."""

import atexit
import json
import signal
import subprocess
import time
from collections.abc import Sequence
from queue import Empty, Queue
from threading import Thread
from typing import Any

from attrs import define, field

__all__ = ["SDK", "Event", "shared_sdk"]

Event = dict[str, Any]
#: Seconds that something expected may take.
PATIENCE = 60.0


@define(eq=False)
class SDK:
    """A process that obeys orders and tells of events, both as JSON lines."""

    command: Sequence[str]
    _process: "subprocess.Popen[bytes]" = field(init=False)
    _arriving: "Queue[Event | None]" = field(factory=Queue, init=False)
    _events: list[Event] = field(factory=list, init=False)
    _calls: int = field(default=0, init=False)
    _reader: Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        # The interpreter waits for others before anything is closed at its exit.
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._arriving.put(json.loads(line))
        self._arriving.put(None)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._reader.join()
            self._process.stdout.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def reset(self) -> None:
        """Release all clients; their later events are ignored."""
        self.ask("reset")
        self._events.clear()

    def order(self, do: str, **fields: Any) -> int:
        """Give an order; return the number of its answer."""
        self._calls += 1
        line = json.dumps({"do": do, "call": self._calls, **fields})
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return self._calls

    def ask(self, do: str, **fields: Any) -> Any:
        """Give an order; return its result, or the code of the error."""
        answer = self.expect("answer", call=self.order(do, **fields))
        return answer["error"] if "error" in answer else answer["result"]

    def expect(self, event: str, **fields: Any) -> Event:
        """Return the next event with these fields; earlier others are kept."""
        wanted = {"event": event, **fields}
        deadline = time.monotonic() + PATIENCE
        seen = 0
        while True:
            for index in range(seen, len(self._events)):
                if wanted.items() <= self._events[index].items():
                    return self._events.pop(index)
            seen = len(self._events)
            if not self._receive(deadline - time.monotonic()):
                raise AssertionError(f"no {wanted} among {self._events}")

    def _receive(self, seconds: float) -> bool:
        try:
            event = self._arriving.get(timeout=max(0.0, seconds))
        except Empty:
            return False
        if event is None:
            return False
        self._events.append(event)
        return True

    def pending(self, event: str, **fields: Any) -> list[Event]:
        """Return the events so far that were not waited for."""
        while self._receive(0):
            pass
        wanted = {"event": event, **fields}
        return [each for each in self._events if wanted.items() <= each.items()]


_shared: dict[tuple[str, ...], SDK] = {}


def shared_sdk(command: Sequence[str]) -> SDK:
    """Return a running process that all tests of this command use in turn."""
    key = tuple(command)
    if key not in _shared or not _shared[key].alive:
        _shared[key] = SDK(command)
        atexit.register(_shared[key].close)
    return _shared[key]
