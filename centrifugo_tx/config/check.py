"""Rules between options: everything that is wrong, found before the start.

What the reference finds only while starting is found here too (configuration rules,
"Validation"), and all problems come at once, a line each.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec

import re2
from twisted.internet.task import Clock

from ..access.jwks import unsafe_template
from ..access.namespaces import NamespaceOptions
from ..access.tokens import TokenOptions, static_keys
from ..durations import format_duration
from ..errors import ConfigError
from ..globs import compile_glob
from ..options import TLSOptions
from ..tls import server_context
from ..transports.uni_response_stream import CodeToResponseTransforms
from ..transports.websocket import level_of
from .check_admin import check_admin
from .check_channels import check_channel_options, uses_maps
from .check_consumers import check_consumers
from .check_endpoints import check_paths, check_ports
from .check_monitoring import check_monitoring
from .check_proxies import check_proxies, proxy_warnings
from .model import Config
from .used_proxies import channel_sections

__all__ = ["channel_sections", "check", "problems", "scope_warnings", "warnings"]

#: Where it is, and what is wrong there.
Finding = tuple[str, str]

_NAME = re.compile(r"[-a-zA-Z0-9_.]{2,}")
_CONSUMER_NAME = re.compile(r"[a-zA-Z0-9_]{2,}")
_CLAIM = re.compile(r"[a-zA-Z_]+")
_CONSUMER_TYPES = (
    "postgresql",
    "kafka",
    "nats_jetstream",
    "google_pub_sub",
    "aws_sqs",
    "azure_service_bus",
    "redis_stream",
)
_BROKERS = ("memory", "redis", "nats", "postgres", "redisnats")
_LEVELS = ("none", "trace", "debug", "info", "warn", "error", "fatal")


def check(config: Config) -> None:
    """Return if the configuration can be run.

    :raises ConfigError: with one line per problem.
    """
    found = problems(config)
    if found:
        raise ConfigError("\n".join(found))


def problems(config: Config) -> list[str]:
    """Return one line per problem: the option, and what would be right."""
    return [f"{path}: {message}" for rule in _RULES for path, message in rule(config)]


def warnings(config: Config) -> list[str]:
    """Return one line for each thing that an operator should know of."""
    found = [
        f"INSECURE {name} mode enabled, this must not be used in production"
        for name, on in (
            ("client", config.client.insecure),
            ("HTTP API", config.http_api.insecure),
            ("admin", config.admin.insecure),
            (
                "token signature",
                config.client.insecure_skip_token_signature_verify,
            ),
        )
        if on
    ]
    token = config.client.token
    reason = unsafe_template(
        token.jwks_public_endpoint, [token.issuer_regex, token.audience_regex]
    )
    if reason and token.insecure_skip_jwks_endpoint_safety_check:
        found.append(f"client.token.jwks_public_endpoint: {reason}")
    for name in ("websocket", "uni_websocket"):
        level = getattr(config, name).compression_level
        if level != level_of(level):
            found.append(
                f"{name}.compression_level: {level} is not a level from -1 to 9;"
                f" using {level_of(level)}"
            )
    if config.debug.enabled:
        found.append("debug endpoints are enabled")
    if config.client.allowed_origins == ("*",):
        found.append(
            'client.allowed_origins: "*" allows pages of every origin to connect'
        )
    if config.log.level.lower() not in _LEVELS:
        found.append(f"log.level: {config.log.level!r} is unknown; using info")
    found += proxy_warnings(config)
    return found + scope_warnings(config)


def scope_warnings(config: Config) -> list[str]:
    """Return one line for each thing that nodes keep apart though they share others."""
    engine = config.broker if config.broker.enabled else config.engine
    if config.map_broker.type != "memory" or not uses_maps(config):
        return []
    if engine.type == "memory":
        return []
    return [
        'map_broker.type: maps are kept in memory ("memory"), so nodes that share'
        f' channels through "{engine.type}" each have maps of their own;'
        ' set "redis" to share them'
    ]


def _http(config: Config) -> Iterator[Finding]:
    http = config.http_server
    if http.h2c_external:
        if http.internal_port in ("", str(http.port)):
            yield (
                "http_server.h2c_external",
                "requires an internal_port that differs from port",
            )
        if http.tls.enabled:
            yield "http_server.h2c_external", "cannot be used together with tls"
    if not 0 < http.port < 65536:
        yield "http_server.port", f"{http.port} must be between 1 and 65535"
    if http.internal_port and not (
        http.internal_port.isascii()
        and http.internal_port.isdigit()
        and 0 < int(http.internal_port) < 65536
    ):
        yield (
            "http_server.internal_port",
            f"{http.internal_port!r} must be a number between 1 and 65535",
        )
    for name in ("tls", "internal_tls"):
        tls = getattr(http, name)
        yield from _tls(f"http_server.{name}", tls)
    if http.http3.enabled and not http.tls.enabled:
        yield "http_server.http3.enabled", "needs http_server.tls"
    if config.webtransport.enabled and not http.http3.enabled:
        yield "webtransport.enabled", "needs http_server.http3"


def _tls(path: str, options: TLSOptions) -> Iterator[Finding]:
    """Check the encryption of one of our own ports."""
    if not options.enabled:
        return
    if not (options.cert_pem and options.key_pem):
        yield path, "needs cert_pem and key_pem"
        return
    try:
        server_context(options)
    except ValueError as error:
        option, said = error.args
        yield f"{path}.{option}", said


def _grpc_ports(config: Config) -> Iterator[Finding]:
    for name in ("grpc_api", "uni_grpc"):
        options = getattr(config, name)
        if not options.enabled:
            continue
        if any(find_spec(module) is None for module in _GRPC_MODULES):
            yield (
                f"{name}.enabled",
                "needs grpcio and its companions: pip install centrifugo-tx[grpc]",
            )
        if not 0 < options.port < 65536:
            yield f"{name}.port", f"{options.port} must be between 1 and 65535"
        size = options.max_receive_message_size
        if not 0 <= size < 2**31:
            yield (
                f"{name}.max_receive_message_size",
                f"{size} must be between 0 and {2**31 - 1}",
            )
        yield from _tls(f"{name}.tls", options.tls)


#: What the extra ``grpc`` installs.
_GRPC_MODULES = ("grpc", "grpc_reflection", "grpc_status")


def _workers(config: Config) -> Iterator[Finding]:
    text = config.workers
    if text == "auto":
        return
    if not (text.isascii() and text.isdigit() and int(text) <= _MOST_WORKERS):
        yield (
            "workers",
            f'{text!r} must be "auto", or a whole number from 0 to {_MOST_WORKERS}',
        )


_MOST_WORKERS = 256


def _choices(config: Config) -> Iterator[Finding]:
    yield from _one_of("broker.type", config.broker.type, _BROKERS)
    yield from _one_of("map_broker.type", config.map_broker.type, _MAP_BROKERS)
    if not (config.broker.enabled and config.presence_manager.enabled):
        yield from _one_of("engine.type", config.engine.type, _ENGINES)
    if config.presence_manager.enabled:
        kind = config.presence_manager.type
        yield from _one_of("presence_manager.type", kind, _ENGINES)
    if config.controller.enabled:
        yield from _one_of("controller.type", config.controller.type, ("postgres",))
    unreleased = config.broker.enabled and config.broker.type == "redisnats"
    if unreleased and not config.enable_unreleased_features:
        yield "broker.type", '"redisnats" needs enable_unreleased_features'
    yield from _one_of("http_api.error_mode", config.http_api.error_mode, _MODES)
    yield from _one_of("grpc_api.error_mode", config.grpc_api.error_mode, _MODES)


_ENGINES = ("memory", "redis")
_MAP_BROKERS = ("memory", "redis", "postgres")
_MODES = ("", "transport")


def _client(config: Config) -> Iterator[Finding]:
    client = config.client
    if client.pong_timeout > 0 and client.ping_interval <= client.pong_timeout:
        yield (
            "client.ping_interval",
            f"{format_duration(client.ping_interval)} must be greater than"
            f" client.pong_timeout ({format_duration(client.pong_timeout)})",
        )
    for index, pattern in enumerate(client.allowed_origins):
        try:
            compile_glob(pattern)
        except ValueError as error:
            yield f"client.allowed_origins.[{index}]", f"{pattern!r} {error}"
    yield from _personal(config)
    transforms = client.connect_code_to_unidirectional_disconnect.transforms
    where = "client.connect_code_to_unidirectional_disconnect.transforms"
    for index, transform in enumerate(transforms):
        place = f"{where}.[{index}]"
        if not transform.code:
            yield f"{place}.code", "must be set"
        if not transform.to.code:
            yield f"{place}.to.code", "must be set"
        yield from _short(f"{place}.to.reason", transform.to.reason)
    for name in ("uni_sse", "uni_http_stream"):
        responses: CodeToResponseTransforms = getattr(
            config, name
        ).connect_code_to_http_response
        for index, response in enumerate(responses.transforms):
            place = f"{name}.connect_code_to_http_response.transforms.[{index}]"
            if not response.code:
                yield f"{place}.code", "must be set"
            if not response.to.status_code:
                yield f"{place}.to.status_code", "must be set"


def _personal(config: Config) -> Iterator[Finding]:
    personal = config.client.subscribe_to_user_personal_channel
    where = "client.subscribe_to_user_personal_channel"
    name = personal.personal_channel_namespace
    options: NamespaceOptions | None = config.channel.without_namespace
    if personal.enabled and name:
        options = next(
            (item for item in config.channel.namespaces if item.name == name), None
        )
        if options is None:
            yield f"{where}.personal_channel_namespace", f"{name!r} does not exist"
    if personal.single_connection and options is not None and not options.presence:
        yield f"{where}.single_connection", "needs presence in the personal channel"


def _channels(config: Config) -> Iterator[Finding]:
    names = [namespace.name for namespace in config.channel.namespaces]
    yield from _named("channel.namespaces", names, _NAME)
    yield from _whole("channel.history_meta_ttl", config.channel.history_meta_ttl)
    form = config.channel.publication_data_format
    yield from _one_of("channel.publication_data_format", form, _FORMATS)
    for path, options in channel_sections(config):
        for name, message in check_channel_options(options, config):
            yield f"{path}.{name}", message
        if options.channel_regex:
            yield from _regex(f"{path}.channel_regex", options.channel_regex)


_FORMATS = ("", "json", "json_object", "binary")


def _proxies(config: Config) -> Iterator[Finding]:
    yield from _named("proxies", [proxy.name for proxy in config.proxies], _NAME)
    yield from check_proxies(config)
    names = {"default", *(proxy.name for proxy in config.proxies)}
    for path, options in channel_sections(config):
        name = options.subscribe_stream_proxy_name
        if name not in names:
            yield f"{path}.subscribe_stream_proxy_name", f"{name!r} does not exist"
    yield from _named(
        "rpc.namespaces", [item.name for item in config.rpc.namespaces], _NAME
    )


def _consumers(config: Config) -> Iterator[Finding]:
    names = [consumer.name for consumer in config.consumers]
    yield from _named("consumers", names, _CONSUMER_NAME)
    for index, consumer in enumerate(config.consumers):
        yield from _one_of(f"consumers.[{index}].type", consumer.type, _CONSUMER_TYPES)
    yield from check_consumers(config)


def _tokens(config: Config) -> Iterator[Finding]:
    yield from _token("client.token", config.client.token)
    if config.client.subscription_token.enabled:
        yield from _token("client.subscription_token", config.client.subscription_token)


def _token(path: str, token: TokenOptions) -> Iterator[Finding]:
    if token.user_id_claim and not _CLAIM.fullmatch(token.user_id_claim):
        claim = token.user_id_claim
        yield f"{path}.user_id_claim", f"{claim!r} must match ^{_CLAIM.pattern}$"
    for name in ("audience", "issuer"):
        expression = getattr(token, f"{name}_regex")
        if expression and getattr(token, name):
            yield f"{path}.{name}_regex", f"cannot be used together with {name}"
        if expression:
            yield from _regex(f"{path}.{name}_regex", expression)
    for name in ("rsa_public_key", "ecdsa_public_key"):
        only = {name: getattr(token, name)}
        try:
            static_keys(TokenOptions(**only), Clock())
        except ValueError:
            yield f"{path}.{name}", "must be a public key of this kind in PEM"
    yield from _key_set(path, token)


def _key_set(path: str, token: TokenOptions) -> Iterator[Finding]:
    url = token.jwks_public_endpoint
    if url and not url.startswith(("http://", "https://")):
        yield f"{path}.jwks_public_endpoint", "must begin with http:// or https://"
    reason = unsafe_template(url, [token.issuer_regex, token.audience_regex])
    if reason and not token.insecure_skip_jwks_endpoint_safety_check:
        yield (
            f"{path}.jwks_public_endpoint",
            f"could be manipulated by tokens: {reason}",
        )


_RULES: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    *(_http, check_paths, check_ports, _workers, _grpc_ports, _choices, check_admin),
    *(_tokens, _client),
    *(_channels, _proxies, _consumers, check_monitoring),
)


def _one_of(path: str, value: str, choices: Sequence[str]) -> Iterator[Finding]:
    if value not in choices:
        allowed = ", ".join(json.dumps(choice) for choice in choices)
        yield path, f"{json.dumps(value)} must be one of {allowed}"


def _named(path: str, names: list[str], form: re.Pattern[str]) -> Iterator[Finding]:
    for index, name in enumerate(names):
        if not form.fullmatch(name):
            yield f"{path}.[{index}].name", f"{name!r} must match ^{form.pattern}$"
        if name in names[:index]:
            yield f"{path}.[{index}].name", f"{name!r} is used twice"


def _whole(path: str, seconds: float) -> Iterator[Finding]:
    if seconds > 0 and not seconds.is_integer():
        yield path, f"{format_duration(seconds)} must be whole seconds"


def _short(path: str, text: str) -> Iterator[Finding]:
    if not text.isascii() or len(text) > 123:
        yield path, f"{text!r} must be ASCII, of at most 123 characters"


def _regex(path: str, pattern: str) -> Iterator[Finding]:
    try:
        re2.compile(pattern)
    except re2.error as error:
        yield path, f"{pattern!r} is not a valid RE2 expression: {error}"
