"""Options of namespaces whose channels have keys: maps and shared polls."""

import msgspec

from ..options import Duration, MapRules, PollRules

__all__ = ["MapOptions", "SharedPollOptions"]


#: A number that is never reached.
NO_LIMIT = 2**31


class MapOptions(msgspec.Struct, frozen=True):
    """Options of map channels."""

    mode: str = ""
    """``ephemeral``, ``recoverable`` or ``persistent``."""
    key_ttl: Duration = 0.0
    """How long a key lives without being published again."""
    stream_size: int = 0
    """Maximum number of changes that are kept."""
    stream_ttl: Duration = 0.0
    """How long changes are kept."""
    meta_ttl: Duration = 0.0
    """How long an unused map keeps its position."""
    remove_client_on_unsubscribe: bool = False
    """Remove a client's key when the client unsubscribes."""
    client_key: str = ""
    """``client_id`` or ``user_id``: the only key that a client may publish."""
    allow_publish_for_client: bool = False
    """Every client may publish keys."""
    allow_publish_for_subscriber: bool = False
    """Subscribers may publish keys."""
    allow_publish_for_anonymous: bool = False
    """Extend the permissions to publish to anonymous users."""
    allow_remove_for_client: bool = False
    """Every client may remove keys."""
    allow_remove_for_subscriber: bool = False
    """Subscribers may remove keys."""
    allow_remove_for_anonymous: bool = False
    """Extend the permissions to remove to anonymous users."""
    publish_proxy_enabled: bool = False
    """Call the backend for each publication of a key."""
    publish_proxy_name: str = "default"
    """Name of the backend to call."""
    remove_proxy_enabled: bool = False
    """Call the backend for each removal of a key."""
    remove_proxy_name: str = "default"
    """Name of the backend to call."""
    default_page_size: int = 0
    """Entries in a page unless the client requests a number."""
    min_page_size: int = 0
    """Minimum number of entries in a page."""
    max_page_size: int = 0
    """Maximum number of entries in a page."""
    live_transition_max_publication_limit: int = 0
    """Maximum number of changes in the transition to live; negative: no limit."""
    subscribe_catch_up_timeout: Duration = 0.0
    """Timeout of catching up; negative: none."""

    def rules(self) -> MapRules:
        """Return the rules of a map, with the defaults filled in."""
        meta_ttl, most = self.meta_ttl, self.max_page_size or 1000
        stream_ttl = self.stream_ttl or 60.0
        if not meta_ttl and self.mode != "persistent":
            meta_ttl = max(10 * stream_ttl, self.key_ttl)
        limit = self.live_transition_max_publication_limit or most
        return MapRules(
            stream_size=0 if self.mode == "ephemeral" else self.stream_size or 100,
            stream_ttl=stream_ttl,
            meta_ttl=meta_ttl,
            key_ttl=self.key_ttl,
            page_size=self.default_page_size or 100,
            min_page_size=self.min_page_size or 100,
            max_page_size=most,
            live_limit=limit if limit >= 0 else NO_LIMIT,
            catch_up=self.subscribe_catch_up_timeout or 5.0,
            own_keys=self.remove_client_on_unsubscribe,
        )


class SharedPollOptions(msgspec.Struct, frozen=True):
    """Options of shared poll channels."""

    proxy_name: str = ""
    """Name of the backend to poll."""
    refresh_interval: Duration = 0.0
    """Interval between polls."""
    refresh_batch_size: int = 0
    """Maximum number of keys in one poll."""
    max_keys_per_connection: int = 0
    """Maximum number of keys that one client may track."""
    mode: str = ""
    """``versionless`` or ``versioned``."""
    channel_shutdown_delay: Duration = 0.0
    """How long polling continues without subscribers."""
    track_expired_extra_delay: Duration = 0.0
    """How long an expired signature is still accepted."""
    publish_enabled: bool = False
    """Allow the server API to publish keys."""

    def rules(self) -> PollRules:
        """Return the rules of polling, with the defaults filled in."""
        return PollRules(
            interval=self.refresh_interval or 10.0,
            batch=self.refresh_batch_size or 1000,
            max_keys=self.max_keys_per_connection or 5000,
            versioned=self.mode == "versioned",
            linger=self.channel_shutdown_delay or 1.0,
            grace=self.track_expired_extra_delay or 25.0,
            publish=self.publish_enabled,
        )
