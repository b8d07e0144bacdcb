"""Rules among the options of a channel's namespace.

See configuration rules, "Validation".
"""

from collections.abc import Iterator

from ..access.namespaces import NamespaceOptions
from ..durations import format_duration
from .findings import Finding
from .model import Config

__all__ = ["check_channel_options", "uses_maps"]

_MAPS = ("map", "map_clients", "map_users")


def uses_maps(config: Config) -> bool:
    """Whether any channel can hold a map."""
    channel = config.channel
    return any(
        options.subscription_type in _MAPS
        for options in (channel.without_namespace, *channel.namespaces)
    )


def check_channel_options(
    options: NamespaceOptions, config: Config
) -> Iterator[Finding]:
    """Yield the name of each invalid option, and the requirement."""
    yield from _history(options, config.channel.history_meta_ttl)
    yield from _choices(options)
    stream = options.subscribe_stream_proxy_enabled
    if stream and (
        options.subscribe_proxy_enabled
        or options.publish_proxy_enabled
        or options.sub_refresh_proxy_enabled
    ):
        yield (
            "subscribe_stream_proxy_enabled",
            "cannot be used together with the subscribe, publish or sub_refresh proxy",
        )
    if stream and _stream_endpoint(options, config).startswith("http"):
        yield "subscribe_stream_proxy_name", "must name a proxy that speaks gRPC"
    yield from _shared_poll(options, config)
    if options.subscription_type in _MAPS or options.map.mode:
        yield from _map(options)
    yield from _map_pages(options)
    yield from _presence_prefixes(options, config)


def _history(options: NamespaceOptions, global_meta_ttl: float) -> Iterator[Finding]:
    size, ttl = options.history_size, options.history_ttl
    for name in ("history_ttl", "history_meta_ttl"):
        seconds: float = getattr(options, name)
        if seconds > 0 and not seconds.is_integer():
            yield name, f"{format_duration(seconds)} must be whole seconds"
    if bool(size) != bool(ttl):
        missing = "history_ttl" if size else "history_size"
        yield missing, "must be set, since history needs both size and TTL"
    meta_ttl = options.history_meta_ttl or global_meta_ttl
    if meta_ttl < ttl:
        yield (
            "history_ttl",
            f"{format_duration(ttl)} must not be greater than history_meta_ttl"
            f" ({format_duration(meta_ttl)})",
        )
    if options.receipts and not (size and ttl):
        yield "receipts", "needs history_size and history_ttl"
    if options.receipts and options.subscription_type not in ("", "stream"):
        yield "receipts", "needs the subscription type stream"
    if options.receipts_ping and not options.receipts:
        yield "receipts_ping", "needs receipts"
    if options.force_recovery and not (size and ttl):
        yield "force_recovery", "needs history_size and history_ttl"
    if options.auto_cache_recover and not (
        options.force_recovery and options.force_recovery_mode == "cache"
    ):
        yield "auto_cache_recover", 'needs force_recovery and the mode "cache"'


_CHOICES = {
    "force_recovery_mode": ("", "stream", "cache"),
    "publication_data_format": ("", "json", "json_object", "binary"),
    "subscription_type": ("", "stream", *_MAPS, "shared_poll"),
}


def _choices(options: NamespaceOptions) -> Iterator[Finding]:
    for name, choices in _CHOICES.items():
        value = getattr(options, name)
        if value not in choices:
            allowed = ", ".join(choice for choice in choices if choice)
            yield name, f"{value!r} must be one of: {allowed}"
    for kind in options.allowed_delta_types:
        if kind != "fossil":
            yield "allowed_delta_types", f"{kind!r} must be fossil"


def _stream_endpoint(options: NamespaceOptions, config: Config) -> str:
    name = options.subscribe_stream_proxy_name
    if name == "default":
        return config.channel.proxy.subscribe_stream.endpoint
    named = (proxy.endpoint for proxy in config.proxies if proxy.name == name)
    return next(named, "")


