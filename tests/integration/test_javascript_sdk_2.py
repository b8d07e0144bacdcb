"""The JavaScript client of protocol v1 (centrifuge 2.8.5) against the real server."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .sdk_contract import SDKCase, in_seconds
from .server import connection_token, subscription_token
from .test_javascript_sdk import node_command


class OldContract(SDKCase):
    """Features of that client on which applications rely."""

    encoding = "json"

    def sdk_command(self) -> list[str]:
        return node_command("javascript_sdk_2.mjs", self.encoding)

    # Connections

    def test_connect(self) -> None:
        """A client with a token connects, and leaves when it wants to."""
        self.assertTrue(self.connect("a")["id"])  # type: ignore[attr-defined]
        self.sdk.order("disconnect", client="a")
        ended = self.sdk.expect("disconnected", client="a")
        self.equal(ended["reconnect"], False)

    def test_invalid_token(self) -> None:
        """A token with a wrong signature ends the connection permanently."""
        token = connection_token("a")[:-4] + "AAAA"
        self.sdk.order("connect", client="a", url=self.server.url, token=token)
        ended = self.sdk.expect("disconnected", client="a")
        self.equal((ended["reason"], ended["reconnect"]), ("invalid token", False))

    def test_disconnect_without_reconnect(self) -> None:
        """The server API ends a connection; the client stays away."""
        self.connect("a")
        self.server.api("disconnect", user=self.user("a"))
        ended = self.sdk.expect("disconnected", client="a")
        expected = ("force disconnect", False)
        self.equal((ended["reason"], ended["reconnect"]), expected)

    def test_disconnect_with_reconnect(self) -> None:
        """A client that is told to reconnect does so."""
        self.connect("a")
        self.server.api(
            "disconnect",
            user=self.user("a"),
            disconnect={"code": 4100, "reason": "come back"},
        )
        ended = self.sdk.expect("disconnected", client="a")
        self.equal((ended["reason"], ended["reconnect"]), ("come back", True))
        self.sdk.expect("connected", client="a")

    # Subscriptions

    def test_publish(self) -> None:
        """Publications of client and server reach all, with offset and sender."""
        channel = f"room:{self.name}"
        for client in ("a", "b"):
            self.connect(client, info={"nick": client})
            self.subscribe(client, channel)
        sent = self.sdk.ask("publish", client="a", channel=channel, data={"n": 0})
        self.equal(sent, None)
        self.publish_many(channel, range(1, 3))
        for client in ("a", "b"):
            got = self.sdk.expect("publication", client=client, channel=channel)
            self.equal((got["data"], got["offset"]), ({"n": 0}, 1))
            self.equal(got["info"]["user"], self.user("a"))
            self.equal(self.numbers(2, client=client), [1, 2])

    def test_forbidden(self) -> None:
        """Without permission a subscription fails: 103; an unknown namespace: 102."""
        self.connect("a")
        for channel, code in (("closed:x", 103), ("unknown:x", 102)):
            self.sdk.order("subscribe", client="a", channel=channel)
            failed = self.sdk.expect("subscription_error", client="a", channel=channel)
            self.equal((channel, failed["code"]), (channel, code))

    def test_private_channel(self) -> None:
        """The application's token for this very client opens a private channel."""
        channel, user = f"$plain:{self.name}", self.user("a")
        id = self.connect("a")["id"]
        token = subscription_token(user, channel, info={"v": 1}, client=id)
        self.subscribe("a", channel, token=token)
        self.equal(self.sdk.expect("subscription_token", client="a")["id"], id)
        self.sdk.ask("publish", client="a", channel=channel, data={"n": 1})
        got = self.sdk.expect("publication", client="a")
        self.equal(got["info"]["chan_info"], {"v": 1})

    def test_presence(self) -> None:
        """Presence shows each client and its user."""
        channel = f"room:{self.name}"
        ids = {}
        for client in ("a", "b"):
            token = connection_token(self.user("same"), info={"nick": client})
            ids[client] = self.connect(client, token=token)["id"]
            self.subscribe(client, channel)
        asked = {"client": "a", "channel": channel}
        found = self.sdk.ask("presence", **asked)
        self.equal(set(found), set(ids.values()))
        self.equal(found[ids["b"]]["conn_info"], {"nick": "b"})
        stats = self.sdk.ask("presence_stats", **asked)
        self.equal(stats, {"clients": 2, "users": 1})

    def test_join_and_leave(self) -> None:
        """Subscribers see joins and leaves, if the channel has them."""
        channel = f"forced:{self.name}"
        self.connect("a")
        self.subscribe("a", channel)
        coming = self.connect("b")["id"]
        self.subscribe("b", channel)
        while self.sdk.expect("join", client="a")["info"]["client"] != coming:
            pass
        self.sdk.order("disconnect", client="b")
        left = self.sdk.expect("leave", client="a", channel=channel)["info"]
        self.equal(left["client"], coming)

    def test_history(self) -> None:
        """History is read forward, backward and from a position."""
        channel = f"room:{self.name}"
        self.connect("a")
        self.subscribe("a", channel)
        self.publish_many(channel, range(1, 6))
        asked = {"client": "a", "channel": channel}

        def offsets(**fields: Any) -> list[int]:
            found = self.sdk.ask("history", **asked, **fields)
            return [each["offset"] for each in found["publications"]]

        epoch = self.sdk.ask("history", **asked, limit=1)["epoch"]
        since = {"offset": 2, "epoch": epoch}
        self.equal(offsets(limit=2), [1, 2])
        self.equal(offsets(limit=-1), [1, 2, 3, 4, 5])
        self.equal(offsets(limit=2, since=since), [3, 4])
        self.equal(offsets(limit=2, reverse=True), [5, 4])

    def test_unsubscribe_by_server(self) -> None:
        """The server API ends a subscription."""
        channel = f"plain:{self.name}"
        self.connect("a")
        self.subscribe("a", channel)
        self.server.api("unsubscribe", user=self.user("a"), channel=channel)
        self.sdk.expect("unsubscribed", client="a", channel=channel)

    def test_rpc(self) -> None:
        """A call of an unknown procedure returns an error."""
        self.connect("a")
        self.equal(self.sdk.ask("rpc", client="a", method="time", data={}), 108)

    def test_channels_of_a_token(self) -> None:
        """The channels that a token lists are subscribed to with the connection."""
        channel = f"plain:{self.name}"
        token = connection_token(self.user("a"), channels=[channel])
        self.connect("a", token=token)
        self.sdk.expect("server_subscribed", client="a", channel=channel)
        self.publish_many(channel, range(3))
        got = self.numbers(3, "server_publication", client="a", channel=channel)
        self.equal(got, [0, 1, 2])

    # Recovery

    def test_recovery(self) -> None:
        """After a broken connection everything missed arrives, once and in order."""
        channel = f"log:{self.name}"
        cable = self.cable()
        self.connect("a", url=cable.url)
        self.subscribe("a", channel)
        self.publish_many(channel, range(3))
        got = self.numbers(3, client="a")
        for round_ in range(1, 4):
            cable.cut()
            self.sdk.expect("disconnected", client="a", reconnect=True)
            self.publish_many(channel, range(10 * round_ - 7, 10 * round_ + 3))
            cable.mend()
            self.sdk.expect("subscribed", client="a", again=True, recovered=True)
            got += self.numbers(10, client="a")
        self.publish_many(channel, range(33, 36))
        self.equal(got + self.numbers(3, client="a"), list(range(36)))
        self.equal(self.sdk.pending("publication"), [])

    def test_recovery_of_a_personal_channel(self) -> None:
        """Missed publications of a server-side subscription arrive, too."""
        channel = f"personal:#{self.user('a')}"
        cable = self.cable()
        self.connect("a", url=cable.url)
        self.sdk.expect("server_subscribed", client="a", channel=channel)
        self.publish_many(channel, range(3))
        got = self.numbers(3, "server_publication", client="a", channel=channel)
        for first in (3, 9):
            cable.cut()
            self.sdk.expect("disconnected", client="a", reconnect=True)
            self.publish_many(channel, range(first, first + 6))
            cable.mend()
            self.sdk.expect("server_subscribed", client="a", channel=channel)
            got += self.numbers(6, "server_publication", client="a", channel=channel)
        self.publish_many(channel, range(15, 17))
        got += self.numbers(2, "server_publication", client="a", channel=channel)
        self.equal(got, list(range(17)))

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
        self.sdk.expect("subscribed", client="a", again=True, recovered=False)
        self.publish_many(channel, range(102, 103))
        last = -1
        while last != 102:
            (last,) = self.numbers(1, client="a")


class OldExpiryContract(SDKCase):
    """Expiry and timeouts, which take seconds and are the same everywhere."""

    def test_expired_token(self) -> None:
        """An expired token makes the client ask for a fresh one."""
        old = connection_token(self.user("a"), exp=in_seconds(-10))
        fresh = connection_token(self.user("a"), exp=in_seconds(600))
        self.connect("a", token=old, fresh_tokens=[fresh])
        self.sdk.expect("token", client="a")

    def test_connection_refresh(self) -> None:
        """A client refreshes its connection before it ends."""
        token = connection_token(self.user("a"), exp=in_seconds(2))
        fresh = connection_token(self.user("a"), exp=in_seconds(600))
        self.connect("a", token=token, fresh_tokens=[fresh])
        self.sdk.expect("token", client="a")
        self.subscribe("a", f"room:{self.name}")
        self.equal(self.sdk.pending("disconnected"), [])


class JSONTests(OldContract, OldExpiryContract, SynchronousTestCase):
    """centrifuge-js 2.8.5 in JSON."""


class ProtobufTests(OldContract, SynchronousTestCase):
    """centrifuge-js 2.8.5 in Protobuf."""

    encoding = "protobuf"
