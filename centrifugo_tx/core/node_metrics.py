"""The metrics of one node (operations, "Metrics")."""

from attrs import define, field

from ..metrics import Counter, Histogram, Metrics
from ..options import TransportInfo
from ..protocol.codes import Disconnect, Error, Unsubscribe
from ..protocol.wire import Wire

__all__ = ["ClientCounters", "MessageCounters", "NodeMetrics", "TransportCounters"]

#: Labels that are exposed from the start, with the value 0.
METHODS = (
    *("connect", "subscribe", "unsubscribe", "publish", "presence", "presence_stats"),
    *("history", "send", "rpc", "refresh", "sub_refresh", "unknown"),
)
TYPES = ("publication", "join", "leave", "control")


@define(eq=False)
class MessageCounters:
    """Messages of one ``frame_type``, in one direction, over one transport."""

    messages: Counter
    size: Counter

    def add(self, messages: int, size: int) -> None:
        """Count *messages* of *size* bytes each."""
        self.messages.value += messages
        self.size.value += messages * size


@define(eq=False)
class TransportCounters:
    """Finds the counters for a wire and a kind of message (``frame_type``)."""

    _metrics: Metrics
    _sent: dict[tuple[str, str], MessageCounters] = field(factory=dict, init=False)
    _received: dict[tuple[str, str], MessageCounters] = field(factory=dict, init=False)

    def sent(self, wire: Wire, kind: str) -> MessageCounters:
        """Return the counters of the *kind* messages that *wire* sends."""
        return self._sent.get((wire.transport, kind)) or self._create(
            self._sent, "sent", wire, kind
        )

    def received(self, wire: Wire, kind: str) -> MessageCounters:
        """Return the counters of the *kind* messages that *wire* receives."""
        return self._received.get((wire.transport, kind)) or self._create(
            self._received, "received", wire, kind
        )

    def _create(
        self,
        counters: dict[tuple[str, str], MessageCounters],
        direction: str,
        wire: Wire,
        kind: str,
    ) -> MessageCounters:
        labels = {"transport": wire.transport, "frame_type": kind}
        found = counters[wire.transport, kind] = MessageCounters(
            self._metrics.counter(
                f"transport_messages_{direction}", **labels, channel_namespace=""
            ),
            self._metrics.counter(
                f"transport_messages_{direction}_size", **labels, channel_namespace=""
            ),
        )
        return found


@define(eq=False)
class ClientCounters:
    """The counters that all clients with the same labels share."""

    accepted: Counter
    #: The numbers of open connections and of subscriptions, at present.
    connections: Counter
    subscriptions: Counter


