"""The official JavaScript client against the real server."""

import shutil
import subprocess
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from .sdk_contract import ExpiryContract, SDKContract
from .server import connection_token

_FOLDER = Path(__file__).with_name("js")


def node_command(script: str, *arguments: str) -> list[str]:
    """Return the command that starts a client; install it if need be."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise SkipTest("Node.js with npm is not installed")
    if not (_FOLDER / "node_modules" / "centrifuge-2").is_dir():
        subprocess.run([npm, "ci"], cwd=_FOLDER, check=True, capture_output=True)
    return [node, str(_FOLDER / script), *arguments]


class JavaScriptContract(SDKContract):
    """All of the contract, and what only centrifuge-js can do."""

    transport, encoding = "websocket", "json"

    def sdk_command(self) -> list[str]:
        return node_command("javascript_sdk.mjs", self.transport, self.encoding)

    def test_send(self) -> None:
        """A message without a reply ends in 3508, without a reconnect."""
        self.connect("a")
        self.sdk.order("send", client="a", data={})
        ended = self.sdk.expect("disconnected", client="a")
        self.equal((ended["code"], ended["reason"]), (3508, "not available"))

    def test_subscribe_by_server(self) -> None:
        """The server API subscribes a connected user."""
        channel = f"log:{self.name}"
        self.connect("a")
        self.server.api("subscribe", user=self.user("a"), channel=channel)
        told = self.sdk.expect("server_subscribed", client="a", channel=channel)
        self.equal((told["recoverable"], told["positioned"]), (True, True))
        self.publish_many(channel, range(2))
        got = self.numbers(2, "server_publication", client="a", channel=channel)
        self.equal(got, [0, 1])
        self.server.api("unsubscribe", user=self.user("a"), channel=channel)
        self.sdk.expect("server_unsubscribed", client="a", channel=channel)

    def test_refresh_by_server(self) -> None:
        """The server API sets the end of a connection, and can end it: 3005."""
        self.connect("a", token=connection_token(self.user("a")))
        self.server.api("refresh", user=self.user("a"), expired=True)
        self.sdk.expect("connecting", client="a", code=3005)
        self.sdk.expect("connected", client="a")


class WebSocketTests(JavaScriptContract, ExpiryContract, SynchronousTestCase):
    """centrifuge-js over WebSocket, in JSON."""


class WebSocketProtobufTests(JavaScriptContract, SynchronousTestCase):
    """centrifuge-js over WebSocket, in Protobuf."""

    encoding = "protobuf"


class HTTPStreamTests(JavaScriptContract, ExpiryContract, SynchronousTestCase):
    """centrifuge-js over HTTP streaming, in JSON."""

    transport = "http_stream"


class HTTPStreamProtobufTests(JavaScriptContract, SynchronousTestCase):
    """centrifuge-js over HTTP streaming, in Protobuf."""

    transport, encoding = "http_stream", "protobuf"


class SSETests(JavaScriptContract, SynchronousTestCase):
    """centrifuge-js over server-sent events."""

    transport = "sse"
