"""Deltas and filters with the official Python client."""

import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .redis_servers import shared, valkey
from .sdk_contract import SDKCase
from .server import Server, shared_server
from .test_javascript_sdk import node_command
from .test_python_sdk import PYTHON_SDK

_NAMESPACE = {
    "allow_subscribe_for_client": True,
    "history_size": 50,
    "history_ttl": "300s",
    "force_recovery": True,
    "allowed_delta_types": ["fossil"],
    "allow_tags_filter": True,
}
OPTIONS: dict[str, Any] = {
    "http_stream": {"enabled": True},
    "sse": {"enabled": True},
    "prometheus": {"enabled": True},
    "channel": {
        "namespaces": [
            {"name": "feed", **_NAMESPACE, "delta_publish": True},
            {"name": "log", **_NAMESPACE},
            {
                **{"name": "loose", **_NAMESPACE, "delta_publish": True},
                "force_recovery": False,
            },
            {
                **{"name": "cache", **_NAMESPACE, "delta_publish": True},
                "force_recovery_mode": "cache",
            },
        ]
    },
}


def quote(number: int) -> dict[str, Any]:
    """Return data that changes little with *number*."""
    return {
        "symbol": "ÖBB €",
        "price": 100 + number / 4,
        "n": number,
        "text": "A description that is the same every time, and not short. " * 8,
    }


class DeltaContract(SDKCase):
    """Mixin: a test case with `sdk_command` becomes a test of that client."""

    def serving(self) -> Server:
        """Return a running server."""
        return shared_server("deltas", OPTIONS)

    def publish(self, channel: str, numbers: range, **more: Any) -> None:
        """Publish through the server API."""
        for number in numbers:
            self.server.api("publish", channel=channel, data=quote(number), **more)

    def expect(self, numbers: range, **fields: Any) -> None:
        """Wait for the publications of *numbers*, and for no others."""
        found = [self.sdk.expect("publication", **fields)["data"] for _ in numbers]
        self.equal(found, [quote(number) for number in numbers])
        self.equal(self.sdk.pending("publication", **fields), [])

    def sent(self) -> int:
        """Return the bytes of all publications that the server has sent.

        A busy server may answer with an older page; the CPU time in it tells pages
        apart.
        """
        _, old = page = self.server.request("GET", "/metrics")
        cpu = re.compile(rb"^process_cpu_seconds_total \S+", re.M)
        assert cpu.search(old), "the page lacks the CPU time"
        while cpu.findall(page[1]) == cpu.findall(old):
            page = self.server.request("GET", "/metrics")
        found = re.findall(
            r'^centrifugo_transport_messages_sent_size\{.*"push_publication".* (\S+)$',
            page[1].decode(),
            re.M,
        )
        return sum(int(float(each)) for each in found)

    def test_live(self) -> None:
        """Payloads come out right, and few bytes were sent."""
        for name, wish in (("feed", {}), ("log", {"delta": True})):
            channel = f"{name}:{self.name}"
            self.connect(name)
            self.subscribe(name, channel, delta=True)
            before = self.sent()
            self.publish(channel, range(20), **wish)
            self.expect(range(20), client=name)
            whole = 20 * len(str(quote(0)))
            assert 0 < self.sent() - before < whole / 2

    def test_mixed(self) -> None:
        """Others in the channel get the same."""
        channel = f"feed:{self.name}"
        for client, delta in (("a", True), ("b", False), ("c", True)):
            self.connect(client)
            self.subscribe(client, channel, delta=delta)
        self.publish(channel, range(3))
        self.connect("late")
        self.subscribe("late", channel, delta=True)
        self.publish(channel, range(3, 6))
        for client in ("a", "b", "c"):
            self.expect(range(6), client=client)
        self.expect(range(3, 6), client="late")

    def test_without_place(self) -> None:
        """Without positions, or for single publications, all comes whole."""
        channel = f"loose:{self.name}"
        self.connect("a")
        self.subscribe("a", channel, delta=True)
        self.publish(channel, range(3))
        self.expect(range(3), client="a")
        channel = f"feed:{self.name}"
        self.connect("b")
        self.subscribe("b", channel, delta=True)
        self.publish(channel, range(2))
        self.publish(channel, range(2, 3), skip_history=True)
        self.publish(channel, range(3, 5))
        self.expect(range(5), client="b")

    def test_reconnect(self) -> None:
        """Missed and later publications have the right payloads."""
        channel = f"feed:{self.name}"
        cable = self.cable()
        self.connect("a", url=cable.url)
        self.subscribe("a", channel, delta=True)
        self.publish(channel, range(3))
        self.expect(range(3), client="a")
        top = 3
        for missed in (0, 1, 10, 0, 60, 0):
            cable.cut()
            self.sdk.expect("subscribing", client="a", code=1)
            self.publish(channel, range(top, top + missed))
            cable.mend()
            back = self.sdk.expect("subscribed", client="a", channel=channel)
            self.equal(back["recovered"], missed < 60)
            first = top if missed < 60 else top + missed
            top += missed + 3
            self.publish(channel, range(top - 3, top))
            self.expect(range(first, top), client="a")

    def test_removed(self) -> None:
        """So it does after the history was removed."""
        channel = f"feed:{self.name}"
        self.connect("a")
        self.subscribe("a", channel, delta=True)
        for top in range(0, 9, 3):
            self.publish(channel, range(top, top + 3))
            self.expect(range(top, top + 3), client="a")
            self.server.api("history_remove", channel=channel)

    def test_cache(self) -> None:
        """In cache mode the latest comes after a reconnect, and the next ones."""
        channel = f"cache:{self.name}"
        cable = self.cable()
        self.connect("a", url=cable.url)
        self.subscribe("a", channel, delta=True)
        self.publish(channel, range(3))
        self.expect(range(3), client="a")
        cable.cut()
        self.sdk.expect("subscribing", client="a", code=1)
        self.publish(channel, range(3, 8))
        cable.mend()
        self.sdk.expect("subscribed", client="a", recovered=True)
        self.publish(channel, range(8, 10))
        self.expect(range(7, 10), client="a")

    def test_filter(self) -> None:
        """Only matching publications come, live and recovered."""
        channel = f"feed:{self.name}"
        cable = self.cable()
        self.connect("a", url=cable.url)
        wanted = {
            "op": "and",
            "nodes": [
                {"key": "kind", "cmp": "in", "vals": ["x", "y"]},
                {"key": "n", "cmp": "gte", "val": "2.5"},
            ],
        }
        self.subscribe("a", channel, filter=wanted)
        self.tagged(channel, range(6))
        self.expect(range(3, 5), client="a")
        cable.cut()
        self.sdk.expect("subscribing", client="a", code=1)
        self.tagged(channel, range(6, 12))
        cable.mend()
        self.sdk.expect("subscribed", client="a", recovered=True)
        self.tagged(channel, range(12, 14))
        found = [self.sdk.expect("publication")["data"]["n"] for _ in range(6)]
        self.equal(found, [6, 7, 9, 10, 12, 13])

    def tagged(self, channel: str, numbers: range) -> None:
        """Publish with tags: kinds x, y and z by turns."""
        for n in numbers:
            tags = {"kind": "xyz"[n % 3], "n": str(n)}
            self.publish(channel, range(n, n + 1), tags=tags)

    def test_bad_filter(self) -> None:
        """A filter that means nothing ends the subscription with 107."""
        self.connect("a")
        channel = f"feed:{self.name}"
        wrong = {"key": "k", "cmp": "like", "val": "v"}
        self.sdk.order("subscribe", client="a", channel=channel, filter=wrong)
        self.equal(self.sdk.expect("unsubscribed", client="a")["code"], 107)


