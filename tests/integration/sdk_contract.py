"""The contract of an official client with the server."""

import time
from collections.abc import Callable
from typing import Any

from .cable import Cable
from .pair import Pair
from .sdk import Event, shared_sdk
from .server import Server, connection_token, shared_server, subscription_token
from .websocket import WebSocket

__all__ = ["OPTIONS", "ExpiryContract", "SDKCase", "SDKContract"]

_HISTORY = {"history_size": 100, "history_ttl": "300s"}
_PERMISSIONS = {
    "allow_subscribe_for_client": True,
    "allow_publish_for_subscriber": True,
    "allow_presence_for_subscriber": True,
    "allow_history_for_subscriber": True,
}

#: Short deadlines, so that tests of expiry take seconds.  A client gets the expiry of
#: its token in whole seconds, rounded up, and must have time to renew it.
OPTIONS: dict[str, Any] = {
    "http_stream": {"enabled": True},
    "sse": {"enabled": True},
    "client": {
        "expired_close_delay": "2s",
        "expired_sub_close_delay": "2s",
        "presence_update_interval": "1s",
        "subscribe_to_user_personal_channel": {
            "enabled": True,
            "personal_channel_namespace": "personal",
        },
    },
    "channel": {
        "namespaces": [
            {
                "name": "room",
                "presence": True,
                "join_leave": True,
                **_HISTORY,
                **_PERMISSIONS,
            },
            {
                "name": "forced",
                "force_push_join_leave": True,
                "join_leave": True,
                **_PERMISSIONS,
            },
            {"name": "log", "force_recovery": True, **_HISTORY, **_PERMISSIONS},
            {
                "name": "cache",
                "force_recovery": True,
                "force_recovery_mode": "cache",
                **_HISTORY,
                **_PERMISSIONS,
                "history_size": 1,
            },
            {"name": "plain", **_PERMISSIONS},
            {"name": "closed"},
            {"name": "personal", "force_recovery": True, **_HISTORY},
        ]
    },
}


def in_seconds(seconds: int) -> int:
    """Return a time for a claim."""
    return int(time.time()) + seconds


