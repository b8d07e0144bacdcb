"""Polls of keys from a backend (event proxies, "Shared poll refresh")."""

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredSemaphore

from ..metrics import Histogram, Metrics
from ..options import Polled
from ..protocol.messages import KeyedItem, Publication
from ..protocol.payloads import checked, detached
from ..proxy_messages import SharedPollRefreshAnswer, SharedPollRefreshEvent
from .client import BackendFailed
from .event_proxy import EventProxy

__all__ = ["Polling"]


@define(eq=False)
class Polling:
    """Polls one backend; ``turns`` limits the number of concurrent calls.

    Several backends may share ``turns``.
    """

    _proxy: EventProxy
    _metrics: Metrics
    _turns: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(64))
    _asked: Histogram = field(init=False)
    _answered: Histogram = field(init=False)

    def __attrs_post_init__(self) -> None:
        name = self._proxy.name
        self._asked = self._metrics.histogram(
            "shared_poll_proxy_request_items", name=name
        )
        self._answered = self._metrics.histogram(
            "shared_poll_proxy_response_items", name=name
        )

    def __call__(self, channel: str, items: Sequence[KeyedItem]) -> "Deferred[Polled]":
        """Return the keys that have changed.  Fails with `BackendFailed`."""
        request = SharedPollRefreshEvent(channel, list(items))
        self._asked.observe(len(items))
        polled: Deferred[Polled] = self._turns.run(self._poll, request)
        return polled

    def _poll(self, request: SharedPollRefreshEvent) -> "Deferred[Polled]":
        return Deferred.fromCoroutine(self._call(request))

    async def _call(self, request: SharedPollRefreshEvent) -> Polled:
        response = await self._proxy.call(request, {})
        if response.error is not None:
            self._proxy.count_error()
            error = response.error
            raise BackendFailed(f"error {error.code}: {error.message}")
        answer: SharedPollRefreshAnswer | None = response.result
        if answer is None:
            return Polled()
        self._answered.observe(len(answer.items))
        items = [
            Publication(
                data=detached(checked(each.data)),
                key=each.key,
                version=each.version,
                removed=each.removed,
            )
            for each in answer.items
        ]
        return Polled(items, answer.epoch)

    def stop(self) -> "Deferred[None]":
        """Stop polling."""
        return self._proxy.stop()
