"""What a node counts (operations, "Metrics")."""

from attrs import define, field

from ..metrics import Counter, Histogram, Metrics
from ..options import TransportInfo
from ..protocol.codes import Disconnect, Error, Unsubscribe
from .traffic import Traffic

__all__ = ["Counts", "Standing"]

#: What is served from the start, before anything of it has happened.
METHODS = (
    *("connect", "subscribe", "unsubscribe", "publish", "presence", "presence_stats"),
    *("history", "send", "rpc", "refresh", "sub_refresh", "unknown"),
)
TYPES = ("publication", "join", "leave", "control")


@define(eq=False)
class Standing:
    """The counters of all clients that are alike in their labels."""

    accepted: Counter
    #: How many of them are connected, and how many subscriptions they have, now.
    connections: Counter
    subscriptions: Counter


@define(eq=False)
class Counts:
    """The node's counters; those of hot paths are found beforehand."""

    _metrics: Metrics
    traffic: Traffic = field(init=False)
    published: Counter = field(init=False)
    unwanted: Counter = field(init=False)
    broadcast: Histogram = field(init=False)
    lag: Histogram = field(init=False)
    _durations: dict[str, Histogram] = field(factory=dict, init=False)
    _received: dict[str, Counter] = field(factory=dict, init=False)
    _actions: dict[str, Counter] = field(factory=dict, init=False)
    _standings: dict[tuple[str, bool, bool], Standing] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        metrics = self._metrics
        self.traffic = Traffic(metrics)
        self.published = metrics.counter(
            "node_messages_sent_count", type="publication", channel_namespace=""
        )
        self.unwanted = metrics.counter(
            "node_tags_filter_dropped_publications", channel_namespace=""
        )
        self.broadcast = metrics.histogram(
            "node_broadcast_duration_seconds", type="publication", channel_namespace=""
        )
        self.lag = metrics.histogram("node_pub_sub_lag_seconds", channel_namespace="")
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

    def action(self, action: str) -> None:
        """Count something the node did."""
        counter = self._actions.get(action)
        if counter is None:
            counter = self._actions[action] = self._metrics.counter(
                "node_action_count", action=action, channel_namespace=""
            )
        counter.value += 1

    def surveyed(self, op: str, seconds: float) -> None:
        """Count a question to other nodes, and how long the answer took."""
        self.action("survey")
        self._metrics.histogram(
            "node_survey_duration_seconds_histogram", op=op
        ).observe(seconds)

    def sent(self, type: str) -> None:
        """Count a message to the broker."""
        self._counter_of_sent(type).value += 1

    def _counter_of_sent(self, type: str) -> Counter:
        return self._metrics.counter(
            "node_messages_sent_count", type=type, channel_namespace=""
        )

    def suppressed(self, verb: str, reason: str) -> None:
        """Count a change of a map that was not made."""
        self._metrics.counter(
            f"map_broker_{verb}_suppressed_count", reason=reason, channel_namespace=""
        ).value += 1

    def received(self, type: str) -> None:
        """Count a message from the broker."""
        counter = self._received.get(type) or self._counter_of_received(type)
        counter.value += 1

    def _counter_of_received(self, type: str) -> Counter:
        counter = self._received.get(type)
        if counter is None:
            counter = self._received[type] = self._metrics.counter(
                "node_messages_received_count", type=type, channel_namespace=""
            )
        return counter

    def command(self, method: str, seconds: float) -> None:
        """Count a command of a client, and how long it took."""
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

    def error(self, method: str, error: Error) -> None:
        """Count an error reply."""
        self._metrics.counter(
            "client_num_reply_errors",
            method=method,
            code=str(error.code),
            channel_namespace="",
        ).value += 1

    def unsubscribe(self, reason: Unsubscribe) -> None:
        """Count a subscription that the server ended."""
        self._metrics.counter(
            "client_num_server_unsubscribes",
            code=str(reason.code),
            channel_namespace="",
        ).value += 1

    def disconnect(self, disconnect: Disconnect) -> None:
        """Count a connection that the server ended."""
        self._metrics.counter(
            "client_num_server_disconnects", code=str(disconnect.code)
        ).value += 1

    def recovery(self, recovered: bool, publications: bool) -> None:
        """Count an attempt to recover, and whether it brought *publications*."""
        self._metrics.counter(
            "client_recover",
            recovered="yes" if recovered else "no",
            channel_namespace="",
            has_recovered_publications="yes" if publications else "no",
        ).value += 1

    def standing(self, info: TransportInfo, name: str, version: str) -> Standing:
        """Return the counters of clients of this kind, the same every time."""
        key = info.name, bool(name), bool(version)
        standing = self._standings.get(key)
        if standing is None:
            standing = self._standings[key] = self._make_standing(*key)
        return standing

    def _make_standing(self, transport: str, named: bool, versioned: bool) -> Standing:
        counter = self._metrics.counter
        client = {
            "transport": transport,
            "accept_protocol": "",
            "client_name": "unregistered" if named else "unnamed",
            "client_version": "unregistered" if versioned else "unversioned",
        }
        return Standing(
            counter("client_connections_accepted", **client),
            counter("client_connections_inflight", **client),
            counter(
                "client_subscriptions_inflight",
                client_name=client["client_name"],
                channel_namespace="",
            ),
        )

    def entered(self, standing: Standing) -> None:
        """Count a client that connected."""
        standing.accepted.value += 1
        standing.connections.value += 1
        self.action("add_client")

    def left(self, standing: Standing) -> None:
        """Count the end of a client that had connected."""
        standing.connections.value -= 1
        self.action("remove_client")

    def subscribed(self, standing: Standing | None) -> None:
        """Count a client's entry into a channel."""
        self.action("add_subscription")
        if standing is not None:
            standing.subscriptions.value += 1

    def unsubscribed(self, standing: Standing | None) -> None:
        """Count the end of that."""
        self.action("remove_subscription")
        if standing is not None:
            standing.subscriptions.value -= 1

    def close_frame(self, transport: str, code: int) -> None:
        """Count a closing handshake that the server began."""
        self._metrics.counter(
            "transport_outgoing_close_count", transport=transport, code=str(code)
        ).value += 1

    def ponged(self, transport: str, seconds: float) -> None:
        """Count how long a ping took to be answered."""
        self._metrics.histogram(
            "client_ping_pong_duration_seconds", transport=transport
        ).observe(seconds)
