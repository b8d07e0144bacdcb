"""Where the WebSocket endpoint of the server is, and the tokens for it."""

import argparse

from attrs import frozen
from msgspec import Struct

from ..token_signing import sign_for_user
from .outcome import USAGE, CommandFailed
from .server_address import (
    HTTPServer,
    ServerAddress,
    parse_address,
    reachable,
    read_options,
    set_or,
)
from .server_arguments import ADDRESS, CA, TOKEN

__all__ = ["WebSocketAddress", "WebSocketOptions", "websocket_address"]


class TokenKey(Struct, frozen=True):
    """The part of ``client.token`` that tokens are made with."""

    hmac_secret_key: str = ""
    user_id_claim: str = ""
    audience: str = ""
    issuer: str = ""


class SubscriptionTokenKey(TokenKey, frozen=True):
    """The part of ``client.subscription_token`` that tokens are made with."""

    enabled: bool = False


class ClientTokens(Struct, frozen=True):
    """The part of ``client`` that tokens are made with."""

    token: TokenKey = TokenKey()
    subscription_token: SubscriptionTokenKey = SubscriptionTokenKey()


class Endpoint(Struct, frozen=True):
    """The part of ``websocket`` that says where it is."""

    disabled: bool = False
    handler_prefix: str = "/connection/websocket"


class WebSocketOptions(Struct, frozen=True):
    """The sections that say where the endpoint is, and the keys of tokens."""

    http_server: HTTPServer = HTTPServer()
    client: ClientTokens = ClientTokens()
    websocket: Endpoint = Endpoint()


@frozen
class WebSocketAddress:
    """An endpoint, the tokens for it, and what is needed for its TLS."""

    server: ServerAddress
    token: str = ""
    subscription_token: str = ""
    ca: str = ""
    tls_name: str = ""

    @property
    def url(self) -> str:
        """Return the URL, as of WebSocket."""
        return str(self.server).replace("http", "ws", 1)


def websocket_address(options: argparse.Namespace) -> WebSocketAddress:
    """Return the endpoint that a command connects to.

    The path of an HTTP URL is that of the API, so only one of WebSocket has the path
    of the endpoint.

    :raises CommandFailed: what is given cannot be read.
    """
    address = set_or(options.address, ADDRESS)
    token = set_or(options.token, TOKEN)
    config = WebSocketOptions()
    if options.config is not None or not (address and token):
        config = read_options(options.config, WebSocketOptions)
    http, path = config.http_server, config.websocket.handler_prefix
    if address:
        server = parse_address(address)
        if address.startswith(("ws:", "wss:")) and server.path:
            path = server.path
    else:
        if config.websocket.disabled:
            raise CommandFailed("websocket.disabled: give --address", USAGE)
        server = ServerAddress(reachable(http.address), http.port, http.tls.enabled)
    server = ServerAddress(server.host, server.port, server.encrypted, path)
    tokens = (token, options.subscription_token)
    if not token:
        tokens = _made(config.client, options.user, options.channel)
    return WebSocketAddress(server, *tokens, set_or(options.ca, CA), options.tls_name)


def _made(client: ClientTokens, user: str, channel: str) -> tuple[str, str]:
    """Return a connection and a subscription token, empty without a key for them."""
    separate = client.subscription_token
    key = separate if separate.enabled else client.token
    return (
        sign_for_user(client.token, user, {}),
        sign_for_user(key, user, {"channel": channel}),
    )
