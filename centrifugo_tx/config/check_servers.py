"""Rules of ports, TLS, worker processes, and the places where data is kept.

See configuration rules, "Validation".
"""

from collections.abc import Iterator
from importlib.util import find_spec

from ..options import TLSOptions
from ..tls import server_context
from .findings import Finding, one_of
from .model import Config

__all__ = ["check_servers"]


def check_servers(config: Config) -> Iterator[Finding]:
    """Yield errors in ports, processes and engines."""
    yield from _http(config)
    yield from _workers(config)
    yield from _grpc_ports(config)
    yield from _choices(config)


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


#: The modules that the extra ``grpc`` installs.
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
    yield from one_of("broker.type", config.broker.type, _BROKERS)
    yield from one_of("map_broker.type", config.map_broker.type, _MAP_BROKERS)
    if not (config.broker.enabled and config.presence_manager.enabled):
        yield from one_of("engine.type", config.engine.type, _ENGINES)
    if config.presence_manager.enabled:
        kind = config.presence_manager.type
        yield from one_of("presence_manager.type", kind, _ENGINES)
    if config.controller.enabled:
        yield from one_of("controller.type", config.controller.type, ("postgres",))
    unreleased = config.broker.enabled and config.broker.type == "redisnats"
    if unreleased and not config.enable_unreleased_features:
        yield "broker.type", '"redisnats" needs enable_unreleased_features'
    yield from one_of("http_api.error_mode", config.http_api.error_mode, _MODES)
    yield from one_of("grpc_api.error_mode", config.grpc_api.error_mode, _MODES)


_BROKERS = ("memory", "redis", "nats", "postgres", "redisnats")
_ENGINES = ("memory", "redis")
_MAP_BROKERS = ("memory", "redis", "postgres")
_MODES = ("", "transport")
