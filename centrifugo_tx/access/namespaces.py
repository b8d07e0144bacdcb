"""Namespaces: which options a channel has, and which names are channels at all."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import re2
from attrs import define, field, frozen

from ..errors import ReplyError
from ..options import (
    ChannelOptions,
    Duration,
    MapChange,
    PresenceMaps,
    PublishOptions,
    SubscribeOptions,
)
from ..protocol.codes import BAD_REQUEST, UNKNOWN_CHANNEL
from .map_options import MapOptions, SharedPollOptions

__all__ = [
    "ChannelRules",
    "Namespace",
    "NamespaceOptions",
    "Namespaces",
]


#: The types of namespaces whose channels are maps.
MAP_TYPES = frozenset({"map", "map_clients", "map_users"})
#: How many channels `Namespaces.settled` remembers, and how long their names may be.
SETTLED = 4096
SETTLED_LENGTH = 255


class NamespaceOptions(msgspec.Struct, frozen=True):
    """Options of the channels of one namespace."""

    # See configuration rules, "Channel options".

    presence: bool = False
    """Maintain presence: the list of current subscribers."""
    join_leave: bool = False
    """Publish join and leave messages."""
    force_push_join_leave: bool = False
    """Send join and leave messages to every subscriber, requested or not."""
    history_size: int = 0
    """Maximum number of publications that are kept."""
    history_ttl: Duration = 0.0
    """How long publications are kept, in whole seconds."""
    history_meta_ttl: Duration = 0.0
    """How long offset and epoch are kept; 0: ``channel.history_meta_ttl``."""
    force_positioning: bool = False
    """Position every subscription, so that lost publications are detected."""
    allow_positioning: bool = False
    """Allow subscribers to request positioning."""
    force_recovery: bool = False
    """Make every subscription recoverable."""
    allow_recovery: bool = False
    """Allow subscribers to request recovery."""
    force_recovery_mode: str = ""
    """``stream``: recover all missed publications; ``cache``: only the latest one."""
    auto_cache_recover: bool = False
    """Send the latest publication on every subscribe."""
    allowed_delta_types: tuple[str, ...] = ()
    """Delta compressions that subscribers may request: ``fossil``."""
    delta_publish: bool = False
    """Compute a delta for every publication."""
    allow_tags_filter: bool = False
    """Allow subscribers to filter publications by tags."""
    allow_subscribe_for_client: bool = False
    """Allow every client with a user id to subscribe."""
    allow_subscribe_for_anonymous: bool = False
    """Extend that permission to anonymous users."""
    allow_publish_for_client: bool = False
    """Allow every client with a user id to publish."""
    allow_publish_for_subscriber: bool = False
    """Allow subscribers to publish."""
    allow_publish_for_anonymous: bool = False
    """Extend the permissions to publish to anonymous users."""
    allow_presence_for_client: bool = False
    """Allow every client with a user id to read presence."""
    allow_presence_for_subscriber: bool = False
    """Allow subscribers to read presence."""
    allow_presence_for_anonymous: bool = False
    """Extend the permissions to read presence to anonymous users."""
    allow_history_for_client: bool = False
    """Allow every client with a user id to read history."""
    allow_history_for_subscriber: bool = False
    """Allow subscribers to read history."""
    allow_history_for_anonymous: bool = False
    """Extend the permissions to read history to anonymous users."""
    allow_user_limited_channels: bool = False
    """Restrict a channel to the users listed after ``#`` in its name."""
    channel_regex: str = ""
    """Pattern that channel names must match after the namespace; empty: ASCII only."""
    publication_data_format: str = ""
    """``json``, ``json_object`` or ``binary``; empty: the format for all channels."""
    subscribe_proxy_enabled: bool = False
    """Call the backend for each subscription."""
    subscribe_proxy_name: str = "default"
    """Name of the backend to call."""
    publish_proxy_enabled: bool = False
    """Call the backend for each publication of a client."""
    publish_proxy_name: str = "default"
    """Name of the backend to call."""
    sub_refresh_proxy_enabled: bool = False
    """Call the backend when a subscription expires."""
    sub_refresh_proxy_name: str = "default"
    """Name of the backend to call."""
    subscribe_stream_proxy_enabled: bool = False
    """Stream the publications of each subscription from the backend."""
    subscribe_stream_proxy_name: str = "default"
    """Name of the backend that streams."""
    subscribe_stream_proxy_bidirectional: bool = False
    """Send the client's publications to the backend through the stream."""
    subscription_type: str = ""
    """``stream``, ``map``, ``map_clients``, ``map_users`` or ``shared_poll``."""
    map_clients_presence_channel_prefix: str = ""
    """Prefix of the map channel that mirrors the present clients."""
    map_users_presence_channel_prefix: str = ""
    """Prefix of the map channel that mirrors the present users."""
    receipts: bool = False
    """Keep track of what subscribers have received, for the API method receipts."""
    receipts_ping: bool = False
    """Ask subscribers for receipts after every publication, at most once a second."""
    map: MapOptions = MapOptions()
    """Options of map channels."""
    shared_poll: SharedPollOptions = SharedPollOptions()
    """Options of shared poll channels."""


def presence_maps(options: NamespaceOptions) -> PresenceMaps | None:
    """Return the maps that mirror presence; None without any."""
    clients = options.map_clients_presence_channel_prefix
    users = options.map_users_presence_channel_prefix
    return PresenceMaps(clients, users) if clients or users else None


