"""Warnings of channel options: useless, without effect, or expensive."""

from collections.abc import Iterator

from ..access.map_options import MapOptions, SharedPollOptions
from ..access.namespaces import NamespaceOptions
from .model import Config
from .security_warnings import has_keys
from .used_proxies import channel_sections

__all__ = ["channel_warnings"]

#: Publications of one channel's history above which it is worth a warning.
LONG_HISTORY = 10000

_DEFAULT = NamespaceOptions()
_MAPS = ("map", "map_clients", "map_users")
_ALLOWED = ("client", "subscriber")
#: The options that have no effect unless one of others is set.
_NEEDS = (
    ("force_push_join_leave", ("join_leave",)),
    ("force_recovery_mode", ("force_recovery", "allow_recovery")),
    ("allow_recovery", ("history_size",)),
    ("delta_publish", ("allowed_delta_types",)),
    ("allow_subscribe_for_anonymous", ("allow_subscribe_for_client",)),
    *(
        (f"allow_{what}_for_anonymous", [f"allow_{what}_for_{who}" for who in _ALLOWED])
        for what in ("publish", "presence", "history")
    ),
    *((f"allow_presence_for_{who}", ("presence",)) for who in _ALLOWED),
    *((f"allow_history_for_{who}", ("history_size",)) for who in _ALLOWED),
    ("subscribe_stream_proxy_bidirectional", ("subscribe_stream_proxy_enabled",)),
)


def channel_warnings(config: Config) -> Iterator[str]:
    """Yield the mistakes in each namespace that do not prevent the start."""
    reachable = _other_ways(config)
    for path, options in channel_sections(config):
        if options == _DEFAULT:
            continue
        if not (reachable or _can_subscribe(options)):
            yield (
                f"{path}: nobody can subscribe, since there is neither a permission nor"
                " a key for tokens nor a proxy; set allow_subscribe_for_client, or"
                " client.token"
            )
        yield from _ineffective(path, options)
        yield from _expensive(path, options)


def _other_ways(config: Config) -> bool:
    """Whether subscriptions may be allowed by something else than a namespace."""
    client = config.client
    return (
        client.insecure
        or has_keys(client.token)
        or (client.subscription_token.enabled and has_keys(client.subscription_token))
        or client.insecure_skip_token_signature_verify
        or client.proxy.connect.enabled
        or client.subscribe_to_user_personal_channel.enabled
    )


def _can_subscribe(options: NamespaceOptions) -> bool:
    return (
        options.allow_subscribe_for_client
        or options.allow_user_limited_channels
        or options.subscribe_proxy_enabled
        or options.subscribe_stream_proxy_enabled
    )


def _ineffective(path: str, options: NamespaceOptions) -> Iterator[str]:
    for name, needed in _NEEDS:
        value = getattr(options, name)
        if value and not any(getattr(options, other) for other in needed):
            shown = "true" if value is True else f'"{value}"'
            yield f"{path}.{name}: {shown} has no effect without {' or '.join(needed)}"
    if options.map != MapOptions() and options.subscription_type not in _MAPS:
        yield f"{path}.map: has no effect unless subscription_type is one of a map"
    is_polled = options.subscription_type == "shared_poll"
    if options.shared_poll != SharedPollOptions() and not is_polled:
        yield (
            f"{path}.shared_poll: has no effect unless subscription_type is"
            ' "shared_poll"'
        )


def _expensive(path: str, options: NamespaceOptions) -> Iterator[str]:
    if options.join_leave and options.force_push_join_leave:
        company = " and presence" if options.presence else ""
        yield (
            f"{path}.force_push_join_leave: true sends each join and leave to every"
            f" subscriber, so join_leave{company} in a channel of many clients costs"
            " the square of their number; without it only those that ask receive them"
        )
    if options.history_size > LONG_HISTORY:
        yield (
            f"{path}.history_size: {options.history_size} publications are kept for"
            f" each channel; {LONG_HISTORY} or less is usual"
        )
