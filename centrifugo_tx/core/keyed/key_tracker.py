"""The keys that one client tracks in a polled channel."""

from collections.abc import Collection, Mapping, Sequence

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred, FirstError

from ...errors import DisconnectClient, EncodeError, ReplyError
from ...interfaces import IClient, ITransport
from ...options import History, SubscribeOptions
from ...protocol.codes import BAD_REQUEST, INAPPROPRIATE_PROTOCOL, LIMIT_EXCEEDED
from ...protocol.messages import (
    Publication,
    SubRefreshRequest,
    SubRefreshResult,
    SubscribeRequest,
    SubscribeResult,
)
from ..channel.encoded_publication import EncodedPublication, full
from ..channel.recovery import Held, Recovery
from ..channel.streams import Streams
from ..runtime import Runtime
from ..session.stream_kind import StreamKind
from ..session.subscription import Subscription
from .key_channels import KeyChannels
from .polled_channel import PolledChannel

__all__ = ["SHARED_POLL", "KeyTracker"]

#: The type of subscriptions of polled channels (client protocol, "Requests").
SHARED_POLL = 4
#: The types of sub_refresh that track keys, or untrack them.
TRACK, UNTRACK = 1, 2


@define(eq=False)
class _Tracked:
    """The version of a key that the client has, and the expiry of its permission.

    ``whole``: the client has the full value, so the next one may be a delta to it.
    """

    version: int
    expire_at: int
    whole: bool = False