@frozen
class ChannelRules:
    """How names of channels are read (permissions, "Special characters")."""

    private_prefix: str = "$"
    namespace_boundary: str = ":"
    user_boundary: str = "#"
    user_separator: str = ","
    publication_data_format: str = ""

    def split(self, channel: str) -> tuple[str, str]:
        """Return the namespace of a name, and the rest that ``channel_regex`` matches.

        One private prefix does not belong to the namespace; a name without a namespace
        is its own rest.
        """
        if not self.namespace_boundary:
            return "", channel
        trimmed = channel.removeprefix(self.private_prefix)
        name, found, rest = trimmed.partition(self.namespace_boundary)
        return (name, rest) if found else ("", channel)


@define(eq=False)
class Namespace:
    """One namespace: its options, and the values derived from them."""

    options: NamespaceOptions
    channel: ChannelOptions = field(init=False)
    publication: PublishOptions = field(init=False)
    #: How clients change its maps, if they are maps.
    change: MapChange | None = field(default=None, init=False)
    #: The common options of its subscriptions, by the source of the permission.
    forced: dict[int, SubscribeOptions] = field(factory=dict, init=False)
    _rules: ChannelRules
    name: str = ""
    _searches: Callable[[str], object] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        options = self.options
        rules = polled = None
        if options.subscription_type == "shared_poll":
            polled = options.shared_poll.rules()
        if options.subscription_type in MAP_TYPES:
            rules = options.map.rules()
            self.change = MapChange(rules, delta=options.delta_publish)
        self.channel = ChannelOptions(
            subscription_type=options.subscription_type,
            presence=options.presence,
            join_leave=options.join_leave,
            force_push_join_leave=options.force_push_join_leave,
            history_size=options.history_size,
            history_ttl=options.history_ttl,
            history_meta_ttl=options.history_meta_ttl,
            force_positioning=options.force_positioning,
            force_recovery=options.force_recovery,
            delta_publish=options.delta_publish,
            publication_data_format=options.publication_data_format
            or self._rules.publication_data_format,
            map=rules,
            poll=polled,
            presence_maps=presence_maps(options),
            receipts=options.receipts,
            receipts_ping=options.receipts_ping,
            namespace=self.name,
        )
        self.publication = PublishOptions(
            history_size=options.history_size,
            history_ttl=options.history_ttl,
            history_meta_ttl=options.history_meta_ttl,
            delta=options.delta_publish,
        )
        if options.channel_regex:
            # RE2, because patterns of operators meet names of strangers.
            self._searches = re2.compile(options.channel_regex).search

    def valid(self, channel: str) -> bool:
        """Whether *channel* is a name that this namespace takes.

        See permissions, "Channel names".
        """
        if self._searches is None:
            return channel.isascii()
        return self._searches(self._rules.split(channel)[1]) is not None

    def user_limited(self, channel: str) -> bool:
        """Whether *channel* lists its users (permissions, "User-limited channels")."""
        boundary = self._rules.user_boundary
        return (
            self.options.allow_user_limited_channels
            and bool(boundary)
            and boundary in channel
        )

    def lists(self, channel: str, user: str) -> bool:
        """Whether the user-limited *channel* lists *user*."""
        users = channel.rpartition(self._rules.user_boundary)[2]
        separator = self._rules.user_separator
        return user in (users.split(separator) if separator else [users])


@define(eq=False)
class Namespaces:
    """Finds the namespace of a channel by the channel's name."""

    rules: ChannelRules
    _without: Namespace
    _named: Mapping[str, Namespace]
    #: The namespaces of channels that were used lately; their names are valid.
    settled: dict[str, Namespace] = field(factory=dict, init=False)

    @classmethod
    def of(
        cls,
        rules: ChannelRules,
        without_namespace: NamespaceOptions,
        named: Sequence[tuple[str, NamespaceOptions]] = (),
    ) -> "Namespaces":
        """Make namespaces of options.

        :raises re2.error: a ``channel_regex`` does not compile.
        """
        namespaces = {name: Namespace(options, rules, name) for name, options in named}
        return cls(rules, Namespace(without_namespace, rules), namespaces)

    def find(self, channel: str) -> Namespace:
        """Return the namespace of *channel*.

        :raises ReplyError: 102, no namespace has this name.
        """
        boundary = self.rules.namespace_boundary
        if not boundary or boundary not in channel:
            return self._without
        name = self.rules.split(channel)[0]
        if not name:
            return self._without
        namespace = self._named.get(name)
        if namespace is None:
            raise ReplyError(UNKNOWN_CHANNEL, "unknown channel namespace")
        return namespace

    def settle(self, channel: str, namespace: Namespace) -> Namespace:
        """Return *namespace*, which *channel* is in, and remember it in ``settled``.

        :raises ReplyError: 107, it does not take this name.
        """
        if not namespace.valid(channel):
            raise ReplyError(BAD_REQUEST, "invalid channel name")
        if len(channel) <= SETTLED_LENGTH:
            if len(self.settled) >= SETTLED:
                self.settled.clear()
            self.settled[channel] = namespace
        return namespace

    def private(self, channel: str) -> bool:
        """Whether *channel* needs a subscription token."""
        prefix = self.rules.private_prefix
        return bool(prefix) and channel.startswith(prefix)
