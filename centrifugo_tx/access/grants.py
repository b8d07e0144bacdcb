"""What a subscription may do, by the options of its namespace."""

import msgspec

from ..options import SubscribeOptions
from .claims import BoolValue, Override, SubOptions
from .namespaces import Namespace, NamespaceOptions
from .tokens import payload_of

__all__ = [
    "may_publish",
    "may_read_history",
    "may_see_presence",
    "open_to",
    "server_side_options",
    "with_override",
]

_NO_OVERRIDE = Override()
_PLAIN = SubOptions()


def open_to(options: NamespaceOptions, user: str) -> bool:
    """Whether *user* may subscribe without more ado (5, row 9)."""
    return options.allow_subscribe_for_client and bool(
        user or options.allow_subscribe_for_anonymous
    )


def may_publish(options: NamespaceOptions, user: str, subscribed: bool) -> bool:
    """Whether *user* may publish (6, rows 7 and 8)."""
    allowed = options.allow_publish_for_client or (
        options.allow_publish_for_subscriber and subscribed
    )
    return allowed and bool(user or options.allow_publish_for_anonymous)


def may_see_presence(options: NamespaceOptions, user: str, subscribed: bool) -> bool:
    """Whether *user* may see who is there (7)."""
    allowed = options.allow_presence_for_client or (
        options.allow_presence_for_subscriber and subscribed
    )
    return allowed and bool(user or options.allow_presence_for_anonymous)


def may_read_history(options: NamespaceOptions, user: str, subscribed: bool) -> bool:
    """Whether *user* may read history (7)."""
    allowed = options.allow_history_for_client or (
        options.allow_history_for_subscriber and subscribed
    )
    return allowed and bool(user or options.allow_history_for_anonymous)


def server_side_options(
    namespace: Namespace, source: int, given: SubOptions | None = None
) -> SubscribeOptions:
    """Return what a server-side subscription gets: the forced options.

    :raises ValueError: a payload in *given* is no base64.
    """
    options = namespace.options
    given = given or _PLAIN
    base = SubscribeOptions(
        info=payload_of(given.info, given.b64info),
        data=payload_of(given.data, given.b64data),
        presence=options.presence,
        join_leave=options.join_leave,
        push_join_leave=options.force_push_join_leave,
        positioned=options.force_positioning,
        recoverable=options.force_recovery,
        recovery_mode="cache" if options.force_recovery_mode == "cache" else "stream",
        auto_recover=options.auto_cache_recover,
        history_meta_ttl=options.history_meta_ttl,
        delta_types=options.allowed_delta_types,
        tags_filter=options.allow_tags_filter,
        source=source,
    )
    return with_override(base, given.override)


def with_override(
    options: SubscribeOptions, override: Override | None
) -> SubscribeOptions:
    """Replace what *override* names."""
    if override is None or override == _NO_OVERRIDE:
        return options

    def choose(replaced: BoolValue | None, given: bool) -> bool:
        return given if replaced is None else replaced.value

    return msgspec.structs.replace(
        options,
        presence=choose(override.presence, options.presence),
        join_leave=choose(override.join_leave, options.join_leave),
        push_join_leave=choose(override.force_push_join_leave, options.push_join_leave),
        positioned=choose(override.force_positioning, options.positioned),
        recoverable=choose(override.force_recovery, options.recoverable),
    )
