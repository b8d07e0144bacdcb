"""A broker whose deliveries and answers the test lets through, one by one."""

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from centrifugo_tx.interfaces import IBroker, IBrokerEventHandler
from centrifugo_tx.options import History, HistoryQuery
from centrifugo_tx.protocol.messages import Publication, Raw, StreamPosition

__all__ = ["SlowBroker"]


@implementer(IBroker)
class SlowBroker:
    """A broker whose deliveries and history come when the test says so."""

    publishes_in_order = True

    def __init__(self) -> None:
        self.receiver: Any = None
        self.stream: list[Publication] = []
        self.deliveries: deque[tuple[Publication, str]] = deque()
        self.reads: deque[tuple[Deferred[History], HistoryQuery]] = deque()
        self.epoch = "one"

    def listen(self, receiver: IBrokerEventHandler) -> None:
        self.receiver = receiver

    def subscribe(self, channel: str) -> "Deferred[None]":
        return succeed(None)

    def unsubscribe(self, channel: str) -> "Deferred[None]":
        return succeed(None)

    def publish(self, channel: str, data: Raw, options: Any) -> "Deferred[Any]":
        offset = len(self.stream) + 1
        publication = Publication(data=Raw(b"%d" % offset), offset=offset)
        self.stream.append(publication)
        self.deliveries.append((publication, self.epoch))
        return succeed(None)

    def publish_join(self, channel: str, info: Any) -> "Deferred[None]":
        return succeed(None)

    publish_leave = publish_join

    def history(self, channel: str, query: HistoryQuery) -> "Deferred[History]":
        done: Deferred[History] = Deferred()
        since = query.since.offset if query.since else 0
        found = self.stream[since:] if query.limit else []
        position = StreamPosition(len(self.stream), self.epoch)
        # The storage answers as of now; the answer travels for a while.
        self.reads.append((done, History(found, position)))  # type: ignore[arg-type]
        return done

    def remove_history(self, channel: str) -> "Deferred[None]":
        return succeed(None)

    def deliver(self) -> None:
        """Let the oldest publication that is under way arrive."""
        publication, epoch = self.deliveries.popleft()
        position = StreamPosition(publication.offset, epoch)
        self.receiver.handle_publication("news", publication, position, None)

    def lose(self) -> None:
        """Let it never arrive."""
        self.deliveries.popleft()

    def renew(self) -> None:
        """Begin the stream anew, with another epoch."""
        self.stream, self.epoch = [], f"{self.epoch}+"

    def answer(self) -> None:
        """Let the oldest history answer arrive."""
        done, history = self.reads.popleft()
        done.callback(history)  # type: ignore[arg-type]
