"""Permissions of subscriptions and users, by the options of the namespace."""

import msgspec

from ..interfaces import IClient
from ..options import SubscribeOptions
from ..protocol.messages import SubscribeRequest
from .claims import SubOptions
from .namespaces import Namespace, NamespaceOptions
from .tokens import payload_of

__all__ = [
    "allowed_key",
    "cap_expiry",
    "grant",
    "may_change_map",
    "may_publish",
    "may_read_history",
    "may_see_presence",
    "may_subscribe",
    "server_side_options",
]

#: Maximum lifetime of connections and subscriptions, in seconds.
MAX_LIFETIME = 365 * 24 * 3600

_PLAIN = SubOptions()


def cap_expiry(end: int, now: float) -> int:
    """Limit an expiry time to `MAX_LIFETIME` from now; 0 is none."""
    return min(max(0, end), int(now) + MAX_LIFETIME)


def may_subscribe(options: NamespaceOptions, user: str) -> bool:
    """Whether *user* may subscribe without a token (permissions, "Subscribing")."""
    return options.allow_subscribe_for_client and bool(
        user or options.allow_subscribe_for_anonymous
    )


def may_publish(options: NamespaceOptions, user: str, subscribed: bool) -> bool:
    """Whether *user* may publish (permissions, "Publishing")."""
    allowed = options.allow_publish_for_client or (
        options.allow_publish_for_subscriber and subscribed
    )
    return allowed and bool(user or options.allow_publish_for_anonymous)


def may_change_map(
    options: NamespaceOptions, user: str, subscribed: bool, removed: bool
) -> bool:
    """Whether *user* may publish keys, or remove them."""
    own = options.map
    if removed:
        allowed = own.allow_remove_for_client or (
            own.allow_remove_for_subscriber and subscribed
        )
        return allowed and bool(user or own.allow_remove_for_anonymous)
    allowed = own.allow_publish_for_client or (
        own.allow_publish_for_subscriber and subscribed
    )
    return allowed and bool(user or own.allow_publish_for_anonymous)


def allowed_key(options: NamespaceOptions, client: IClient, key: str) -> str:
    """Return the key that a client may change when it requests *key*; empty: none."""
    if options.map.client_key == "client_id":
        return client.id
    return client.user if options.map.client_key == "user_id" else key


def may_see_presence(options: NamespaceOptions, user: str, subscribed: bool) -> bool:
    """Whether *user* may read presence (permissions, "Presence and history")."""
    allowed = options.allow_presence_for_client or (
        options.allow_presence_for_subscriber and subscribed
    )
    return allowed and bool(user or options.allow_presence_for_anonymous)


def may_read_history(options: NamespaceOptions, user: str, subscribed: bool) -> bool:
    """Whether *user* may read history (permissions, "Presence and history")."""
    allowed = options.allow_history_for_client or (
        options.allow_history_for_subscriber and subscribed
    )
    return allowed and bool(user or options.allow_history_for_anonymous)


def server_side_options(
    namespace: Namespace, source: int, given: SubOptions | None = None
) -> SubscribeOptions:
    """Return the options of a server-side subscription: the forced options.

    :raises ValueError: a payload in *given* is not base64.
    """
    if given is None:
        # All subscriptions without anything of their own share one object.
        shared = namespace.forced.get(source)
        if shared is None:
            shared = namespace.forced[source] = _forced(namespace, source, _PLAIN)
        return shared
    return _forced(namespace, source, given)


def _forced(namespace: Namespace, source: int, given: SubOptions) -> SubscribeOptions:
    options = namespace.options
    base = SubscribeOptions(
        info=payload_of(given.info, given.b64info),
        data=payload_of(given.data, given.b64data),
        presence=options.presence,
        join_leave=options.join_leave,
        push_join_leave=options.force_push_join_leave,
        positioned=options.force_positioning or options.receipts,
        recoverable=options.force_recovery,
        recovery_mode="cache" if options.force_recovery_mode == "cache" else "stream",
        history_meta_ttl=options.history_meta_ttl,
        delta_types=options.allowed_delta_types,
        tags_filter=options.allow_tags_filter,
        server_side_refresh=options.sub_refresh_proxy_enabled,
        source=source,
        presence_maps=namespace.channel.presence_maps,
        receipts_ttl=namespace.channel.receipts_ttl,
        receipts_ping=options.receipts_ping,
    )
    if given.override is not None:
        base = given.override.apply(base)
    return _with_auto_recover(base, options)


def grant(
    base: SubscribeOptions,
    options: NamespaceOptions,
    user: str,
    request: SubscribeRequest,
    insecure: bool,
) -> SubscribeOptions:
    """Add the requested features that are allowed (permissions, "Granted extras").

    The permissions of subscribers apply, since the client is about to be one.
    """
    if not (request.positioned or request.recoverable or request.join_leave):
        return base
    history = insecure or may_read_history(options, user, subscribed=True)
    presence = insecure or may_see_presence(options, user, subscribed=True)
    positioned = request.positioned and (options.allow_positioning or history)
    recoverable = request.recoverable and (options.allow_recovery or history)
    join_leave = request.join_leave and options.join_leave and presence
    granted = msgspec.structs.replace(
        base,
        positioned=base.positioned or positioned,
        recoverable=base.recoverable or recoverable,
        push_join_leave=base.push_join_leave or join_leave,
    )
    return _with_auto_recover(granted, options)


def _with_auto_recover(
    granted: SubscribeOptions, options: NamespaceOptions
) -> SubscribeOptions:
    """Enable automatic recovery where it applies: in recoverable cache mode."""
    if not (
        options.auto_cache_recover
        and granted.recoverable
        and granted.recovery_mode == "cache"
    ):
        return granted
    return msgspec.structs.replace(granted, auto_recover=True)
