"""All errors of a configuration, found before the start.

Errors that the reference finds only while starting are found here too (configuration
rules, "Validation").  All errors are reported together, one per line.
"""

import re
from collections.abc import Callable, Iterator

from ..errors import ConfigError
from .channel_warnings import channel_warnings
from .check_admin import check_admin
from .check_channels import check_channel_options
from .check_clients import check_clients
from .check_consumers import check_consumers
from .check_endpoints import check_paths, check_ports
from .check_monitoring import check_monitoring
from .check_proxies import check_proxies, proxy_warnings
from .check_servers import check_servers
from .findings import Finding, named, one_of, regex, whole
from .ineffective_options import ineffective_options
from .model import Config
from .security_warnings import security_warnings
from .server_warnings import server_warnings
from .tls_sections import check_outgoing_tls
from .used_proxies import channel_sections

__all__ = ["check", "problems", "warnings"]

_NAME = re.compile(r"[-a-zA-Z0-9_.]{2,}")
_CONSUMER_NAME = re.compile(r"[a-zA-Z0-9_]{2,}")
_CONSUMER_TYPES = (
    "postgresql",
    "kafka",
    "nats_jetstream",
    "google_pub_sub",
    "aws_sqs",
    "azure_service_bus",
    "redis_stream",
)


def check(config: Config) -> None:
    """Return if the configuration can be run.

    :raises ConfigError: with one line per problem.
    """
    found = problems(config)
    if found:
        raise ConfigError("\n".join(found))


def problems(config: Config) -> list[str]:
    """Return one line per problem: the option, and the requirement."""
    return [f"{path}: {message}" for rule in _RULES for path, message in rule(config)]


def warnings(config: Config) -> list[str]:
    """Return one line for each fact that an operator should know.

    Each names the option, its value, and the recommendation.
    """
    rules = (
        *(security_warnings, server_warnings, channel_warnings, proxy_warnings),
        ineffective_options,
    )
    found = [line for rule in rules for line in rule(config)]
    return list(dict.fromkeys(found))


def _channels(config: Config) -> Iterator[Finding]:
    names = [namespace.name for namespace in config.channel.namespaces]
    yield from named("channel.namespaces", names, _NAME)
    yield from whole("channel.history_meta_ttl", config.channel.history_meta_ttl)
    form = config.channel.publication_data_format
    yield from one_of("channel.publication_data_format", form, _FORMATS)
    for path, options in channel_sections(config):
        for name, message in check_channel_options(options, config):
            yield f"{path}.{name}", message
        if options.channel_regex:
            yield from regex(f"{path}.channel_regex", options.channel_regex)


_FORMATS = ("", "json", "json_object", "binary")


def _proxies(config: Config) -> Iterator[Finding]:
    yield from named("proxies", [proxy.name for proxy in config.proxies], _NAME)
    yield from check_proxies(config)
    yield from named(
        "rpc.namespaces", [item.name for item in config.rpc.namespaces], _NAME
    )


def _consumers(config: Config) -> Iterator[Finding]:
    names = [consumer.name for consumer in config.consumers]
    yield from named("consumers", names, _CONSUMER_NAME)
    for index, consumer in enumerate(config.consumers):
        yield from one_of(f"consumers.[{index}].type", consumer.type, _CONSUMER_TYPES)
    yield from check_consumers(config)


_RULES: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    *(check_servers, check_paths, check_ports, check_admin, check_clients),
    *(_channels, _proxies, _consumers, check_monitoring, check_outgoing_tls),
)
