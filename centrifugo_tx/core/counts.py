"""What a node counts (operations, "Metrics")."""

from attrs import define, field

from ..metrics import Counter, Histogram, Metrics
from ..options import TransportInfo
from ..protocol.codes import Disconnect, Error, Unsubscribe
from .traffic import Traffic

__all__ = ["Counts"]


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

    def action(self, action: str) -> None:
        """Count something the node did."""
        self._metrics.counter(
            "node_action_count", action=action, channel_namespace=""
        ).value += 1

    def surveyed(self, op: str, seconds: float) -> None:
        """Count a question to other nodes, and how long the answer took."""
        self.action("survey")
        self._metrics.histogram(
            "node_survey_duration_seconds_histogram", op=op
        ).observe(seconds)

    def sent(self, type: str) -> None:
        """Count a message to the broker."""
        self._metrics.counter(
            "node_messages_sent_count", type=type, channel_namespace=""
        ).value += 1

    def received(self, type: str) -> None:
        """Count a message from the broker."""
        counter = self._received.get(type)
        if counter is None:
            counter = self._received[type] = self._metrics.counter(
                "node_messages_received_count", type=type, channel_namespace=""
            )
        counter.value += 1

    def command(self, method: str, seconds: float) -> None:
        """Count a command of a client, and how long it took."""
        duration = self._durations.get(method)
        if duration is None:
            duration = self._durations[method] = self._metrics.histogram(
                "client_command_duration_seconds_histogram",
                method=method,
                channel_namespace="",
            )
        duration.observe(seconds)

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

    def accepted(self, info: TransportInfo, name: str, version: str) -> None:
        """Count a client that connected."""
        self._metrics.counter(
            "client_connections_accepted",
            transport=info.name,
            accept_protocol=info.accept_protocol,
            client_name="unregistered" if name else "unnamed",
            client_version="unregistered" if version else "unversioned",
        ).value += 1

    def ponged(self, transport: str, seconds: float) -> None:
        """Count how long a ping took to be answered."""
        self._metrics.histogram(
            "client_ping_pong_duration_seconds", transport=transport
        ).observe(seconds)