class PythonDeltaTests(DeltaContract, SynchronousTestCase):
    """centrifuge-python in JSON."""

    def sdk_command(self) -> list[str]:
        return PYTHON_SDK


class PythonProtobufDeltaTests(DeltaContract, SynchronousTestCase):
    """centrifuge-python in Protobuf."""

    def sdk_command(self) -> list[str]:
        return [*PYTHON_SDK, "protobuf"]


class JavaScriptDeltaTests(DeltaContract, SynchronousTestCase):
    """centrifuge-js in JSON."""

    arguments = ("websocket", "json")

    def sdk_command(self) -> list[str]:
        return node_command("javascript_sdk.mjs", *self.arguments)


class JavaScriptProtobufDeltaTests(JavaScriptDeltaTests):
    """centrifuge-js in Protobuf."""

    arguments = ("websocket", "protobuf")


class StreamDeltaTests(JavaScriptDeltaTests):
    """centrifuge-js over HTTP streaming, in Protobuf."""

    arguments = ("http_stream", "protobuf")


class EventDeltaTests(JavaScriptDeltaTests):
    """centrifuge-js over server-sent events."""

    arguments = ("sse", "json")


class RedisDeltaTests(DeltaContract, SynchronousTestCase):
    """The same through Redis, which supplies the previous publication."""

    lists = False

    def sdk_command(self) -> list[str]:
        return PYTHON_SDK

    def serving(self) -> Server:
        name = f"deltas-redis-{self.lists}"
        redis = {
            "address": [shared(valkey()).address],
            "prefix": name,
            "history_use_lists": self.lists,
        }
        engine = {"engine": {"type": "redis", "redis": redis}}
        return shared_server(name, {**OPTIONS, **engine})


class RedisListDeltaTests(RedisDeltaTests):
    """The same with histories in lists."""

    lists = True
