"""The causes of refusals, which are for the log."""

from typing import Any

from twisted.python.failure import Failure

from centrifugo_tx.errors import DisconnectClient, ReplyError
from centrifugo_tx.protocol.messages import (
    ConnectRequest,
    HistoryRequest,
    PublishRequest,
    Raw,
    RefreshRequest,
    RPCRequest,
    SubRefreshRequest,
    SubscribeRequest,
)

from .policy_case import NOW, PolicyTestCase, Visitor, token


class CauseTestCase(PolicyTestCase):
    """Looks at causes."""

    def why(self, decision: Any) -> tuple[str, dict[str, object]]:
        """Return the cause of a refusal, and its details."""
        results: list[Any] = []
        decision.addBoth(results.append)
        (failure,) = results
        assert isinstance(failure, Failure), failure
        value = failure.value
        assert isinstance(value, ReplyError | DisconnectClient)
        return value.cause, value.details


class TokenTests(CauseTestCase):
    """Tokens that are refused."""

    def setUp(self) -> None:
        super().setUp()
        self.visitor = Visitor(user="ada")

    def subscribe(self, claims: dict[str, Any], key: str = "") -> tuple[str, Any]:
        """Subscribe to ``a`` by a token with *claims*."""
        made = token(claims, key) if key else token(claims)
        asked = SubscribeRequest(channel="a", token=made)
        return self.why(self.policy().subscribe(self.visitor, asked))

    def test_connect(self) -> None:
        """The log names a wrong signature and an expired token."""
        policy, visitor = self.policy(), Visitor()
        for made, cause, error in (
            (token({}, "other"), "invalid connection token", "signature"),
            (token({"exp": 1}), "connection token expired", "exp has passed"),
            ("nonsense", "invalid connection token", "not a token"),
        ):
            why, details = self.why(policy.connect(visitor, ConnectRequest(token=made)))
            self.assertEqual(why, cause)
            self.assertIn(error, str(details["token_error"]))
            self.assertNotIn(made, str(details))

    def test_no_credentials(self) -> None:
        """So is a client without any."""
        why, _ = self.why(self.policy().connect(Visitor(), ConnectRequest()))
        self.assertEqual(why, "client credentials not found")

    def test_refresh(self) -> None:
        """For a refresh token of another user the log names that user."""
        policy = self.policy()
        for claims, cause, details in (
            (
                {"sub": "bob", "exp": NOW + 60},
                "refresh token user mismatch",
                {"token_user": "bob"},
            ),
            (
                {"sub": "ada", "exp": 1},
                "refresh token expired",
                {"token_error": "exp has passed"},
            ),
        ):
            asked = RefreshRequest(token=token(claims))
            found = self.why(policy.refresh(self.visitor, asked))
            self.assertEqual(found, (cause, details))

    def test_subscribe(self) -> None:
        """Tokens for other channels, users and clients say for whom they are."""
        good = {"sub": "ada", "channel": "a"}
        self.assertEqual(
            self.subscribe({**good, "channel": "b"}),
            ("token channel mismatch", {"token_channel": "b"}),
        )
        self.assertEqual(
            self.subscribe({**good, "sub": "bob"}),
            ("token user mismatch", {"token_user": "bob"}),
        )
        self.assertEqual(
            self.subscribe({**good, "client": "c"}),
            ("token client mismatch", {"token_client": "c"}),
        )
        self.assertEqual(self.subscribe(good, "x")[0], "invalid subscription token")
        self.assertEqual(
            self.subscribe({**good, "exp": 1})[0], "subscription token expired"
        )

    def test_sub_refresh(self) -> None:
        """Likewise for subscriptions that are to live on."""
        claims = {"sub": "ada", "channel": "a"}
        for made, cause in (
            (token(claims, "x"), "invalid subscription refresh token"),
            (token({**claims, "exp": 1}), "subscription refresh token expired"),
            (token({**claims, "sub": "bob"}), "token user mismatch"),
        ):
            asked = SubRefreshRequest(channel="a", token=made)
            why, _ = self.why(self.policy().sub_refresh(self.visitor, asked))
            self.assertEqual(why, cause)


class PermissionTests(CauseTestCase):
    """Operations without permission."""

    def test_channels(self) -> None:
        """The cause of each refusal names the missing permission."""
        visitor = Visitor(user="ada")
        policy = self.policy({"history_size": 1, "history_ttl": 60, "presence": True})
        publication = PublishRequest(channel="a", data=Raw(b"1"))
        for decision, cause in (
            (
                policy.subscribe(visitor, SubscribeRequest(channel="a")),
                "attempt to subscribe without sufficient permission",
            ),
            (
                policy.subscribe(visitor, SubscribeRequest(channel="$a")),
                "attempt to subscribe on private channel without token",
            ),
            (
                policy.subscribe(visitor, SubscribeRequest(channel="no:a")),
                "unknown channel namespace",
            ),
            (
                policy.publish(visitor, publication),
                "attempt to publish without sufficient permission",
            ),
            (
                policy.publish(visitor, PublishRequest(channel="a")),
                "publish data validation failed",
            ),
            (
                policy.presence(visitor, "a"),
                "attempt to call presence without sufficient permission",
            ),
            (
                policy.history(visitor, HistoryRequest(channel="a")),
                "attempt to call history without sufficient permission",
            ),
            (policy.rpc(visitor, RPCRequest(method="m")), "rpc proxy not enabled"),
        ):
            self.assertEqual(self.why(decision)[0], cause)

    def test_not_enabled(self) -> None:
        """A channel without history or presence says so."""
        policy, visitor = self.policy(), Visitor(user="ada")
        self.assertEqual(
            self.why(policy.presence(visitor, "a"))[0],
            "presence is not enabled for channel",
        )
        self.assertEqual(
            self.why(policy.history(visitor, HistoryRequest(channel="a")))[0],
            "history is not enabled for channel",
        )