def _shared_poll(options: NamespaceOptions, config: Config) -> Iterator[Finding]:
    if options.subscription_type != "shared_poll":
        return
    poll = options.shared_poll
    if not config.shared_poll.hmac_secret_key:
        yield "subscription_type", "shared_poll needs shared_poll.hmac_secret_key"
    if poll.mode not in ("", "versionless", "versioned"):
        yield "shared_poll.mode", f"{poll.mode!r} must be versionless or versioned"
    if poll.refresh_interval < 0:
        interval = format_duration(poll.refresh_interval)
        yield "shared_poll.refresh_interval", f"{interval} must not be negative"
    for name in ("refresh_batch_size", "max_keys_per_connection"):
        if (value := getattr(poll, name)) < 0:
            yield f"shared_poll.{name}", f"{value} must not be negative"
    if poll.publish_enabled and poll.mode != "versioned":
        yield "shared_poll.publish_enabled", "requires the mode versioned"


def _map(options: NamespaceOptions) -> Iterator[Finding]:
    own = options.map
    if own.mode not in ("ephemeral", "recoverable", "persistent"):
        yield "map.mode", f"{own.mode!r} must be ephemeral, recoverable or persistent"
    if own.mode in ("ephemeral", "recoverable") and own.key_ttl <= 0:
        yield "map.key_ttl", f"must be set with the mode {own.mode}"
    if own.mode == "persistent":
        if own.key_ttl:
            yield "map.key_ttl", "must not be set with the mode persistent"
        if options.subscription_type in ("map_clients", "map_users"):
            yield (
                "map.mode",
                f"persistent cannot be combined with {options.subscription_type}",
            )
    for name in ("stream_size", "stream_ttl", "meta_ttl"):
        value = getattr(own, name)
        shown = value if name == "stream_size" else format_duration(value)
        if value < 0:
            yield f"map.{name}", f"{shown} must not be negative"
        elif value and own.mode == "ephemeral":
            yield f"map.{name}", f"{shown} must be 0 with the mode ephemeral"
    least = max(own.stream_ttl or 60.0, own.key_ttl)
    if own.meta_ttl and own.mode == "persistent":
        yield "map.meta_ttl", "must not be set with the mode persistent"
    elif 0 < own.meta_ttl < least and own.mode != "ephemeral":
        given = format_duration(own.meta_ttl)
        yield "map.meta_ttl", f"{given} must be at least {format_duration(least)}"
    if own.client_key not in ("", "client_id", "user_id"):
        yield "map.client_key", f"{own.client_key!r} must be client_id or user_id"
    if own.client_key and (own.publish_proxy_enabled or own.remove_proxy_enabled):
        yield "map.client_key", "cannot be combined with the proxies of maps"


def _map_pages(options: NamespaceOptions) -> Iterator[Finding]:
    own = options.map
    if own.remove_client_on_unsubscribe and options.subscription_type not in _MAPS:
        yield (
            "map.remove_client_on_unsubscribe",
            "requires a subscription_type of a map",
        )
    sizes = [own.min_page_size, own.default_page_size, own.max_page_size]
    given = [size for size in sizes if size]
    if given != sorted(given) or min(sizes) < 0:
        yield (
            "map.default_page_size",
            f"{own.default_page_size} must lie between min_page_size"
            f" ({own.min_page_size}) and max_page_size ({own.max_page_size}), none"
            " negative",
        )


def _presence_prefixes(options: NamespaceOptions, config: Config) -> Iterator[Finding]:
    types = {item.name: item.subscription_type for item in config.channel.namespaces}
    types[""] = config.channel.without_namespace.subscription_type
    for kind in ("map_clients", "map_users"):
        prefix = getattr(options, f"{kind}_presence_channel_prefix")
        if not prefix:
            continue
        name, found, _ = prefix.partition(config.channel.namespace_boundary)
        if types.get(name if found else "") != kind:
            yield (
                f"{kind}_presence_channel_prefix",
                f"{prefix!r} must lead to a namespace of the type {kind}",
            )