class SDKCase:
    """Mixin: leads the client that `sdk_command` starts."""

    def sdk_command(self) -> list[str]:
        """Return the command that starts the client."""
        raise AssertionError("a test case says")

    def serving(self) -> Server | Pair:
        """Return the address of the server."""
        return shared_server("sdk", OPTIONS)

    def setUp(self) -> None:
        """Start the client; the server stands already."""
        command = self.sdk_command()
        self.server = self.serving()
        self.sdk = shared_sdk(command)
        self.addCleanup(self.sdk.reset)  # type: ignore[attr-defined]  # a TestCase
        name = self.id().rpartition(".")[2]  # type: ignore[attr-defined]
        self.name = f"{name}-{time.monotonic_ns()}"

    def equal(self, first: object, second: object) -> None:
        """Compare."""
        self.assertEqual(first, second)  # type: ignore[attr-defined]

    def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until *condition* holds."""
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end)  # type: ignore[attr-defined]
            time.sleep(0.05)

    def cable(self) -> Cable:
        """Return a connection to the server that can be cut."""
        cable = Cable(self.server.ports)
        self.addCleanup(cable.close)  # type: ignore[attr-defined]
        return cable

    def connect(self, client: str, user: str = "", **fields: Any) -> Event:
        """Connect a client, with a token for *user* unless there is one."""
        fields.setdefault("token", connection_token(user or self.user(client)))
        fields.setdefault("url", self.server.url)
        self.sdk.order("connect", client=client, **fields)
        return self.sdk.expect("connected", client=client)

    def user(self, client: str) -> str:
        """Return the user of a client, whom no other test knows."""
        return f"{self.name}-{client}"

    def subscribe(self, client: str, channel: str, **fields: Any) -> Event:
        """Subscribe a client."""
        self.sdk.order("subscribe", client=client, channel=channel, **fields)
        return self.sdk.expect("subscribed", client=client, channel=channel)

    def publish_many(self, channel: str, numbers: range) -> None:
        """Publish numbers through the server API."""
        for number in numbers:
            self.server.api("publish", channel=channel, data={"n": number})

    def numbers(
        self, count: int, event: str = "publication", **fields: Any
    ) -> list[int]:
        """Return the numbers of the next *count* publications."""
        found = [self.sdk.expect(event, **fields) for _ in range(count)]
        return [each["data"]["n"] for each in found]


class SDKContract(SDKCase):
    """Mixin: a test case with `sdk_command` becomes a test of that client."""

    # Connections

    def test_connect(self) -> None:
        """A client with a token connects, and leaves when it wants to."""
        self.assertTrue(self.connect("a")["id"])  # type: ignore[attr-defined]
        self.sdk.order("disconnect", client="a")
        self.equal(self.sdk.expect("disconnected", client="a")["code"], 0)

    def test_invalid_token(self) -> None:
        """A token with a wrong signature ends in 3500, without a reconnect."""
        token = connection_token("a")[:-4] + "AAAA"
        self.sdk.order("connect", client="a", url=self.server.url, token=token)
        self.equal(self.sdk.expect("disconnected", client="a")["code"], 3500)

    def test_no_credentials(self) -> None:
        """A client without a token is disconnected with 3501."""
        self.sdk.order("connect", client="a", url=self.server.url)
        self.equal(self.sdk.expect("disconnected", client="a")["code"], 3501)

    def test_disconnect_by_server(self) -> None:
        """The server API ends a user's connections; they stay away."""
        self.connect("a")
        self.server.api("disconnect", user=self.user("a"))
        ended = self.sdk.expect("disconnected", client="a")
        self.equal((ended["code"], ended["reason"]), (3503, "force disconnect"))

    def test_rpc(self) -> None:
        """A call of an unknown procedure returns an error."""
        self.connect("a")
        self.equal(self.sdk.ask("rpc", client="a", method="time", data={}), 108)

    # Subscriptions

    def test_publish_by_server(self) -> None:
        """Publications of the server API arrive, with tags, in each subscription."""
        channel = f"plain:{self.name}"
        for client in ("a", "b"):
            self.connect(client)
            self.subscribe(client, channel)
        data = {"text": "héllo\n\u2028<&>", "n": [1, 2.5, None, True]}
        self.server.api("publish", channel=channel, data=data, tags={"k": "v"})
        for client in ("a", "b"):
            got = self.sdk.expect("publication", client=client, channel=channel)
            self.equal((got["data"], got["tags"]), (data, {"k": "v"}))
            self.equal((got["offset"], got["info"]), (0, None))

    def test_publish_by_client(self) -> None:
        """A client's publication reaches all subscribers, with its user."""
        channel = f"room:{self.name}"
        for client in ("a", "b"):
            self.connect(client, info={"nick": client})
            self.subscribe(client, channel)
        sent = self.sdk.ask("publish", client="a", channel=channel, data={"n": 1})
        self.equal(sent, None)
        for client in ("a", "b"):
            got = self.sdk.expect("publication", client=client, channel=channel)
            self.equal((got["data"], got["offset"]), ({"n": 1}, 1))
            self.equal(got["info"]["user"], self.user("a"))

    def test_forbidden(self) -> None:
        """Without permission a subscription ends: 103; an unknown namespace: 102."""
        self.connect("a")
        for channel, code in (("closed:x", 103), ("unknown:x", 102), ("$plain:x", 103)):
            self.sdk.order("subscribe", client="a", channel=channel)
            ended = self.sdk.expect("unsubscribed", client="a", channel=channel)
            self.equal((channel, ended["code"]), (channel, code))

    def test_history(self) -> None:
        """History is read forward, backward and from a position."""
        channel = f"room:{self.name}"
        self.connect("a")
        self.subscribe("a", channel)
        self.publish_many(channel, range(1, 6))
        asked = {"client": "a", "channel": channel}

        def offsets(**fields: Any) -> list[int]:
            found = self.sdk.ask("history", **asked, **fields)
            self.equal(found["offset"], 5)
            return [each["offset"] for each in found["publications"]]

        epoch = self.sdk.ask("history", **asked)["epoch"]
        since = {"offset": 2, "epoch": epoch}
        self.equal(offsets(), [])
        self.equal(offsets(limit=2), [1, 2])
        self.equal(offsets(limit=-1), [1, 2, 3, 4, 5])
        self.equal(offsets(limit=2, since=since), [3, 4])
        self.equal(offsets(limit=2, reverse=True), [5, 4])
        self.equal(offsets(limit=-1, since=since, reverse=True), [1])
        wrong = {"offset": 2, "epoch": "other"}
        self.equal(self.sdk.ask("history", **asked, limit=1, since=wrong), 112)

    def test_no_history(self) -> None:
        """Without history in the namespace the answer is error 108."""
        channel = f"plain:{self.name}"
        self.connect("a")
        self.subscribe("a", channel)
        asked = {"client": "a", "channel": channel}
        self.equal(self.sdk.ask("history", **asked, limit=1), 108)
        self.equal(self.sdk.ask("presence", **asked), 108)

    def test_presence(self) -> None:
        """Presence contains each client and its user, until the client leaves."""
        channel = f"room:{self.name}"
        ids = {}
        for client in ("a", "b"):
            token = connection_token(self.user("same"), info={"nick": client})
            ids[client] = self.connect(client, token=token)["id"]
            self.subscribe(client, channel)
        asked = {"client": "a", "channel": channel}
        self.equal(
            self.sdk.ask("presence", **asked),
            {
                ids[client]: {
                    "user": self.user("same"),
                    "client": ids[client],
                    "conn_info": {"nick": client},
                    "chan_info": None,
                }
                for client in ("a", "b")
            },
        )
        stats = self.sdk.ask("presence_stats", **asked)
        self.equal(stats, {"clients": 2, "users": 1})
        self.sdk.order("unsubscribe", client="b", channel=channel)
        self.sdk.expect("unsubscribed", client="b")
        self.sdk.ask("rpc", client="b", method="", data={})  # so it was done
        self.until(lambda: list(self.sdk.ask("presence", **asked)) == [ids["a"]])

    def test_join_and_leave(self) -> None:
        """Subscribers that request it see joins and leaves, except their own."""
        channel = f"room:{self.name}"
        watching = self.connect("a")["id"]
        self.subscribe("a", channel, join_leave=True)
        self.equal(self.sdk.expect("join", client="a")["info"]["client"], watching)
        coming = self.connect("b")["id"]
        self.subscribe("b", channel)
        joined = self.sdk.expect("join", client="a", channel=channel)["info"]
        self.equal((joined["user"], joined["client"]), (self.user("b"), coming))
        self.sdk.order("disconnect", client="b")
        left = self.sdk.expect("leave", client="a", channel=channel)["info"]
        self.equal((left["user"], left["client"]), (self.user("b"), coming))
        self.equal(self.sdk.pending("join", client="b"), [])

    def test_unsubscribe_by_server(self) -> None:
        """The server API ends a subscription: 2000."""
        channel = f"plain:{self.name}"
        self.connect("a")
        self.subscribe("a", channel)
        self.server.api("unsubscribe", user=self.user("a"), channel=channel)
        ended = self.sdk.expect("unsubscribed", client="a", channel=channel)
        self.equal((ended["code"], ended["reason"]), (2000, "server unsubscribe"))

    def test_subscription_token(self) -> None:
        """A token opens a private channel; an expired one is replaced."""
        channel = f"$plain:{self.name}"
        user = self.user("a")
        old = subscription_token(user, channel, exp=in_seconds(-10))
        fresh = subscription_token(user, channel, exp=in_seconds(600), info={"v": 1})
        self.connect("a")
        self.subscribe("a", channel, token=old, fresh_tokens=[fresh])
        self.sdk.expect("subscription_token", client="a", channel=channel)
        self.sdk.ask("publish", client="a", channel=channel, data={"n": 1})
        got = self.sdk.expect("publication", client="a")
        self.equal(got["info"]["chan_info"], {"v": 1})

    # Server-side subscriptions

    def test_channels_of_a_token(self) -> None:
        """The channels that a token lists are subscribed to with the connection."""
        channel = f"plain:{self.name}"
        token = connection_token(self.user("a"), channels=[channel])
        self.connect("a", token=token)
        self.sdk.expect("server_subscribed", client="a", channel=channel)
        self.publish_many(channel, range(3))
        got = self.numbers(3, "server_publication", client="a", channel=channel)
        self.equal(got, [0, 1, 2])
        self.server.api("unsubscribe", user=self.user("a"), channel=channel)
        self.sdk.expect("server_unsubscribed", client="a", channel=channel)

    def test_personal_channel(self) -> None:
        """Each user has a channel of its own, and misses nothing in it."""
        channel = f"personal:#{self.user('a')}"
        cable = self.cable()
        self.connect("a", url=cable.url)
        self.sdk.expect("server_subscribed", client="a", channel=channel)
        self.publish_many(channel, range(3))
        got = self.numbers(3, "server_publication", client="a", channel=channel)
        cable.cut()
        self.publish_many(channel, range(3, 9))
        cable.mend()
        back = self.sdk.expect("server_subscribed", client="a", channel=channel)
        self.equal((back["was_recovering"], back["recovered"]), (True, True))
        self.publish_many(channel, range(9, 12))
        got += self.numbers(9, "server_publication", client="a", channel=channel)
        self.equal(got, list(range(12)))

    # Recovery

    def test_recovery_after_a_cut(self) -> None:
        """After a broken connection everything missed arrives, once and in order."""
        channel = f"log:{self.name}"
        cable = self.cable()
        self.connect("a", url=cable.url)
        first = self.subscribe("a", channel)
        self.equal((first["recoverable"], first["positioned"]), (True, True))
        self.publish_many(channel, range(3))
        got = self.numbers(3, client="a")
        cable.cut()
        self.sdk.expect("subscribing", client="a", code=1)
        self.publish_many(channel, range(3, 40))
        cable.mend()
        back = self.sdk.expect("subscribed", client="a", channel=channel)
        self.equal((back["was_recovering"], back["recovered"]), (True, True))
        self.publish_many(channel, range(40, 43))
        self.equal(got + self.numbers(40, client="a"), list(range(43)))
        self.equal(self.sdk.pending("publication"), [])

    def test_recovery_after_a_forced_reconnect(self) -> None:
        """A client told to reconnect recovers all publications in between."""
        channel = f"log:{self.name}"
        cable = self.cable()
        self.connect("a", url=cable.url)
        self.subscribe("a", channel)
        self.publish_many(channel, range(3))
        got = self.numbers(3, client="a")
        self.server.api(
            "disconnect",
            user=self.user("a"),
            disconnect={"code": 4100, "reason": "come back"},
        )
        self.sdk.expect("connecting", client="a", code=4100, reason="come back")
        cable.cut()
        self.publish_many(channel, range(3, 10))
        cable.mend()
        self.sdk.expect("subscribed", client="a", recovered=True)
        self.equal(got + self.numbers(7, client="a"), list(range(10)))

    def test_recovery_while_others_publish(self) -> None:
        """Publications during a reconnect are neither lost nor duplicated."""
        channel = f"log:{self.name}"
        cable = self.cable()
        clients = [f"c{number}" for number in range(10)]
        for client in clients:
            self.connect(client, url=cable.url)
            self.subscribe(client, channel)
        for round_ in range(5):
            cable.cut()
            self.publish_many(channel, range(10 * round_, 10 * round_ + 5))
            cable.mend()
            self.publish_many(channel, range(10 * round_ + 5, 10 * round_ + 10))
        for client in clients:
            self.equal(self.numbers(50, client=client), list(range(50)))

    def test_recovery_of_too_much(self) -> None:
        """A client that missed more than history keeps is told, and continues."""
        channel = f"log:{self.name}"
        cable = self.cable()
        self.connect("a", url=cable.url)
        self.subscribe("a", channel)
        self.publish_many(channel, range(1))
        self.equal(self.numbers(1, client="a"), [0])
        cable.cut()
        self.publish_many(channel, range(1, 102))
        cable.mend()
        back = self.sdk.expect("subscribed", client="a", was_recovering=True)
        self.equal(back["recovered"], False)
        self.publish_many(channel, range(102, 103))
        self.equal(self.numbers(1, client="a"), [102])

    def test_recovery_from_cache(self) -> None:
        """In cache mode only the latest publication is recovered."""
        channel = f"cache:{self.name}"
        cable = self.cable()
        self.connect("a", url=cable.url)
        self.subscribe("a", channel)
        self.publish_many(channel, range(1))
        self.equal(self.numbers(1, client="a"), [0])
        cable.cut()
        self.publish_many(channel, range(1, 6))
        cable.mend()
        self.sdk.expect("subscribed", client="a", recovered=True)
        self.equal(self.numbers(1, client="a"), [5])
        self.equal(self.sdk.pending("publication"), [])


