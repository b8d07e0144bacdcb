"""One client in one polled channel."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from attrs import define, field

from ...errors import DisconnectClient, EncodeError
from ...options import SubscribeOptions
from ...protocol.codes import INAPPROPRIATE_PROTOCOL
from ...protocol.messages import Publication, SubscribeRequest, SubscribeResult
from ..channel.editions import whole
from ..channel.recovery import Recovery
from ..session.subscription import Subscription

if TYPE_CHECKING:
    from .polled_channel import PolledChannel

__all__ = ["SHARED_POLL", "PollSubscription"]

#: The type of subscriptions of polled channels (client protocol, "Requests").
SHARED_POLL = 4


@define(eq=False)
class _Tracked:
    """The version of a key that the client has, and until when it may track it.

    ``whole``: it was sent a value in full, so the next may be a delta to that.
    """

    version: int
    expire_at: int
    whole: bool = False


@define(eq=False)
class PollSubscription(Subscription):
    """A subscription that says which keys it wants to be told of.

    It is an ordinary subscriber of the channel beside, so that presence, joins and
    expiry are as everywhere.
    """

    polled: "PolledChannel | None" = None
    tracked: dict[str, _Tracked] = field(factory=dict)

    async def begin(self, options: SubscribeOptions, request: SubscribeRequest) -> None:
        """Do all that has to be waited for; nothing is recovered here."""
        plain = msgspec.structs.replace(
            options, positioned=False, recoverable=False, tags_filter=False
        )
        await super().begin(plain, msgspec.structs.replace(request, tf=None))

    def follow(self, polled: "PolledChannel") -> None:
        """Take part in the polling."""
        self.polled = polled
        polled.join(self)

    @property
    def _delta(self) -> bool:
        return self.special is not None and self.special.delta

    def _result(
        self, request: SubscribeRequest, recovery: Recovery | None
    ) -> SubscribeResult:
        assert self.polled is not None
        result = super()._result(request, recovery)
        return msgspec.structs.replace(
            result, type=SHARED_POLL, epoch=self.polled.epoch, was_recovering=False
        )

    # --- Keys ------------------------------------------------------------------

    def track(self, versions: Mapping[str, tuple[int, int]]) -> list[Publication]:
        """Track keys; return what is newer than the client's versions.

        :param versions: version and expiry by key.
        """
        polled = self.polled
        assert polled is not None
        newer, unknown = [], []
        for key, (version, expire_at) in versions.items():
            found = polled.track(key, self)
            tracked = self.tracked[key] = _Tracked(version, expire_at)
            if found.newest is None:
                unknown.append(key)
            elif found.version > version:
                tracked.version, tracked.whole = found.version, True
                newer.append(self._item(found.newest))
        polled.want(unknown)
        return newer

    def _item(self, publication: Publication) -> Publication:
        if not self._delta:
            return publication
        try:
            return whole(publication, self.client.transport.wire)
        except EncodeError:
            raise DisconnectClient(INAPPROPRIATE_PROTOCOL) from None

    def untrack(self, key: str) -> None:
        """Track a key no more; no error if it is not tracked."""
        if self.tracked.pop(key, None) is not None and self.polled is not None:
            self.polled.untrack(key, self)
            self._leave_feed(key)

    def forget(self, key: str) -> None:
        """Take note that a key is gone."""
        self.tracked.pop(key, None)
        self._leave_feed(key)

    def _leave_feed(self, key: str) -> None:
        polled = self.polled
        if polled is not None and polled.rules.publish:
            self.client.node.polls.feeds.leave(self.name, [key], self)

    def form(self, key: str, before: int, version: int) -> str | None:
        """Return how the client is sent a value of a key; None: it is not.

        Called when it is sent at once, which is what is kept in mind.

        :param before: the version that a delta would build on.
        """
        tracked = self.tracked.get(key)
        if tracked is None or version <= tracked.version:
            return None
        linked = tracked.whole and tracked.version == before
        tracked.version, tracked.whole = version, True
        if not self._delta:
            return "plain"
        return "change" if linked else "whole"

    def renew_presence(self) -> None:
        """Enter again before the entry fades; let go of keys whose time is over."""
        super().renew_presence()
        if self.polled is not None:
            latest = self.client.node.clock.seconds() - self.polled.rules.grace
            for key, tracked in list(self.tracked.items()):
                if 0 < tracked.expire_at < latest:
                    self.untrack(key)

    def end(self) -> None:
        """Leave the channel, and track nothing any more."""
        if self.polled is not None and not self.ended:
            for key in list(self.tracked):
                self.untrack(key)
            self.polled.leave(self)
        super().end()
