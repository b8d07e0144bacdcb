"""One client in one channel."""

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from ...errors import BrokerUnavailable, DisconnectClient, EncodeError
from ...interfaces import ITransport
from ...options import History, SubscribeOptions, SubscriptionStream
from ...protocol.codes import (
    CONNECTION_CLOSED,
    INAPPROPRIATE_PROTOCOL,
    INSUFFICIENT_STATE,
    LOST_POSITION,
    SERVER_ERROR,
    SERVER_UNSUBSCRIBE,
    SLOW,
    Disconnect,
    Unsubscribe,
)
from ...protocol.messages import (
    EMPTY,
    ClientInfo,
    Publication,
    Push,
    Raw,
    SubRefreshRequest,
    SubscribeRequest,
    SubscribeResult,
)
from ...protocol.payloads import checked
from ..channel.channel import HELD, Channel
from ..channel.encoded_publication import EncodedPublication
from ..channel.hub import ChannelSource
from ..channel.lanes import Lane, lose_positions
from ..channel.receipt import Entry, SubscriberReceipt, entry_of
from ..channel.recovery import Held, Recovery
from ..channel.variants import Variant, variant_of
from ..node_metrics import ClientCounters
from ..run_or_defer import when_known
from ..runtime import Runtime
from .connections import Connection
from .outcome import Outcome
from .services import Services

__all__ = ["Subscriber", "Subscription", "SubscriptionKind"]

#: Seconds that an unsubscribe waits for a running subscribe.
UNSUBSCRIBE_WAIT = 5.0

_NO_OPTIONS = SubscribeOptions()


class Subscriber(Connection, Protocol):
    """What a subscription uses of its client."""

    info: ClientInfo
    counters: ClientCounters | None
    runtime: Runtime
    services: Services
    answered: int
    answered_at: float

    @property
    def answers_pings(self) -> bool:
        """Whether it must answer pings of the client protocol."""

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""

    @property
    def speaks_v1(self) -> bool:
        """Whether it speaks version 1 of the protocol."""

    def ensure_open(self) -> None:
        """Stop a handler whose client was closed while it waited.

        :raises DisconnectClient: 3000, the client is closed.
        """

    def check_size(self, publications: Sequence[Publication]) -> int:
        """Return how many bytes the payloads of *publications* have.

        :raises DisconnectClient: 3008, no queue has room for a reply with them.
        """

    def ttl(self, expire_at: int) -> int:
        """Return the seconds until *expire_at*, rounded up, at least 1."""

    def push(self, push: Push) -> None:
        """Send a push."""

    def ask_for_receipt(self) -> None:
        """Send a ping soon."""

    def close(self, disconnect: Disconnect) -> None:
        """Close the connection and tell the client why."""

    def forget(self, subscription: "Subscription") -> None:
        """End *subscription* without telling the client."""

    def unsubscribe(self, name: str, reason: Unsubscribe) -> None:
        """End the subscription to *name* and tell the client."""


class SubscriptionKind(Protocol):
    """The behavior of subscriptions to streams, to maps or to polled keys.

    One object serves all subscriptions to streams; the other kinds have an object for
    each subscription.
    """

    @property
    def source(self) -> ChannelSource:
        """The source of its channels."""

    @property
    def waits_for_client(self) -> bool:
        """Whether the subscribe waits for another command of the client."""

    @property
    def holds_state(self) -> bool:
        """Whether every new subscriber receives the newest value of each key."""

    def read(
        self, subscription: "Subscription", request: SubscribeRequest
    ) -> Deferred[History]:
        """Read the publications that a positioned subscriber may have missed."""

    def recover(
        self,
        subscription: "Subscription",
        request: SubscribeRequest,
        history: History,
        held: Sequence[Held],
    ) -> Recovery:
        """Merge *history* with the publications *held* while it was read.

        :raises ReplyError: 112, not recovered, and the client asked for an error.
        """

    def result(
        self,
        subscription: "Subscription",
        request: SubscribeRequest,
        recovery: Recovery | None,
    ) -> SubscribeResult:
        """Return the result of the subscribe; *recovery* is None without a position."""

    async def sub_refresh(
        self, subscription: "Subscription", request: SubRefreshRequest
    ) -> Outcome:
        """Handle a sub_refresh of this kind; return None if its type is unknown."""

    def renew(self, subscription: "Subscription") -> None:
        """Called each time presence is renewed."""

    def ended(self, subscription: "Subscription") -> None:
        """Clean up; called once, after the subscription has left its channel."""