class ExpiryContract(SDKCase):
    """Mixin: expiry and timeouts, which take seconds and are the same everywhere."""

    def test_expired_token(self) -> None:
        """An expired token makes the client ask for a fresh one."""
        old = connection_token(self.user("a"), exp=in_seconds(-10))
        fresh = connection_token(self.user("a"), exp=in_seconds(600))
        self.connect("a", token=old, fresh_tokens=[fresh])
        self.sdk.expect("token", client="a")

    def test_connection_refresh(self) -> None:
        """A refreshed connection outlives its first token; another is closed: 3005."""
        token = connection_token(self.user("a"), exp=in_seconds(2))
        fresh = connection_token(self.user("a"), exp=in_seconds(600))
        idle = WebSocket(self.server.port)
        reply = idle.ask({"id": 1, "connect": {"token": token}})
        self.assertTrue(reply["connect"]["expires"])  # type: ignore[attr-defined]
        self.connect("a", token=token, fresh_tokens=[fresh])
        self.subscribe("a", f"room:{self.name}")
        self.sdk.expect("token", client="a")
        self.equal(idle.closing(), (3005, "connection expired"))
        stats = self.sdk.ask("presence_stats", client="a", channel=f"room:{self.name}")
        self.equal(stats, {"clients": 1, "users": 1})
        self.equal(len(self.sdk.pending("connecting", client="a")), 1)

    def test_subscription_refresh(self) -> None:
        """A refreshed subscription outlives its first token; another ends: 2501."""
        channel, user = f"$plain:{self.name}", self.user("a")
        token = subscription_token(user, channel, exp=in_seconds(2))
        fresh = subscription_token(user, channel, exp=in_seconds(600))
        idle = WebSocket(self.server.port)
        self.addCleanup(idle.close)  # type: ignore[attr-defined]
        idle.ask({"id": 1, "connect": {"token": connection_token(user)}})
        idle.send({"id": 2, "subscribe": {"channel": channel, "token": token}})
        self.connect("a")
        self.subscribe("a", channel, token=token, fresh_tokens=[fresh])
        self.sdk.expect("subscription_token", client="a", channel=channel)
        while "unsubscribe" not in (push := idle.receive().get("push", {})):
            pass
        self.equal(push["unsubscribe"]["code"], 2501)
        self.publish_many(channel, range(1))
        self.equal(self.numbers(1, client="a"), [0])
        self.equal(len(self.sdk.pending("subscribing", client="a")), 1)
