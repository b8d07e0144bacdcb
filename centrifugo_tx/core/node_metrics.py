"""The metrics of one node (operations, "Metrics")."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from attrs import define, field

from ..metrics import BOUNDS, Counter, Histogram, Metrics
from ..options import TransportInfo
from ..protocol.codes import Disconnect, Error, Unsubscribe
from ..protocol.messages import Push

__all__ = [
    "ClientCounters",
    "CommandCounters",
    "MessageCounters",
    "NodeMetrics",
    "Table",
    "TransportCounters",
    "frame_type_of",
]

COMMAND_DURATION = "client_command_duration_seconds_histogram"
#: Labels that are exposed from the start, with the value 0.
METHODS = (
    *("connect", "subscribe", "unsubscribe", "publish", "presence", "presence_stats"),
    *("history", "send", "rpc", "refresh", "sub_refresh", "unknown"),
)
TYPES = ("join", "leave", "control")

K = TypeVar("K")
V = TypeVar("V")


class Table(dict[K, V]):
    """A dict that creates missing values.

    Looking up a value that is known calls no function.
    """

    def __init__(self, create: Callable[[K], V]) -> None:
        super().__init__()
        self._create = create

    def __missing__(self, key: K) -> V:
        value = self[key] = self._create(key)
        return value


@define(eq=False)
class MessageCounters:
    """Messages of one ``frame_type``, in one direction, over one transport."""

    messages: int = 0
    #: All their bytes.
    size: int = 0

    def add(self, messages: int, size: int) -> None:
        """Count *messages* of *size* bytes each."""
        self.messages += messages
        self.size += messages * size


@define(eq=False)
class CommandCounters:
    """What is counted of the commands of one method over one transport."""

    received: MessageCounters = field(factory=MessageCounters)
    replies: MessageCounters = field(factory=MessageCounters)
    #: The duration of a command in seconds; all transports share it.
    duration: Histogram = field(factory=lambda: Histogram(BOUNDS[COMMAND_DURATION]))


class TransportCounters:
    """The counters of messages, by ``(wire.transport, frame_type)``."""

    sent: "Table[tuple[str, str], MessageCounters]"
    received: "Table[tuple[str, str], MessageCounters]"

    def __init__(self, metrics: Metrics) -> None:
        def table(direction: str) -> "Table[tuple[str, str], MessageCounters]":
            def create(key: tuple[str, str]) -> MessageCounters:
                counters, name = MessageCounters(), f"transport_messages_{direction}"
                labels = {"transport": key[0], "frame_type": key[1]}
                labels["channel_namespace"] = ""
                metrics.read(counters, "messages", name, **labels)
                metrics.read(counters, "size", f"{name}_size", **labels)
                return counters

            return Table(create)

        self.sent, self.received = table("sent"), table("received")


_FRAME_TYPES = (
    ("pub", "push_publication"),
    *(
        (part, f"push_{part}")
        for part in Push.__struct_fields__
        if part not in ("channel", "pub")
    ),
)


def frame_type_of(push: Push) -> str:
    """Return the ``frame_type`` of a push."""
    for part, frame_type in _FRAME_TYPES:
        if getattr(push, part) is not None:
            return frame_type
    return "push_unknown"


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
    #: Publications sent to the broker, and received from it.
    published: int = field(default=0, init=False)
    delivered: int = field(default=0, init=False)
    dropped_by_filter: Counter = field(init=False)
    broadcast_duration: Histogram = field(init=False)
    delivery_lag: Histogram = field(init=False)
    #: The durations of commands, by method.
    durations: Table[str, Histogram] = field(init=False)
    #: Other messages sent to the broker and received from it, by type.
    sent: Table[str, Counter] = field(init=False)
    received: Table[str, Counter] = field(init=False)
    #: Actions of the node, by name.
    actions: Table[str, Counter] = field(init=False)
    _clients: dict[tuple[str, bool, bool], ClientCounters] = field(
        factory=dict, init=False
    )

    def __attrs_post_init__(self) -> None:
        metrics = self._metrics
        self.transport_counters = TransportCounters(metrics)
        self.durations = Table(self._create_duration)
        self.sent = Table(partial(self._create_messages, "sent"))
        self.received = Table(partial(self._create_messages, "received"))
        self.actions = Table(self._create_action)
        for attribute, direction in (("published", "sent"), ("delivered", "received")):
            metrics.read(
                self,
                attribute,
                f"node_messages_{direction}_count",
                type="publication",
                channel_namespace="",
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
            self.durations[method]
        for type in TYPES:
            self.sent[type]
            self.received[type]
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

    def _create_duration(self, method: str) -> Histogram:
        return self._metrics.histogram(
            COMMAND_DURATION, method=method, channel_namespace=""
        )

    def _create_messages(self, direction: str, type: str) -> Counter:
        name = f"node_messages_{direction}_count"
        return self._metrics.counter(name, type=type, channel_namespace="")

    def _create_action(self, action: str) -> Counter:
        return self._metrics.counter(
            "node_action_count", action=action, channel_namespace=""
        )

    def command_counters(self, transport: str, name: str) -> CommandCounters:
        """Return the counters of the commands of method *name* over a transport."""
        messages = self.transport_counters
        return CommandCounters(
            messages.received[transport, name],
            messages.sent[transport, name],
            self.durations[name],
        )

    def observe_survey(self, op: str, seconds: float) -> None:
        """Count a survey of the other nodes, and observe its duration."""
        self.actions["survey"].value += 1
        self._metrics.histogram(
            "node_survey_duration_seconds_histogram", op=op
        ).observe(seconds)

    def count_suppressed(self, verb: str, reason: str) -> None:
        """Count a map change that was suppressed for *reason*."""
        self._metrics.counter(
            f"map_broker_{verb}_suppressed_count", reason=reason, channel_namespace=""
        ).value += 1

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
        self.actions["add_client"].value += 1

    def count_disconnected(self, counters: ClientCounters) -> None:
        """Count the end of a client that had connected."""
        counters.connections.value -= 1
        self.actions["remove_client"].value += 1

    def count_close_frame(self, transport: str, code: int) -> None:
        """Count a closing handshake that the server started."""
        self._metrics.counter(
            "transport_outgoing_close_count", transport=transport, code=str(code)
        ).value += 1

    def receipts_of(self, namespace: str) -> Histogram:
        """Return the histogram of the seconds from a publication to its receipt."""
        return self._metrics.histogram(
            "client_receipt_duration_seconds", channel_namespace=namespace
        )

    def observe_pong(self, transport: str, seconds: float) -> None:
        """Observe the seconds between a ping and its pong."""
        self._metrics.histogram(
            "client_ping_pong_duration_seconds", transport=transport
        ).observe(seconds)
