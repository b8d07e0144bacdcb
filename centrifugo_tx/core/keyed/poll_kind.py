"""Subscriptions of clients to polled channels (client protocol, "Shared poll")."""

from typing import Any

from attrs import define
from twisted.internet.defer import Deferred

from ...errors import ReplyError
from ...options import SubscribeOptions
from ...protocol.codes import ALREADY_SUBSCRIBED, NOT_AVAILABLE
from ...protocol.messages import SubscribeRequest
from ..run_or_defer import run_or_defer
from ..runtime import Runtime
from ..session.outcome import Outcome, ReplyThen
from ..session.stream_kind import StreamKind
from ..session.subscription import Subscriber, Subscription
from .key_tracker import KeyTracker
from .polls import Polls

__all__ = ["PollKind"]


@define(eq=False)
class PollKind:
    """Handles subscriptions to polled channels; clients track keys afterwards."""

    _runtime: Runtime
    _polls: Polls
    _plain: StreamKind

    def open(self, client: Subscriber, request: SubscribeRequest) -> Subscription:
        """Return a new subscription that has not started."""
        tracker = KeyTracker(self._runtime, self._plain)
        return Subscription(client, request.channel, tracker)

    def admit(
        self,
        subscription: Subscription,
        options: SubscribeOptions,
        request: SubscribeRequest,
    ) -> "Outcome | Deferred[Any]":
        """Start a subscription that the policy has permitted."""
        return run_or_defer(self._admit(subscription, options, request))

    async def _admit(
        self,
        subscription: Subscription,
        options: SubscribeOptions,
        request: SubscribeRequest,
    ) -> Outcome:
        name, tracker = subscription.name, subscription.kind
        rules = self._runtime.policy.channel(name).poll
        if rules is None or not isinstance(tracker, KeyTracker):
            raise ReplyError(NOT_AVAILABLE)
        await tracker.begin(subscription, options, request)
        polled = self._polls.channel(name, rules)
        tracker.follow(subscription, polled, self._polls.key_channels)
        return ReplyThen(*subscription.activate(request))

    def resumes(self, known: Subscription, request: SubscribeRequest) -> bool:
        """Return False: no command continues a subscription to a polled channel."""
        return False

    async def resume(self, known: Subscription, request: SubscribeRequest) -> Outcome:
        """Refuse a second subscription."""
        raise ReplyError(ALREADY_SUBSCRIBED)
