"""Receipts of official clients on two nodes: one of them freezes, leaves, returns."""

import signal
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .pair import shared_pair
from .sdk import SDK
from .server import connection_token
from .test_javascript_sdk import node_command
from .test_python_sdk import PYTHON_SDK

#: Seconds that something expected may take.
PATIENCE = 60.0
#: Clients beside the one that freezes.
CROWD = 20

OPTIONS = {
    "channel": {
        "namespaces": [
            {
                "name": "orders",
                "allow_subscribe_for_client": True,
                "history_size": 100,
                "history_ttl": "60s",
                "force_recovery": True,
                "receipts": True,
            }
        ]
    },
}


class PythonTests(SynchronousTestCase):
    """centrifuge-python."""

    def sdk_command(self) -> list[str]:
        """Return the command that starts a process with clients."""
        return PYTHON_SDK

    def setUp(self) -> None:
        """Subscribe a crowd in one process, and one user in another."""
        self.pair = shared_pair("receipts", OPTIONS)
        self.channel = f"orders:{type(self).__name__}"
        self.crowd = [f"user{number:02}" for number in range(CROWD)]
        self.subscribe(self.sdk(), *self.crowd)
        self.single = self.sdk()
        self.subscribe(self.single, "zoe")

    def sdk(self) -> SDK:
        """Start a process."""
        sdk = SDK(self.sdk_command())
        self.addCleanup(self.end, sdk)
        return sdk

    def end(self, sdk: SDK) -> None:
        """End a process that may be frozen, or dead."""
        if sdk.alive:
            sdk.signal(signal.SIGCONT)
        sdk.close()

    def subscribe(self, sdk: SDK, *users: str) -> None:
        """Connect users to one node or the other, and subscribe them."""
        for user in users:
            token = connection_token(user)
            sdk.order("connect", client=user, url=self.pair.url, token=token)
        for user in users:
            sdk.expect("connected", client=user)
            sdk.order("subscribe", client=user, channel=self.channel)
        for user in users:
            sdk.expect("subscribed", client=user)

    def publish(self) -> int:
        """Publish, and ask for receipts; return the offset."""
        published = self.pair.api(
            "publish", channel=self.channel, data={"text": "Hello"}, confirm=True
        )
        offset: int = published["offset"]
        return offset

    def states(self, offset: int) -> dict[str, list[str]]:
        """Return the users in each state."""
        found = self.pair.api(
            "receipts", channel=self.channel, offset=offset, limit=100
        )
        states: dict[str, list[str]] = {}
        for each in found["users"]:
            states.setdefault(each["state"], []).append(each["user"])
        counts = {state: count for state, count in found["counts"].items() if count}
        self.assertEqual(counts, {state: len(each) for state, each in states.items()})
        return states

    def until(self, offset: int, **expected: Any) -> None:
        """Wait until exactly these users are in these states."""
        end = time.monotonic() + PATIENCE
        while (found := self.states(offset)) != expected:
            self.assertLess(time.monotonic(), end, found)
            time.sleep(0.05)

    def test_frozen(self) -> None:
        """A frozen client is pending; when it goes on, or leaves, the state tells."""
        everyone = [*self.crowd, "zoe"]
        first = self.publish()
        self.until(first, received=everyone)
        self.single.signal(signal.SIGSTOP)
        second = self.publish()
        self.until(second, received=self.crowd, pending=["zoe"])
        self.assertEqual(self.states(first), {"received": everyone})
        self.single.signal(signal.SIGCONT)
        self.until(second, received=everyone)

        self.single.signal(signal.SIGSTOP)
        third = self.publish()
        self.until(third, received=self.crowd, pending=["zoe"])
        self.single.signal(signal.SIGKILL)
        self.until(third, received=self.crowd, away=["zoe"])
        self.assertEqual(self.states(second), {"received": everyone})

        self.subscribe(self.sdk(), "zoe")
        self.until(third, received=self.crowd, missed=["zoe"])
        self.until(self.publish(), received=everyone)


class JavaScriptTests(PythonTests):
    """centrifuge-js 5."""

    def sdk_command(self) -> list[str]:
        return node_command("javascript_sdk.mjs", "websocket", "json")
