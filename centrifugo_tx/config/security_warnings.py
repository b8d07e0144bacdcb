"""Warnings of options that let strangers in."""

from collections.abc import Iterator

from msgspec import Struct

from ..access.jwks import unsafe_template
from ..access.tokens import TokenOptions
from ..options import TLSOptions
from .check_endpoints import internal_address, is_loopback
from .model import Config
from .schema import options_of

__all__ = ["security_warnings"]

#: Bytes of a secret below which it may be guessed (RFC 7518, 3.2, for HS256).
ENOUGH = 32
#: Patterns that match the origin of every page.
_EVERY_ORIGIN = ("*", "*://*", "http*://*", "https://*", "http://*")


def security_warnings(config: Config) -> Iterator[str]:
    """Yield insecure modes, short secrets, open origins and unverified certificates."""
    yield from _insecure_modes(config)
    yield from _in_company(config)
    yield from _short_secrets(config)
    yield from _origins(config)
    yield from _key_sets(config)
    for path in _unverified(config, ""):
        yield (
            f"{path}.insecure_skip_verify: true accepts the certificate of anybody;"
            f" set {path}.server_ca_pem to the authority of the server"
        )


def _insecure_modes(config: Config) -> Iterator[str]:
    client = config.client
    for name, on in (
        ("client", client.insecure),
        ("HTTP API", config.http_api.insecure),
        ("admin", config.admin.insecure),
        ("token signature", client.insecure_skip_token_signature_verify),
    ):
        if on:
            yield f"INSECURE {name} mode enabled, this must not be used in production"
    if config.debug.enabled:
        yield "debug endpoints are enabled"


def _in_company(config: Config) -> Iterator[str]:
    """Yield options that make an insecure mode worse, or have no effect with it."""
    client, http = config.client, config.http_server
    for name in ("insecure", "insecure_skip_token_signature_verify"):
        if getattr(client, name) and has_keys(client.token):
            yield (
                f"client.{name}: true makes the keys in client.token useless, as nobody"
                " needs a valid token; remove one of the two"
            )
    for path, is_open, host in (
        (
            "admin.insecure",
            config.admin.enabled and config.admin.insecure,
            http.address if config.admin.external else internal_address(config),
        ),
        (
            "http_api.insecure",
            not config.http_api.disabled and config.http_api.insecure,
            http.address if config.http_api.external else internal_address(config),
        ),
    ):
        if is_open and not is_loopback(host):
            section = path.partition(".")[0]
            key = "password and secret" if section == "admin" else "key"
            yield (
                f'{path}: true serves everybody who reaches "{host}"; set'
                f" {section}.{key}, or an address of this machine alone"
            )
    inside = internal_address(config), http.internal_port or str(http.port)
    if config.debug.enabled and inside == (http.address, str(http.port)):
        yield (
            "debug.enabled: true shows users and channels on http_server.port"
            f" ({http.port}), which clients use; set http_server.internal_port"
        )
    grpc = config.grpc_api
    if grpc.enabled and not grpc.key and not is_loopback(grpc.address):
        yield (
            f'grpc_api.key: "" serves everybody who reaches "{grpc.address}"; set a'
            " key, or an address of this machine alone"
        )


def _short_secrets(config: Config) -> Iterator[str]:
    tokens = [("client.token", config.client.token)]
    if config.client.subscription_token.enabled:
        tokens.append(("client.subscription_token", config.client.subscription_token))
    secrets = [
        (f"{path}.{name}", getattr(token, name))
        for path, token in tokens
        for name in ("hmac_secret_key", "hmac_previous_secret_key")
    ]
    shared, http = config.shared_poll, config.http_server
    secrets += [
        (f"shared_poll.{name}", getattr(shared, name))
        for name in ("hmac_secret_key", "hmac_previous_secret_key")
    ]
    if config.admin.enabled:
        secrets.append(("admin.secret", config.admin.secret))
    inside = http.address if config.http_api.external else internal_address(config)
    if not config.http_api.disabled and not is_loopback(inside):
        secrets.append(("http_api.key", config.http_api.key))
    if config.grpc_api.enabled and not is_loopback(config.grpc_api.address):
        secrets.append(("grpc_api.key", config.grpc_api.key))
    for path, secret in secrets:
        size = len(secret.encode())
        if 0 < size < ENOUGH:
            yield (
                f"{path}: has {size} bytes and may be guessed; use {ENOUGH} random"
                " bytes or more"
            )


def _origins(config: Config) -> Iterator[str]:
    client = config.client
    for index, pattern in enumerate(client.allowed_origins):
        if pattern not in _EVERY_ORIGIN:
            continue
        place = "client.allowed_origins"
        if len(client.allowed_origins) > 1:
            place += f".[{index}]"
        yield f'{place}: "{pattern}" allows pages of every origin to connect'
        carriers = [
            name
            for name in ("uni_websocket", "uni_sse", "uni_http_stream")
            if getattr(config, name).enabled
        ]
        if carriers and has_keys(client.token):
            yield (
                f'{place}: "{pattern}" with {" and ".join(carriers)}, whose clients may'
                " have their tokens in URLs: a page that learns the URL of a user can"
                " use it; list the origins of your pages"
            )
        if client.proxy.connect.enabled and not has_keys(client.token):
            yield (
                f'{place}: "{pattern}" with client.proxy.connect.enabled: pages of'
                " others can connect with the cookies of their visitors; list the"
                " origins of your pages"
            )
        return


def _key_sets(config: Config) -> Iterator[str]:
    token = config.client.token
    reason = unsafe_template(
        token.jwks_public_endpoint, [token.issuer_regex, token.audience_regex]
    )
    if reason and token.insecure_skip_jwks_endpoint_safety_check:
        yield f"client.token.jwks_public_endpoint: {reason}"
    for name in ("token", "subscription_token"):
        url = getattr(config.client, name).jwks_public_endpoint
        if url.startswith("http://") and not _is_local_url(url):
            yield (
                f'client.{name}.jwks_public_endpoint: "{url}" is not encrypted, so keys'
                " can be replaced on their way; use https://"
            )


def _is_local_url(url: str) -> bool:
    host = url.removeprefix("http://").partition("/")[0]
    return is_loopback(host.rpartition(":")[0] or host)


def has_keys(token: TokenOptions) -> bool:
    """Whether tokens can be verified at all."""
    return bool(
        token.hmac_secret_key
        or token.rsa_public_key
        or token.ecdsa_public_key
        or token.jwks_public_endpoint
    )


def _unverified(section: Struct, path: str) -> Iterator[str]:
    """Yield the paths of TLS sections that accept every certificate."""
    if isinstance(section, TLSOptions):
        if section.enabled and section.insecure_skip_verify:
            yield path
        return
    for option in options_of(type(section)):
        value = getattr(section, option.name)
        here = f"{path}.{option.name}".lstrip(".")
        if option.kind == "section":
            yield from _unverified(value, here)
        elif option.kind == "sections":
            for index, item in enumerate(value):
                yield from _unverified(item, f"{here}.[{index}]")