@define(eq=False)
class Subscription:
    """The state and the rights of one client in one channel.

    It is created by the subscribe command.  `begin` is called when the policy has
    permitted it, and `activate` in the turn in which the reply is written.
    """

    client: Subscriber
    name: str
    kind: SubscriptionKind
    server_side: bool = False
    options: SubscribeOptions = _NO_OPTIONS
    info: ClientInfo | None = None
    expire_at: int = 0
    channel: Channel | None = None
    lane: Lane | None = None
    variant: Variant | None = None
    #: Brings publications for this subscriber alone.
    stream: SubscriptionStream | None = None
    active: bool = False
    ended: bool = False
    _replied: bool = False
    _announced: bool = False
    _present: bool = False
    _mirrored: bool = False
    _history: History | None = None
    _recovery: Recovery | None = None
    #: Where deliveries began, if the channel has receipts.
    _entry: Entry | None = None
    _subscribe_waiters: "list[Deferred[None]] | None" = None
    #: Set by `begin`.
    transport: ITransport = field(init=False)

    @property
    def positioned(self) -> bool:
        """Whether it tracks a position in the stream."""
        return self.options.positioned or self.options.recoverable

    @property
    def found(self) -> Sequence[Publication]:
        """The publications that recovery has read, until `activate` is called."""
        return () if self._history is None else self._history.publications

    def begin(
        self, options: SubscribeOptions, request: SubscribeRequest
    ) -> "Deferred[None] | None":
        """Join the channel, enter presence and read history.

        :return: None if nothing had to wait.
        :raises DisconnectClient: 3004, the engine failed; 3000, the subscription ended.
        :raises ReplyError: 107, the requested filter is invalid or not permitted.
        """
        self._ensure_not_ended()
        if request.tf is not None or request.delta:
            self.variant = variant_of(options, request)
        client = self.client
        services = client.services
        self.transport = client.transport
        self.options = options
        self.expire_at = options.expire_at
        self.update_info(options.info)
        self.channel = channel = self.kind.source.local(self.name)
        if options.receipts_ttl:
            namespace = client.runtime.policy.channel(self.name).namespace
            observer = client.runtime.metrics.receipts_of(namespace)
            channel.keep_marks(options.receipts_ping, observer)
        channel.buffer(self)
        services.hub.num_subscriptions += 1
        client.runtime.metrics.actions["add_subscription"].value += 1
        if client.counters is not None:
            client.counters.subscriptions.value += 1
        listening = None
        if not channel.subscribed:
            listening = self.kind.source.broker_subscriptions.start(channel)
        try:
            if listening is None:
                running = self._enter_presence(None, request)
            else:
                running = when_known(listening, self._enter_presence, request)
        except BrokerUnavailable as reason:
            raise self._storage_failure(reason) from None
        if running is not None:
            running.addErrback(self._fail)
        return running

    def _enter_presence(
        self, _: None, request: SubscribeRequest
    ) -> "Deferred[None] | None":
        self._ensure_not_ended()
        if not self.options.presence:
            return self._read_history(None, request)
        assert self.info is not None
        self._present = True
        entered = self.client.services.presence.add(self.name, self.info)
        return when_known(entered, self._read_history, request)

    def _read_history(
        self, _: None, request: SubscribeRequest
    ) -> "Deferred[None] | None":
        self._ensure_not_ended()
        if not self.positioned:
            return None
        return when_known(self.kind.read(self, request), self._keep_history)

    def _keep_history(self, history: History) -> None:
        self._ensure_not_ended()
        self._history = history

    def _fail(self, failure: Failure) -> None:
        failure.trap(BrokerUnavailable)
        raise self._storage_failure(failure.value)

    def _storage_failure(self, reason: object) -> DisconnectClient:
        self.client.runtime.outage.failed("subscribe", str(reason))
        return DisconnectClient(SERVER_ERROR)

    def update_info(self, chan_info: Raw | None = None) -> None:
        """Set the client info that other subscribers see.

        :param chan_info: None keeps the present one.
        """
        if chan_info is None:
            if self.info is None:
                return
            chan_info = self.info.chan_info
        self.info = seen = self.client.info
        if chan_info is not EMPTY:
            self.info = ClientInfo(
                seen.user, seen.client, seen.conn_info, checked(chan_info)
            )

    def _ensure_not_ended(self) -> None:
        """Stop the caller if the subscription was ended while it waited."""
        if self.ended:
            raise DisconnectClient(CONNECTION_CLOSED)

    def activate(
        self, request: SubscribeRequest
    ) -> tuple[SubscribeResult, Callable[[], None]]:
        """Start delivery; the caller writes the reply in the same turn.

        :return: the result, and a function to call after the reply, in the same turn.
        :raises DisconnectClient: 3010, the channel has moved on; 3008, the recovered
            publications exceed ``queue_max_size``, or the buffered ones `HELD`.
        :raises ReplyError: 112, not recovered, and the client asked for an error.
        """
        assert self.channel is not None
        held = self.channel.held(self)
        if len(held) > HELD:
            raise DisconnectClient(SLOW, "too many publications while subscribing")
        if not self.positioned:
            self._enter(None)
            late = [each[0] for each in held]
            result = self.kind.result(self, request, None)
            return result, lambda: self._follow_up(late)
        assert self._history is not None
        history, self._history = self._history, None
        stored = [each for each in held if each[1].offset]
        recovery = self.kind.recover(self, request, history, stored)
        self.client.check_size(recovery.publications)
        late = [each[0] for each in held if not each[1].offset]
        if self.variant is not None:
            newest = self.kind.holds_state or bool(recovery.publications)
            self.variant.holds_previous = newest and not late
        self._enter(recovery)
        if self.options.receipts_ttl:
            self._recovery = recovery
        result = self.kind.result(self, request, recovery)
        return result, lambda: self._follow_up(late)

    def deliver(self, encoded: EncodedPublication) -> None:
        """Send *encoded* to this subscriber."""
        client, variant = self.client, self.variant
        wire = client.transport.wire
        push: Push | None = None
        try:
            push = encoded.raw(wire) if variant is None else variant.push(encoded, wire)
        except EncodeError:
            client.close(INAPPROPRIATE_PROTOCOL)
        if push is not None:
            client.push(push)

    def _follow_up(self, late: Sequence[Publication]) -> None:
        """Send publications that must follow the reply, and publish the join."""
        self._replied = True
        if self._recovery is not None:
            self._begin_receipts(self._recovery)
        journal = self.client.services.journal
        if journal.writes:
            journal.subscribed(self.client, self.name)
        for publication in late:
            if not self.ended:
                self.deliver(EncodedPublication(self.name, publication))
        if self.options.presence_maps is not None and not self.ended:
            self._mirrored = True
            self._update_presence_maps()
        if self.options.join_leave and not self.ended:
            assert self.info is not None
            self._announced = True
            self.client.services.streams.publish_join(self.name, self.info)
        if self.stream is not None and not self.ended:
            self.stream.follow(self._deliver_streamed, self._stream_ended)
        self.subscribe_finished()

    def _begin_receipts(self, recovery: Recovery) -> None:
        moment, self._recovery = self.client.runtime.writes.now(), None
        latest_only = self.options.recovery_mode == "cache"
        self._entry = entry_of(recovery, latest_only, moment)
        receipts = self.client.services.receipts
        if receipts is not None and not self.ended:
            receipts.returned(self.name, self.client.user)

    def attach(self, stream: SubscriptionStream) -> None:
        """Take over a stream, which ends with the subscription at the latest."""
        if self.ended:
            stream.close()
        else:
            self.stream = stream

    def _deliver_streamed(self, data: bytes, tags: dict[str, str]) -> None:
        if not self.ended:
            publication = Publication(data=checked(data), tags=tags)
            self.deliver(EncodedPublication(self.name, publication))

    def _stream_ended(self, completed: bool) -> None:
        if not self.ended:
            reason = SERVER_UNSUBSCRIBE if completed else LOST_POSITION
            self.client.unsubscribe(self.name, reason)

    def _enter(self, recovery: Recovery | None) -> None:
        assert self.channel is not None
        placed, lost = self.channel.activate(self, recovery)
        if lost:
            lose_positions(lost)
        if not placed:
            # This node and storage disagree: compare the channel with storage again.
            self.kind.source.position_check.check(self.channel)
            raise DisconnectClient(INSUFFICIENT_STATE)
        self.active = True

    def subscribe_finished(self) -> None:
        """Fire the Deferreds of `when_subscribe_finished`."""
        waiters, self._subscribe_waiters = self._subscribe_waiters, None
        for waiting in waiters or ():
            waiting.callback(None)

    def when_subscribe_finished(self) -> "Deferred[None]":
        """Return a Deferred that fires once it is answered or ended.

        It fails with `DisconnectClient` (3004) after 5 seconds.
        """
        if self._replied or self.ended or self.kind.waits_for_client:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        if self._subscribe_waiters is None:
            self._subscribe_waiters = []
        self._subscribe_waiters.append(waiting)

        def late(_: object, timeout: float) -> Failure:
            return Failure(DisconnectClient(SERVER_ERROR))

        clock = self.client.runtime.clock
        return waiting.addTimeout(UNSUBSCRIBE_WAIT, clock, late)

    def as_sent_to_client(
        self, publications: Sequence[Publication]
    ) -> list[Publication]:
        """Return *publications* in the client's form: full payloads or deltas."""
        if self.variant is None or not self.variant.delta:
            return list(publications)
        assert self.channel is not None
        try:
            return self.channel.recovered(publications, self.client.transport.wire)
        except EncodeError:
            raise DisconnectClient(INAPPROPRIATE_PROTOCOL) from None

    def end(self) -> None:
        """Leave the channel, at any stage, and publish the leave."""
        if self.ended:
            return
        self.ended = True
        if self._replied:
            journal = self.client.services.journal
            if journal.writes:
                journal.unsubscribed(self.client, self.name)
        self.subscribe_finished()
        if self.stream is not None:
            self.stream.close()
        if self.channel is not None:
            self._leave(self.channel)
        self.kind.ended(self)

    def _leave(self, channel: Channel) -> None:
        services = self.client.services
        assert self.info is not None
        receipt = self.receipt() if self.options.receipts_ttl else None
        if receipt is not None and services.receipts is not None:
            services.receipts.left(self.name, receipt, self.options.receipts_ttl)
        channel.leave(self)
        services.hub.num_subscriptions -= 1
        client = self.client
        client.runtime.metrics.actions["remove_subscription"].value += 1
        if client.counters is not None:
            client.counters.subscriptions.value -= 1
        self.kind.source.broker_subscriptions.vacate(channel)
        if self._present:
            services.presence.remove(self.name, self.info)
        maps = self.options.presence_maps
        if self._mirrored and maps is not None and services.mirror is not None:
            services.mirror.vanish(self.name, maps, self.info)
        if self._announced:
            services.streams.publish_leave(self.name, self.info)

    def _update_presence_maps(self) -> None:
        """Add or renew the client's entries in the presence maps of the channel."""
        mirror, maps = self.client.services.mirror, self.options.presence_maps
        if mirror is not None and maps is not None:
            assert self.info is not None
            mirror.appear(self.name, maps, self.info)

    @property
    def observes_presence(self) -> bool:
        """Whether it receives the joins and leaves of other subscribers."""
        return self.options.push_join_leave

    def undeliverable(self) -> None:
        """Close the connection: its encoding cannot carry a publication."""
        self.client.close(INAPPROPRIATE_PROTOCOL)

    def receipt(self) -> SubscriberReceipt | None:
        """Return what the client has proved to have received; None without receipts."""
        client, channel = self.client, self.channel
        if self._entry is None or channel is None or channel.marks is None:
            return None
        proof = self._entry.proof(client.answered, client.answered_at, channel.marks)
        return SubscriberReceipt(client.user, proof, client.answers_pings)

    def observe_receipt(self, earlier: int, moment: int, now: float) -> None:
        """Observe the age of the newest publication between two moments."""
        channel = self.channel
        if self._entry is None or channel is None or channel.marks is None:
            return
        after = max(earlier, self._entry.moment)
        published = channel.marks.published(after, moment)
        if published is not None and channel.receipts is not None:
            channel.receipts.observe(now - published)

    def ask_for_receipt(self) -> None:
        """Ping the client soon, so that its pong proves what it has received."""
        self.client.ask_for_receipt()

    def lose_position(self) -> None:
        """Tell the client that it may have missed publications.

        See client protocol, "Live positions"; client protocol v1, "Differences".
        """
        if self.server_side or self.client.speaks_v1:
            self.client.close(INSUFFICIENT_STATE)
        else:
            self.client.unsubscribe(self.name, LOST_POSITION)

    def renew_presence(self) -> None:
        """Renew the presence entries before they expire."""
        if self._present and self.active:
            assert self.info is not None
            self.client.services.presence.renew(self.name, self.info)
        if self._mirrored and self.active:
            self._update_presence_maps()
        self.kind.renew(self)
