"""Rules of client connections and their tokens.

See configuration rules, "Validation".
"""

import re
from collections.abc import Iterator

from twisted.internet.task import Clock

from ..access.jwks import unsafe_template
from ..access.namespaces import NamespaceOptions
from ..access.tokens import TokenOptions, static_keys
from ..durations import format_duration
from ..globs import compile_glob
from ..transports.uni_response_stream import CodeToResponseTransforms
from .findings import Finding, regex, short
from .model import Config

__all__ = ["check_clients"]

_CLAIM = re.compile(r"[a-zA-Z_]+")


def check_clients(config: Config) -> Iterator[Finding]:
    """Yield errors in tokens and in options of clients."""
    yield from _tokens(config)
    yield from _client(config)


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
            yield from regex(f"{path}.{name}_regex", expression)
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
        yield (
            f"{path}.jwks_public_endpoint",
            f"{url!r} must begin with http:// or https://",
        )
    reason = unsafe_template(url, [token.issuer_regex, token.audience_regex])
    if reason and not token.insecure_skip_jwks_endpoint_safety_check:
        yield (
            f"{path}.jwks_public_endpoint",
            f"could be manipulated by tokens: {reason}",
        )


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
        yield from short(f"{place}.to.reason", transform.to.reason)
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
