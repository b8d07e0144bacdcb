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
from ..protocol.codes import UNKNOWN_CHANNEL
from .map_options import MapOptions, SharedPollOptions

__all__ = [
    "ChannelRules",
    "Namespace",
    "NamespaceOptions",
    "Namespaces",
]


#: The types of namespaces whose channels are maps.
MAP_TYPES = frozenset({"map", "map_clients", "map_users"})


class NamespaceOptions(msgspec.Struct, frozen=True):
    """What the channels of one namespace are like."""

    # See configuration rules, "Channel options".

    presence: bool = False
    """Keep who is subscribed."""
    join_leave: bool = False
    """Tell about clients that come and go."""
    force_push_join_leave: bool = False
    """Tell every subscriber, not only those who ask."""
    history_size: int = 0
    """Publications that are kept."""
    history_ttl: Duration = 0.0
    """How long publications are kept, in whole seconds."""
    history_meta_ttl: Duration = 0.0
    """How long offset and epoch are kept; 0: as ``channel.history_meta_ttl`` says."""
    force_positioning: bool = False
    """Tell every subscriber when it missed something."""
    allow_positioning: bool = False
    """The same for those who ask."""
    force_recovery: bool = False
    """Bring every subscriber what it missed."""
    allow_recovery: bool = False
    """The same for those who ask."""
    force_recovery_mode: str = ""
    """``stream``: all that was missed; ``cache``: only the latest publication."""
    auto_cache_recover: bool = False
    """Bring the latest publication on every subscribe."""
    allowed_delta_types: tuple[str, ...] = ()
    """Delta compressions that subscribers may ask for; ``fossil``."""
    delta_publish: bool = False
    """Prepare a delta for every publication."""
    allow_tags_filter: bool = False
    """Subscribers may filter publications by tags."""
    allow_subscribe_for_client: bool = False
    """Every client with a user id may subscribe."""
    allow_subscribe_for_anonymous: bool = False
    """That permission holds for anonymous users, too."""
    allow_publish_for_client: bool = False
    """Every client with a user id may publish."""
    allow_publish_for_subscriber: bool = False
    """Subscribers may publish."""
    allow_publish_for_anonymous: bool = False
    """The permissions to publish hold for anonymous users, too."""
    allow_presence_for_client: bool = False
    """Every client with a user id may see who is there."""
    allow_presence_for_subscriber: bool = False
    """Subscribers may see who is there."""
    allow_presence_for_anonymous: bool = False
    """The permissions to see presence hold for anonymous users, too."""
    allow_history_for_client: bool = False
    """Every client with a user id may read history."""
    allow_history_for_subscriber: bool = False
    """Subscribers may read history."""
    allow_history_for_anonymous: bool = False
    """The permissions to read history hold for anonymous users, too."""
    allow_user_limited_channels: bool = False
    """``#`` in a name is followed by the users who may subscribe."""
    channel_regex: str = ""
    """What names must match behind the namespace; otherwise they must be ASCII."""
    publication_data_format: str = ""
    """``json``, ``json_object``, ``binary``; empty: as for all channels."""
    subscribe_proxy_enabled: bool = False
    """Ask the backend about each subscription."""
    subscribe_proxy_name: str = "default"
    """The backend to ask."""
    publish_proxy_enabled: bool = False
    """Ask the backend about each publication of a client."""
    publish_proxy_name: str = "default"
    """The backend to ask."""
    sub_refresh_proxy_enabled: bool = False
    """Ask the backend when a subscription expires."""
    sub_refresh_proxy_name: str = "default"
    """The backend to ask."""
    subscribe_stream_proxy_enabled: bool = False
    """Take publications of each subscription from a stream of the backend."""
    subscribe_stream_proxy_name: str = "default"
    """The backend that streams."""
    subscribe_stream_proxy_bidirectional: bool = False
    """Send the client's publications into the stream."""
    subscription_type: str = ""
    """``stream``, ``map``, ``map_clients``, ``map_users`` or ``shared_poll``."""
    map_clients_presence_channel_prefix: str = ""
    """Mirror the clients present into a map channel."""
    map_users_presence_channel_prefix: str = ""
    """Mirror the users present into a map channel."""
    map: MapOptions = MapOptions()
    """Options of map channels."""
    shared_poll: SharedPollOptions = SharedPollOptions()
    """Options of shared poll channels."""


def presence_maps(options: NamespaceOptions) -> PresenceMaps | None:
    """Return the maps that mirror presence, if there are any."""
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
        """Return the namespace of a name, and the rest that ``channel_regex`` sees.

        One private prefix is no part of the namespace; a name without namespace is
        its own rest.
        """
        if not self.namespace_boundary:
            return "", channel
        trimmed = channel.removeprefix(self.private_prefix)
        name, found, rest = trimmed.partition(self.namespace_boundary)
        return (name, rest) if found else ("", channel)


@define(eq=False)
class Namespace:
    """One namespace: its options, and what was worked out from them beforehand."""

    options: NamespaceOptions
    channel: ChannelOptions = field(init=False)
    publication: PublishOptions = field(init=False)
    #: How clients change its maps, if they are maps.
    change: MapChange | None = field(default=None, init=False)
    #: What its subscriptions have in common, by the source of the permission.
    forced: dict[int, SubscribeOptions] = field(factory=dict, init=False)
    _rules: ChannelRules
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
    """Finds a channel's namespace by its name."""

    rules: ChannelRules
    _without: Namespace
    _named: Mapping[str, Namespace]

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
        namespaces = {name: Namespace(options, rules) for name, options in named}
        return cls(rules, Namespace(without_namespace, rules), namespaces)

    def find(self, channel: str) -> Namespace:
        """Return the namespace of *channel*.

        :raises ReplyError: 102, there is none of this name.
        """
        name = self.rules.split(channel)[0]
        if not name:
            return self._without
        namespace = self._named.get(name)
        if namespace is None:
            raise ReplyError(UNKNOWN_CHANNEL, "unknown channel namespace")
        return namespace

    def private(self, channel: str) -> bool:
        """Whether *channel* needs a subscription token."""
        prefix = self.rules.private_prefix
        return bool(prefix) and channel.startswith(prefix)
