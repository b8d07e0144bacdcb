"""Options that are set where they have no effect."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from .check_endpoints import internal_address
from .model import Config
from .schema import options_of

__all__ = ["ineffective_options"]

#: Sections that are switched off while their other options stay, on purpose.
_OFTEN_OFF = ("admin", "consumers")


def ineffective_options(config: Config) -> Iterator[str]:
    """Yield each option that is set, but does nothing beside the others."""
    for path in _switched_off(config, ""):
        yield f"{path}: has no effect while {path}.enabled is false"
    yield from _engines(config)
    yield from _tokens(config)
    yield from _transports(config)
    yield from _ports(config)


def _switched_off(section: Struct, path: str) -> Iterator[str]:
    """Yield the sections with options of which ``enabled`` is false."""
    options = options_of(type(section))
    changed = [option for option in options if _is_changed(section, option.name)]
    if not changed:
        return
    if path and not getattr(section, "enabled", True):
        yield path
        return
    for option in changed:
        here = f"{path}.{option.name}".lstrip(".")
        if option.kind == "section" and here not in (*_OFTEN_OFF, *_HANDLED):
            yield from _switched_off(getattr(section, option.name), here)


#: Sections that other rules look at, and say more of.
_HANDLED = (
    *("broker", "presence_manager", "controller", "engine", "map_broker"),
    "client.proxy",
)


def _is_changed(section: Struct, name: str) -> bool:
    option = next(each for each in options_of(type(section)) if each.name == name)
    return bool(getattr(section, name) != option.default)


def _engines(config: Config) -> Iterator[str]:
    """Yield options of backends that are not used."""
    both = config.broker.enabled and config.presence_manager.enabled
    for name in ("engine", "broker", "presence_manager", "map_broker"):
        section: Struct = getattr(config, name)
        kind: str = section.type  # type: ignore[attr-defined]  # all four have it
        is_used = not both if name == "engine" else getattr(section, "enabled", True)
        for option in options_of(type(section)):
            if option.kind != "section" or not _is_changed(section, option.name):
                continue
            path = f"{name}.{option.name}"
            if not is_used:
                why = f"{name}.enabled is false"
                if name == "engine":
                    why = "broker and presence_manager replace the engine"
                yield f"{path}: has no effect, because {why}"
            elif option.name != kind:
                yield f'{path}: has no effect, because {name}.type is "{kind}"'


def _tokens(config: Config) -> Iterator[str]:
    for name in ("token", "subscription_token"):
        token = getattr(config.client, name)
        if token.jwks_public_endpoint:
            for key in ("hmac_secret_key", "rsa_public_key", "ecdsa_public_key"):
                if getattr(token, key):
                    yield (
                        f"client.{name}.{key}: has no effect, because"
                        " jwks_public_endpoint replaces all keys"
                    )
    poll = msgspec.structs.replace(config.shared_poll, concurrency_limit=0)
    channel = config.channel
    is_polled = any(
        options.subscription_type == "shared_poll"
        for options in (channel.without_namespace, *channel.namespaces)
    )
    if poll != type(poll)() and not is_polled:
        yield (
            "shared_poll: has no effect, because no namespace has the subscription_type"
            ' "shared_poll"'
        )


def _transports(config: Config) -> Iterator[str]:
    for name in ("websocket", "uni_websocket"):
        section = getattr(config, name)
        for option in ("compression_min_size", "compression_level"):
            if _is_changed(section, option) and not section.compression:
                yield (
                    f"{name}.{option}: {getattr(section, option)} has no effect while"
                    f" {name}.compression is false"
                )
    streams = config.sse.enabled or config.http_stream.enabled
    if config.emulation != type(config.emulation)() and not streams:
        yield (
            "emulation: has no effect while sse.enabled and http_stream.enabled are"
            " false"
        )


def _ports(config: Config) -> Iterator[str]:
    http = config.http_server
    outside = http.address, str(http.port)
    inside = internal_address(config), http.internal_port or str(http.port)
    if http.internal_tls.enabled and outside == inside:
        yield (
            "http_server.internal_tls: has no effect, because the internal endpoints"
            " share the port of the others; set http_server.internal_port"
        )
    if http.tls_external and not http.tls.enabled:
        yield (
            "http_server.tls_external: true has no effect while http_server.tls.enabled"
            " is false"
        )
