"""Subscriptions of clients to polled channels (client protocol, "Shared poll")."""

from attrs import define

from ...errors import ReplyError
from ...options import SubscribeOptions
from ...protocol.codes import ALREADY_SUBSCRIBED, NOT_AVAILABLE
from ...protocol.messages import SubscribeRequest
from ..runtime import Runtime
from ..session.outcome import Outcome, ReplyThen
from ..session.stream_kind import StreamKind
from ..session.subscription import Subscriber, Subscription
from .key_tracker import KeyTracker
from .polls import Polls

__all__ = ["PollKind"]


@define(eq=False)
class PollKind:
    """Lets clients subscribe to polled channels; later they say what they track."""

    _runtime: Runtime
    _polls: Polls
    _plain: StreamKind

    def open(self, client: Subscriber, request: SubscribeRequest) -> Subscription:
        """Return a subscription that has not begun."""
        tracker = KeyTracker(self._runtime, self._plain)
        return Subscription(client, request.channel, tracker)

    async def admit(
        self,
        subscription: Subscription,
        options: SubscribeOptions,
        request: SubscribeRequest,
    ) -> Outcome:
        """Begin a subscription that the policy agreed to."""
        name, tracker = subscription.name, subscription.kind
        rules = self._runtime.policy.channel(name).poll
        if rules is None or not isinstance(tracker, KeyTracker):
            raise ReplyError(NOT_AVAILABLE)
        await tracker.begin(subscription, options, request)
        polled = self._polls.channel(name, rules)
        tracker.follow(subscription, polled, self._polls.feeds)
        return ReplyThen(*subscription.activate(request))

    def resumes(self, known: Subscription, request: SubscribeRequest) -> bool:
        """Whether a command continues with the subscription *known*; none does."""
        return False

    async def resume(self, known: Subscription, request: SubscribeRequest) -> Outcome:
        """Refuse to subscribe twice."""
        raise ReplyError(ALREADY_SUBSCRIBED)
