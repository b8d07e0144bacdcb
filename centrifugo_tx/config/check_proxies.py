"""Rules of proxies, and of the places that name them.

See event proxies, "Events", and configuration rules, "Validation".
"""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from ..client_tls import client_tls_creator
from ..durations import format_duration
from ..errors import ConfigError
from ..proxies.http_agent import HTTP_SCHEMES, socket_path
from ..proxies.options import HTTPProxyOptions, ProxyOptions, StatusTransform
from .model import Config
from .used_proxies import proxy_references

__all__ = ["check_proxies", "proxy_warnings"]

Finding = tuple[str, str]

#: The name and the value of a header (RFC 9110, 5.6.2 and 5.5).
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
#: The same of gRPC's metadata; names are sent in lower case.
_METADATA_NAME = re.compile(r"(?!grpc-)[0-9a-zA-Z_.-]+")
_METADATA_VALUE = re.compile(r"[\x20-\x7e]*")


def check_proxies(config: Config) -> Iterator[Finding]:
    """Yield errors in named proxies, and in those that are in use."""
    for index, named in enumerate(config.proxies):
        if named.name == "default":
            yield f"proxies.[{index}].name", '"default" is reserved'
        yield from _proxy(f"proxies.[{index}]", named)
    checked = set()
    for each in proxy_references(config):
        if each.options is None:
            yield each.path, f"{each.name!r} does not exist"
        elif each.enabled and each.name == "default" and each.where not in checked:
            checked.add(each.where)
            yield from _proxy(each.where, each.options)


def proxy_warnings(config: Config) -> Iterator[str]:
    """Yield a line for each proxy that nothing uses, and each name without effect."""
    used = set()
    references = list(proxy_references(config))
    for each in references:
        if each.enabled:
            used.add(each.where)
        elif each.name != "default" and each.options is not None:
            yield f"{each.path}: {each.name!r} has no effect, since it is not enabled"
    for index, named in enumerate(config.proxies):
        if f"proxies.[{index}]" not in used:
            yield f"proxies.[{index}]: nothing uses the proxy {named.name!r}"
    for where in dict.fromkeys(each.where for each in references):
        proxy = next(each.options for each in references if each.where == where)
        default = where and not where.startswith("proxies.")
        if default and proxy is not None and proxy.endpoint and where not in used:
            yield f"{where}.endpoint: nothing uses this proxy"


def _proxy(path: str, proxy: ProxyOptions) -> Iterator[Finding]:
    yield from _endpoint(f"{path}.endpoint", proxy.endpoint)
    if proxy.timeout <= 0:
        given = format_duration(proxy.timeout)
        yield f"{path}.timeout", f"{given} must be greater than 0"
    for option in ("max_concurrent_calls", "max_queued_calls"):
        number: int = getattr(proxy, option)
        if number < 1:
            yield f"{path}.{option}", f"{number} must be at least 1"
    for option in ("http_headers", "emulated_headers"):
        for index, name in enumerate(getattr(proxy, option)):
            if not _TOKEN.fullmatch(name):
                where = f"{path}.{option}.[{index}]"
                yield where, f"{name!r} must be the name of a header"
    if proxy.endpoint and not proxy.endpoint.startswith(HTTP_SCHEMES):
        yield from _grpc(path, proxy)
    yield from _http(f"{path}.http", proxy.http)


def _endpoint(path: str, endpoint: str) -> Iterator[Finding]:
    if not endpoint:
        yield path, "must be set"
        return
    if not endpoint.startswith(HTTP_SCHEMES):
        host, _, port = (
            endpoint.removeprefix("grpc://").partition("/")[0].rpartition(":")
        )
        if endpoint.startswith("grpc://") and not (host and port.isdigit()):
            yield path, f"{endpoint!r} must have a host and a port"
        return
    if endpoint.startswith("http+unix://"):
        if not socket_path(endpoint).startswith("/"):
            yield (
                path,
                f"{endpoint!r} must hold the encoded absolute path of a socket, as in"
                " http+unix://%2Frun%2Fapp.sock/rpc",
            )
        return
    try:
        parts = urlsplit(endpoint)
        valid = bool(parts.hostname) and (parts.port or 0) >= 0 and endpoint.isascii()
    except ValueError:
        valid = False
    if not valid or any(char <= " " for char in endpoint):
        yield path, f"{endpoint!r} must be a URL with a host"


def _grpc(path: str, proxy: ProxyOptions) -> Iterator[Finding]:
    if find_spec("grpc") is None:
        endpoint = proxy.endpoint
        yield (
            f"{path}.endpoint",
            f"{endpoint!r} needs grpcio: pip install centrifugo-tx[grpc]",
        )
    options, where = proxy.grpc, f"{path}.grpc"
    given = {"static_metadata": options.static_metadata}
    if options.credentials_key:
        pair = {options.credentials_key: options.credentials_value}
        given["credentials_key"] = pair
    elif options.credentials_value:
        yield f"{where}.credentials_key", "must be set, as credentials_value is"
    for option, pairs in given.items():
        for name, value in pairs.items():
            if not _METADATA_NAME.fullmatch(name):
                yield f"{where}.{option}", f"{name!r} must be the name of metadata"
            elif not name.endswith("-bin") and not _METADATA_VALUE.fullmatch(value):
                yield f"{where}.{option}", f"{name}: must be printable ASCII"
    tls = options.tls
    if tls.enabled and tls.insecure_skip_verify:
        yield (
            f"{where}.tls.insecure_skip_verify",
            "grpcio always verifies; use server_ca_pem, and server_name if need be",
        )
    if tls.enabled and bool(tls.cert_pem) != bool(tls.key_pem):
        yield f"{where}.tls", "needs both cert_pem and key_pem, or neither"


def _http(path: str, options: HTTPProxyOptions) -> Iterator[Finding]:
    for index, transform in enumerate(options.status_to_code_transforms):
        yield from _transform(f"{path}.status_to_code_transforms.[{index}]", transform)
    for name, value in options.static_headers.items():
        if not _TOKEN.fullmatch(name):
            yield f"{path}.static_headers", f"{name!r} must be the name of a header"
        elif not _VALUE.fullmatch(value):
            yield f"{path}.static_headers", f"{name}: must have no control characters"
    for index, secret in enumerate(options.signature.secrets):
        if not secret:
            yield f"{path}.signature.secrets.[{index}]", "must not be empty"
    if options.tls.enabled:
        try:
            client_tls_creator(options.tls, "localhost")
        except ConfigError as error:
            yield f"{path}.tls", str(error)


def _transform(path: str, transform: StatusTransform) -> Iterator[Finding]:
    if not transform.status_code:
        yield f"{path}.status_code", "must be set"
    if bool(transform.to_error.code) == bool(transform.to_disconnect.code):
        yield path, "needs either to_error.code or to_disconnect.code"
    for option, text in (
        ("to_error.message", transform.to_error.message),
        ("to_disconnect.reason", transform.to_disconnect.reason),
    ):
        if not text.isascii() or len(text) > 123:
            said = f"{text!r} must be ASCII, of at most 123 characters"
            yield f"{path}.{option}", said
