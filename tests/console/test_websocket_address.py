"""Where ``subscribe`` connects to, and the tokens that it makes."""

import os

import jwt
from msgspec.structs import fields

from centrifugo_tx.config.model import Config
from centrifugo_tx.console.arguments import parser
from centrifugo_tx.console.websocket_address import (
    WebSocketAddress,
    WebSocketOptions,
    websocket_address,
)

from .command_case import CommandCase

SECRET = "a secret of a test that is long enough"


class WebSocketAddressTests(CommandCase):
    """The endpoint and the tokens."""

    def found(self, *arguments: str) -> WebSocketAddress:
        """Return the address for a command line."""
        return websocket_address(parser().parse_args(["subscribe", "news", *arguments]))

    def test_same(self) -> None:
        """The options that are read have the defaults of the whole."""
        for section in ("websocket", "client"):
            ours, theirs = (
                getattr(WebSocketOptions(), section),
                getattr(Config(), section),
            )
            pairs = [(ours, theirs)]
            if section == "client":
                names = ("token", "subscription_token")
                pairs = [(getattr(ours, name), getattr(theirs, name)) for name in names]
            for one, other in pairs:
                for option in fields(type(one)):
                    name = option.name
                    self.assertEqual(getattr(one, name), getattr(other, name), name)

    def test_url(self) -> None:
        """The path of a WebSocket URL is the endpoint's; that of HTTP, the API's."""
        for arguments, url in (
            ((), "ws://127.0.0.1:8000/connection/websocket"),
            (("-a", "h"), "ws://h:8000/connection/websocket"),
            (("-a", "https://h/api"), "wss://h:443/connection/websocket"),
            (("-a", "wss://h/live", "-t", "x"), "wss://h:443/live"),
        ):
            self.assertEqual(self.found(*arguments).url, url)
        tree = {"websocket": {"handler_prefix": "/ws"}, "http_server": {"port": 9}}
        self.assertEqual(self.found("-c", self.write(tree)).url, "ws://127.0.0.1:9/ws")

    def test_tokens(self) -> None:
        """Tokens for the user are signed by the keys of the configuration."""
        token = {"hmac_secret_key": SECRET, "audience": "a", "issuer": "i"}
        own = {"enabled": True, "hmac_secret_key": SECRET[::-1], "user_id_claim": "me"}
        tree = {"client": {"token": token, "subscription_token": own}}
        found = self.found("-c", self.write(tree), "-u", "42")
        claims = jwt.decode(found.token, SECRET, ["HS256"], audience="a", issuer="i")
        self.assertEqual(claims["sub"], "42")
        claims = jwt.decode(found.subscription_token, SECRET[::-1], ["HS256"])
        self.assertEqual((claims["me"], claims["channel"]), ("42", "news"))

    def test_given(self) -> None:
        """Given tokens replace generated ones; without a key there are none."""
        path = self.write({"client": {"token": {"hmac_secret_key": SECRET}}})
        found = self.found("-c", path, "-t", "t")
        self.assertEqual((found.token, found.subscription_token), ("t", ""))
        os.environ["CENTRIFUGO_TX_TOKEN"] = "v"
        self.assertEqual(self.found("-c", path).token, "v")
        del os.environ["CENTRIFUGO_TX_TOKEN"]
        self.assertEqual(self.found().token, "")
