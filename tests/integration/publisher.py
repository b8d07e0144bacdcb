"""A publisher of numbers over the server API, which records acknowledgements."""

import json
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from threading import Event, Thread
from typing import Any

from attrs import define, field

from .checker import Sent
from .server import API_KEY

__all__ = ["Publisher"]

#: Seconds for which an answer is waited for.
PATIENCE = 60.0
_HEADERS = {"X-API-Key": API_KEY, "Content-Type": "application/json"}


@define(eq=False)
class Publisher:
    """Publishes to the channels in turn, through the nodes in turn.

    A number is used once, even if its outcome is unknown.

    :param rate: publications per second, all channels together.
    """

    ports: Sequence[int]
    channels: Sequence[str]
    rate: float
    sent: dict[str, list[Sent]] = field(init=False)
    failed: int = field(default=0, init=False)
    _numbers: dict[str, int] = field(init=False)
    _connections: dict[int, HTTPConnection] = field(factory=dict, init=False)
    _turns: "cycle[int]" = field(init=False)
    _end: Event = field(factory=Event, init=False)
    _thread: Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.sent = {channel: [] for channel in self.channels}
        self._numbers = dict.fromkeys(self.channels, 0)
        self._turns = cycle(self.ports)
        self._thread = Thread(target=self._run)

    def start(self) -> "Publisher":
        """Begin."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        for connection in self._connections.values():
            connection.close()

    @property
    def count(self) -> int:
        """How many were acknowledged."""
        return sum(map(len, self.sent.values()))

    def finish(self) -> None:
        """Publish once more to every channel, until that is acknowledged.

        That ends it; a second call does nothing.
        """
        if self._end.is_set():
            return
        self._end.set()
        self._thread.join()
        until = time.monotonic() + PATIENCE
        for channel in self.channels:
            while not self.publish(channel):
                assert time.monotonic() < until, f"nobody can publish to {channel}"
                time.sleep(0.1)

    def publish(self, channel: str) -> bool:
        """Publish the next number; return whether it was acknowledged."""
        port = next(self._turns)
        number = self._numbers[channel] = self._numbers[channel] + 1
        try:
            answer = self._call(port, {"channel": channel, "data": {"n": number}})
        except (OSError, HTTPException):
            self._connections.pop(port).close()
            answer = {}
        if "result" not in answer:
            self.failed += 1
            return False
        place = answer["result"]
        self.sent[channel].append(Sent(number, place["epoch"], place["offset"]))
        return True

    def _call(self, port: int, request: dict[str, Any]) -> Any:
        connection = self._connections.get(port)
        if connection is None:
            connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            self._connections[port] = connection
        connection.request("POST", "/api/publish", json.dumps(request), _HEADERS)
        response = connection.getresponse()
        body = response.read()
        return json.loads(body) if response.status == 200 else {}

    def _run(self) -> None:
        channels = cycle(self.channels)
        due = time.monotonic()
        while not self._end.is_set():
            self.publish(next(channels))
            due = max(due + 1 / self.rate, time.monotonic() - 0.1)
            self._end.wait(max(0.0, due - time.monotonic()))
