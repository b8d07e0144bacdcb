"""What waits for an ASGI server: a byte stream whose consumer is a coroutine."""

from asyncio import Future, get_running_loop
from collections.abc import Callable
from typing import Any

from attrs import define, field

from .interface import Message, Send

__all__ = ["Outbox"]

#: Bytes that wait for the server before the writer is paused, and resumed again.
HIGH_WATER, LOW_WATER = 65536, 16384


@define(eq=False)
class Outbox:
    """A byte stream that a task empties into an ASGI server.

    While the server takes no more, because the peer reads too slowly, the producer is
    paused.  ``drained`` counts the bytes that the server has taken.
    """

    #: Makes the ASGI message that carries some bytes.
    _message: Callable[[bytes], Message]
    drained: int = field(default=0, init=False)
    waiting: int = field(default=0, init=False)
    _chunks: list[bytes] = field(factory=list, init=False)
    _last: Message | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)
    _producer: Any = field(default=None, init=False)
    _paused: bool = field(default=False, init=False)
    _wakes: "Future[None] | None" = field(default=None, init=False)

    def write(self, data: bytes) -> None:
        """Queue *data*; after the end, discard it."""
        if self._ended:
            return
        self._chunks.append(data)
        self.waiting += len(data)
        if self.waiting > HIGH_WATER and not self._paused and self._producer:
            self._paused = True
            self._producer.pauseProducing()
        self._wake()

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Register *producer*, which is paused while too much waits."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Unregister the producer."""
        self._producer = None

    def end(self, last: Message | None = None) -> None:
        """Accept no more data; send *last* after what waits."""
        if not self._ended:
            self._ended, self._last = True, last
            self._wake()

    def _wake(self) -> None:
        if self._wakes is not None and not self._wakes.done():
            self._wakes.set_result(None)

    async def run(self, send: Send) -> None:
        """Pass everything on to the server, until the end.

        What was written meanwhile leaves as one message.
        """
        while True:
            if self._chunks:
                chunks, self._chunks = self._chunks, []
                data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                await send(self._message(data))
                self._sent(len(data))
            elif self._ended:
                if self._last is not None:
                    await send(self._last)
                return
            else:
                self._wakes = get_running_loop().create_future()
                await self._wakes
                self._wakes = None

    def _sent(self, size: int) -> None:
        self.drained += size
        self.waiting -= size
        if self._paused and self.waiting <= LOW_WATER:
            self._paused = False
            if self._producer is not None:
                self._producer.resumeProducing()
