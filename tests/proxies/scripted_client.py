"""A backend that a test answers for."""

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed

from centrifugo_tx.proxies.client import Forwarded
from centrifugo_tx.proxy_messages import ProxyEvent, ProxyResponse

__all__ = ["ScriptedClient"]


@define(eq=False)
class ScriptedClient:
    """Records the calls; the test fires the Deferreds."""

    protocol: str = "http"
    asked: list[tuple[ProxyEvent, Any, dict[str, Any]]] = field(factory=list)
    waiting: "list[Deferred[ProxyResponse[Any]]]" = field(factory=list)
    cancelled: int = 0
    stopped: bool = False

    def call(
        self, event: ProxyEvent, request: Any, headers: Forwarded
    ) -> "Deferred[ProxyResponse[Any]]":
        """Take a question."""
        self.asked.append((event, request, dict(headers)))

        def cancel(waiting: Any) -> None:
            self.cancelled += 1

        self.waiting.append(Deferred(cancel))
        return self.waiting[-1]

    def stop(self) -> "Deferred[None]":
        """Note it."""
        self.stopped = True
        return succeed(None)