@define(eq=False)
class KeyTracker:
    """The keys that one subscription to a polled channel tracks.

    The subscription is also an ordinary subscriber of the channel, so presence, joins
    and expiry work as in streams.
    """

    _runtime: Runtime
    _plain: StreamKind
    waits_for_client: bool = False
    holds_state: bool = False
    tracked: dict[str, _Tracked] = field(factory=dict, init=False)
    _polled: PolledChannel | None = field(default=None, init=False)
    _key_channels: KeyChannels | None = field(default=None, init=False)
    _subscription: Subscription | None = field(default=None, init=False)

    @property
    def source(self) -> Streams:
        """The source of its channels."""
        return self._plain.source

    async def begin(
        self,
        subscription: Subscription,
        options: SubscribeOptions,
        request: SubscribeRequest,
    ) -> None:
        """Start the subscription without position and recovery."""
        plain = msgspec.structs.replace(
            options, positioned=False, recoverable=False, tags_filter=False
        )
        unfiltered = msgspec.structs.replace(request, tf=None)
        running = subscription.begin(plain, unfiltered)
        if running is not None:
            await running

    def follow(
        self,
        subscription: Subscription,
        polled: PolledChannel,
        key_channels: KeyChannels,
    ) -> None:
        """Join the polled channel, and its key channels if publishing is enabled."""
        self._subscription, self._polled = subscription, polled
        self._key_channels = key_channels if polled.rules.publish else None
        polled.join(self)

    # --- The kind of a subscription --------------------------------------------

    def read(
        self, subscription: Subscription, request: SubscribeRequest
    ) -> Deferred[History]:
        """Read history as a stream does; a polled channel is never positioned."""
        return self._plain.read(subscription, request)

    def recover(
        self,
        subscription: Subscription,
        request: SubscribeRequest,
        history: History,
        held: Sequence[Held],
    ) -> Recovery:
        """Recover as a stream does; a polled channel is never positioned."""
        return self._plain.recover(subscription, request, history, held)

    def result(
        self,
        subscription: Subscription,
        request: SubscribeRequest,
        recovery: Recovery | None,
    ) -> SubscribeResult:
        """Return the result of a subscribe command."""
        assert self._polled is not None
        result = self._plain.result(subscription, request, recovery)
        return msgspec.structs.replace(
            result, type=SHARED_POLL, epoch=self._polled.epoch, was_recovering=False
        )

    async def sub_refresh(
        self, subscription: Subscription, request: SubRefreshRequest
    ) -> SubRefreshResult | None:
        """Track keys, or untrack them."""
        if request.type == TRACK:
            return await self._track(subscription, request)
        if request.type == UNTRACK:
            if not request.untrack:
                raise ReplyError(BAD_REQUEST)
            for key in request.untrack:
                self.untrack(key)
            return SubRefreshResult()
        return None

    def renew(self, subscription: Subscription) -> None:
        """Untrack keys whose permission has expired."""
        if self._polled is not None:
            latest = self._runtime.clock.seconds() - self._polled.rules.grace
            for key, tracked in list(self.tracked.items()):
                if 0 < tracked.expire_at < latest:
                    self.untrack(key)

    def ended(self, subscription: Subscription) -> None:
        """Untrack all keys."""
        if self._polled is not None:
            for key in list(self.tracked):
                self.untrack(key)
            self._polled.leave(self)
        self._subscription = None

    # --- Called by the polled channel ------------------------------------------

    @property
    def transport(self) -> ITransport:
        """The transport of its client."""
        assert self._subscription is not None
        return self._subscription.transport

    @property
    def _delta(self) -> bool:
        variant = None if self._subscription is None else self._subscription.variant
        return variant is not None and variant.delta

    def deliver(self, encoded: EncodedPublication) -> None:
        """Send *encoded* to this subscriber."""
        if self._subscription is not None:
            self._subscription.deliver(encoded)

    def lose_position(self) -> None:
        """Tell the client to subscribe again."""
        if self._subscription is not None:
            self._subscription.lose_position()

    def undeliverable(self) -> None:
        """Close the connection: its encoding cannot carry a value."""
        if self._subscription is not None:
            self._subscription.undeliverable()

    # --- Keys ------------------------------------------------------------------

    async def _track(
        self, subscription: Subscription, request: SubRefreshRequest
    ) -> SubRefreshResult:
        """Track and untrack keys if the policy accepts the signatures.

        If several batches contain the same key, the last one applies.
        """
        client, polled = subscription.client, self._polled
        last = {
            item.key: (number, item.version)
            for number, batch in enumerate(request.track)
            for item in batch.items
        }
        if not last:
            raise ReplyError(BAD_REQUEST)
        assert polled is not None
        kept = (self.tracked.keys() | last.keys()) - set(request.untrack)
        if len(kept) > polled.rules.max_keys:
            raise ReplyError(LIMIT_EXCEEDED)
        expiries: list[int]
        expiries = await self._runtime.policy.track(IClient(client), request)
        client.ensure_open()
        if subscription.ended:
            raise ReplyError(BAD_REQUEST)
        wanted = {
            key: (version, expiries[number])
            for key, (number, version) in last.items()
            if key not in request.untrack
        }
        if self._key_channels is not None:
            await self._receive(self._key_channels, subscription, wanted)
        items = self.track(wanted)
        for key in request.untrack:
            self.untrack(key)
        ends = [expire_at for expire_at in expiries if expire_at]
        return SubRefreshResult(
            expires=bool(ends), ttl=client.ttl(min(ends)) if ends else 0, items=items
        )

    async def _receive(
        self,
        key_channels: KeyChannels,
        subscription: Subscription,
        keys: Collection[str],
    ) -> None:
        """Subscribe to publications into *keys* before their values are polled."""
        try:
            await key_channels.join(subscription.name, keys, self)
            subscription.client.ensure_open()
            if subscription.ended:
                raise ReplyError(BAD_REQUEST)
        except BaseException as error:
            fresh = [key for key in keys if key not in self.tracked]
            key_channels.leave(subscription.name, fresh, self)
            if isinstance(error, FirstError):
                error.subFailure.raiseException()
            raise

    def track(self, versions: Mapping[str, tuple[int, int]]) -> list[Publication]:
        """Track keys; return the values that are newer than the client's versions.

        :param versions: version and expiry by key.
        """
        polled = self._polled
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
        polled.request_poll(unknown)
        return newer

    def _item(self, publication: Publication) -> Publication:
        if not self._delta:
            return publication
        try:
            return full(publication, self.transport.wire)
        except EncodeError:
            raise DisconnectClient(INAPPROPRIATE_PROTOCOL) from None

    def untrack(self, key: str) -> None:
        """Untrack a key; do nothing if it is not tracked."""
        if self.tracked.pop(key, None) is not None and self._polled is not None:
            self._polled.untrack(key, self)
            self._leave_key_channel(key)

    def forget(self, key: str) -> None:
        """Untrack a key that was removed."""
        self.tracked.pop(key, None)
        self._leave_key_channel(key)

    def _leave_key_channel(self, key: str) -> None:
        if self._key_channels is not None and self._polled is not None:
            self._key_channels.leave(self._polled.name, [key], self)

    def form(self, key: str, before: int, version: int) -> str | None:
        """Return the form in which to send a value to the client; None: do not send it.

        The caller sends the value at once; the tracker records it as sent.

        :param before: the version that a delta would apply to.
        """
        tracked = self.tracked.get(key)
        if tracked is None or version <= tracked.version:
            return None
        has_previous = tracked.whole and tracked.version == before
        tracked.version, tracked.whole = version, True
        if not self._delta:
            return "raw"
        return "delta" if has_previous else "full"