@define(eq=False)
class NodeMetrics:
    """Counts events of the node.  Counters of hot paths are looked up once."""

    _metrics: Metrics
    #: Whether to observe how many publications each recovery returns.
    _counts_recovered: bool = False
    transport_counters: TransportCounters = field(init=False)
    published: Counter = field(init=False)
    dropped_by_filter: Counter = field(init=False)
    broadcast_duration: Histogram = field(init=False)
    delivery_lag: Histogram = field(init=False)
    _durations: dict[str, Histogram] = field(factory=dict, init=False)
    _received: dict[str, Counter] = field(factory=dict, init=False)
    _actions: dict[str, Counter] = field(factory=dict, init=False)
    _clients: dict[tuple[str, bool, bool], ClientCounters] = field(
        factory=dict, init=False
    )

    def __attrs_post_init__(self) -> None:
        metrics = self._metrics
        self.transport_counters = TransportCounters(metrics)
        self.published = metrics.counter(
            "node_messages_sent_count", type="publication", channel_namespace=""
        )
        self.dropped_by_filter = metrics.counter(
            "node_tags_filter_dropped_publications", channel_namespace=""
        )
        self.broadcast_duration = metrics.histogram(
            "node_broadcast_duration_seconds", type="publication", channel_namespace=""
        )
        self.delivery_lag = metrics.histogram(
            "node_pub_sub_lag_seconds", channel_namespace=""
        )
        for method in METHODS:
            self._duration(method)
        for type in TYPES:
            self._counter_of_sent(type)
            self._counter_of_received(type)
        for family, channel_type in (
            ("broker", "control"),
            ("broker", "client"),
            ("map_broker", "client"),
        ):
            metrics.counter(
                f"{family}_redis_pub_sub_dropped_messages",
                broker_name="",
                channel_type=channel_type,
            )

    def count_action(self, action: str) -> None:
        """Count one *action* of the node."""
        counter = self._actions.get(action)
        if counter is None:
            counter = self._actions[action] = self._metrics.counter(
                "node_action_count", action=action, channel_namespace=""
            )
        counter.value += 1

    def observe_survey(self, op: str, seconds: float) -> None:
        """Count a survey of the other nodes, and observe its duration."""
        self.count_action("survey")
        self._metrics.histogram(
            "node_survey_duration_seconds_histogram", op=op
        ).observe(seconds)

    def count_sent(self, type: str) -> None:
        """Count a message that was sent to the broker."""
        self._counter_of_sent(type).value += 1

    def _counter_of_sent(self, type: str) -> Counter:
        return self._metrics.counter(
            "node_messages_sent_count", type=type, channel_namespace=""
        )

    def count_suppressed(self, verb: str, reason: str) -> None:
        """Count a map change that was suppressed for *reason*."""
        self._metrics.counter(
            f"map_broker_{verb}_suppressed_count", reason=reason, channel_namespace=""
        ).value += 1

    def count_received(self, type: str) -> None:
        """Count a message that was received from the broker."""
        counter = self._received.get(type) or self._counter_of_received(type)
        counter.value += 1

    def _counter_of_received(self, type: str) -> Counter:
        counter = self._received.get(type)
        if counter is None:
            counter = self._received[type] = self._metrics.counter(
                "node_messages_received_count", type=type, channel_namespace=""
            )
        return counter

    def observe_command(self, method: str, seconds: float) -> None:
        """Count a client's command, and observe its duration."""
        duration = self._durations.get(method) or self._duration(method)
        duration.observe(seconds)

    def _duration(self, method: str) -> Histogram:
        duration = self._durations.get(method)
        if duration is None:
            duration = self._durations[method] = self._metrics.histogram(
                "client_command_duration_seconds_histogram",
                method=method,
                channel_namespace="",
            )
        return duration

    def count_error_reply(self, method: str, error: Error) -> None:
        """Count an error reply."""
        self._metrics.counter(
            "client_num_reply_errors",
            method=method,
            code=str(error.code),
            channel_namespace="",
        ).value += 1

    def count_server_unsubscribe(self, reason: Unsubscribe) -> None:
        """Count a subscription that the server ended."""
        self._metrics.counter(
            "client_num_server_unsubscribes",
            code=str(reason.code),
            channel_namespace="",
        ).value += 1

    def count_server_disconnect(self, disconnect: Disconnect) -> None:
        """Count a connection that the server ended."""
        self._metrics.counter(
            "client_num_server_disconnects", code=str(disconnect.code)
        ).value += 1

    def count_recovery(self, recovered: bool, publications: int) -> None:
        """Count an attempt to recover.

        :param publications: how many publications the reply contains.
        """
        if self._counts_recovered and recovered:
            self._metrics.histogram(
                "client_recovered_publications", channel_namespace=""
            ).observe(publications)
        self._metrics.counter(
            "client_recover",
            recovered="yes" if recovered else "no",
            channel_namespace="",
            has_recovered_publications="yes" if publications else "no",
        ).value += 1

    def counters_for_client(
        self, info: TransportInfo, name: str, version: str
    ) -> ClientCounters:
        """Return the counters of all clients with the same labels."""
        key = info.name, bool(name), bool(version)
        counters = self._clients.get(key)
        if counters is None:
            counters = self._clients[key] = self._make_client_counters(*key)
        return counters

    def _make_client_counters(
        self, transport: str, named: bool, versioned: bool
    ) -> ClientCounters:
        counter = self._metrics.counter
        client = {
            "transport": transport,
            "accept_protocol": "",
            "client_name": "unregistered" if named else "unnamed",
            "client_version": "unregistered" if versioned else "unversioned",
        }
        return ClientCounters(
            counter("client_connections_accepted", **client),
            counter("client_connections_inflight", **client),
            counter(
                "client_subscriptions_inflight",
                client_name=client["client_name"],
                channel_namespace="",
            ),
        )

    def count_connected(self, counters: ClientCounters) -> None:
        """Count a client that connected."""
        counters.accepted.value += 1
        counters.connections.value += 1
        self.count_action("add_client")

    def count_disconnected(self, counters: ClientCounters) -> None:
        """Count the end of a client that had connected."""
        counters.connections.value -= 1
        self.count_action("remove_client")

    def count_subscribed(self, counters: ClientCounters | None) -> None:
        """Count a new subscription of a client."""
        self.count_action("add_subscription")
        if counters is not None:
            counters.subscriptions.value += 1

    def count_unsubscribed(self, counters: ClientCounters | None) -> None:
        """Count the end of a subscription."""
        self.count_action("remove_subscription")
        if counters is not None:
            counters.subscriptions.value -= 1

    def count_close_frame(self, transport: str, code: int) -> None:
        """Count a closing handshake that the server started."""
        self._metrics.counter(
            "transport_outgoing_close_count", transport=transport, code=str(code)
        ).value += 1

    def observe_pong(self, transport: str, seconds: float) -> None:
        """Observe the seconds between a ping and its pong."""
        self._metrics.histogram(
            "client_ping_pong_duration_seconds", transport=transport
        ).observe(seconds)
