"""The access policy, as configured."""

from collections.abc import Mapping
from typing import Any

from .access import (
    AccessOptions,
    AccessPolicy,
    ChannelRules,
    Namespaces,
    NoProxies,
    TokenOptions,
    TokenVerifier,
    static_keys,
)
from .access.jwks import KeySet, fetcher
from .access.tokens import KeySource
from .access.track_signatures import TrackingKeys
from .config.model import Config
from .proxies import EventProxies, Polling
from .proxy_services import rpc_rules

__all__ = ["access_policy", "token_verifier"]


def access_policy(
    reactor: Any,
    config: Config,
    polling: Mapping[str, Polling] | None = None,
    proxies: EventProxies | None = None,
    key_sets: dict[str, KeySet] | None = None,
) -> AccessPolicy:
    """Return the configured access policy.

    :param polling: the backends of shared poll keys, by proxy name.
    :param proxies: the proxies that decide about other events.
    :param key_sets: key sets to use by URL; others are added.
    """
    client = config.client
    skip = client.insecure_skip_token_signature_verify
    connections = subscriptions = token_verifier(reactor, client.token, skip, key_sets)
    if client.subscription_token.enabled:
        subscriptions = token_verifier(
            reactor, client.subscription_token, skip, key_sets
        )
    return AccessPolicy(
        reactor,
        _options(config),
        _namespaces(config),
        connections,
        subscriptions,
        TrackingKeys(
            config.shared_poll.hmac_secret_key,
            config.shared_poll.hmac_previous_secret_key,
            config.shared_poll.hmac_previous_secret_key_valid_until,
        ),
        polling or {},
        NoProxies() if proxies is None else proxies,
    )


def _options(config: Config) -> AccessOptions:
    client, ping = config.client, config.rpc.ping
    personal = client.subscribe_to_user_personal_channel
    return AccessOptions(
        insecure=client.insecure,
        allow_anonymous_connect_without_token=(
            client.allow_anonymous_connect_without_token
        ),
        disallow_anonymous_connection_tokens=(
            client.disallow_anonymous_connection_tokens
        ),
        user_id_http_header=client.user_id_http_header,
        personal_channels=personal.enabled,
        personal_channel_namespace=personal.personal_channel_namespace,
        single_connection=personal.single_connection,
        history_max_publication_limit=client.history_max_publication_limit,
        rpc_ping_method=ping.method if ping.enabled else "",
        rpc=rpc_rules(config),
    )


def _namespaces(config: Config) -> Namespaces:
    channel = config.channel
    return Namespaces.of(
        ChannelRules(
            private_prefix=channel.private_prefix,
            namespace_boundary=channel.namespace_boundary,
            user_boundary=channel.user_boundary,
            user_separator=channel.user_separator,
            publication_data_format=channel.publication_data_format,
        ),
        channel.without_namespace,
        [(each.name, each) for each in channel.namespaces],
    )


def token_verifier(
    reactor: Any,
    options: TokenOptions,
    skip_signature: bool = False,
    key_sets: dict[str, KeySet] | None = None,
) -> TokenVerifier:
    """Return a verifier of tokens, with configured or fetched keys.

    :param key_sets: key sets to use by URL; one that is missing is added.
    :raises ValueError: a configured key is invalid.
    """
    url = options.jwks_public_endpoint
    source: KeySource = static_keys(options, reactor)
    if url:
        fresh = KeySet(url, fetcher(reactor), reactor)
        source = fresh if key_sets is None else key_sets.setdefault(url, fresh)
    return TokenVerifier(reactor, options, source, skip_signature)
