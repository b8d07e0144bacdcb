"""Encoding of a backend's responses (event proxies, "Common fields")."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.backend import (
    CONNECT,
    MAP_PUBLISH,
    MAP_REMOVE,
    PUBLISH,
    REFRESH,
    RPC,
    SHARED_POLL_REFRESH,
    SUB_REFRESH,
    SUBSCRIBE,
    ChangedItem,
    ConnectResult,
    Disconnect,
    Error,
    Event,
    MapPublishResult,
    MapRemoveResult,
    Override,
    PublishRequest,
    PublishResult,
    RefreshResult,
    RPCResult,
    SharedPollRefreshResult,
    SubRefreshResult,
    SubscribeOptions,
    SubscribeResult,
    Webhook,
)

#: Results, and the fields that the server reads of each.
RESULTS: list[tuple[Event[Any, Any], msgspec.Struct, dict[str, Any]]] = [
    (CONNECT, ConnectResult(), {}),
    (
        CONNECT,
        ConnectResult(
            user="42",
            expire_at=1700000000,
            info={"name": "Ada"},
            data=[1],
            channels=["a"],
            subs={
                "b": SubscribeOptions(
                    info=b"\xff",
                    data={"d": 1},
                    override=Override(presence=False, force_recovery=True),
                    cache_recover=True,
                ),
                "c": SubscribeOptions(),
            },
            meta={"m": 1},
        ),
        {
            "user": "42",
            "expire_at": 1700000000,
            "info": {"name": "Ada"},
            "data": [1],
            "channels": ["a"],
            "subs": {
                "b": {
                    "b64info": "/w==",
                    "data": {"d": 1},
                    "override": {
                        "presence": {"value": False},
                        "force_recovery": {"value": True},
                    },
                    "cache_recover": True,
                },
                "c": {},
            },
            "meta": {"m": 1},
        },
    ),
    (
        REFRESH,
        RefreshResult(expire_at=1, info=b"i", meta=None),
        {"expire_at": 1, "b64info": "aQ==", "meta": None},
    ),
    (REFRESH, RefreshResult(expired=True), {"expired": True}),
    (
        SUBSCRIBE,
        SubscribeResult(expire_at=2, data=b"", override=Override(join_leave=True)),
        {"expire_at": 2, "b64data": "", "override": {"join_leave": {"value": True}}},
    ),
    (SUB_REFRESH, SubRefreshResult(info=0), {"info": 0}),
    (
        PUBLISH,
        PublishResult(
            data=None,
            skip_history=True,
            tags={"t": "1"},
            idempotency_key="k",
            delta=True,
            version=3,
            version_epoch="e",
        ),
        {
            "data": None,
            "skip_history": True,
            "tags": {"t": "1"},
            "idempotency_key": "k",
            "delta": True,
            "version": 3,
            "version_epoch": "e",
        },
    ),
    (RPC, RPCResult(data=False), {"data": False}),
    (
        MAP_PUBLISH,
        MapPublishResult(key="k", data=1, key_mode="if_new"),
        {"key": "k", "data": 1, "key_mode": "if_new"},
    ),
    (MAP_REMOVE, MapRemoveResult(key="k"), {"key": "k"}),
    (
        SHARED_POLL_REFRESH,
        SharedPollRefreshResult(
            items=[
                ChangedItem(key="a", data={"x": 1}, version=2, prev_data={}),
                ChangedItem(key="b", removed=True),
            ],
            epoch="e",
        ),
        {
            "items": [
                {"key": "a", "data": {"x": 1}, "version": 2, "prev_data": {}},
                {"key": "b", "removed": True},
            ],
            "epoch": "e",
        },
    ),
]


class ResultTests(SynchronousTestCase):
    """The bodies of responses."""

    def test_events(self) -> None:
        """Only the fields that are set are sent; bytes go as base64."""
        for event, result, expected in RESULTS:
            self.assertEqual(json.loads(event.encode(result)), {"result": expected})

    def test_none(self) -> None:
        """None answers without a result."""
        self.assertEqual(PUBLISH.encode(None), b"{}")

    def test_raw(self) -> None:
        """Raw JSON goes out as it is."""
        raw = msgspec.Raw(b'{"a": 1.0, "a":2}')
        body = PUBLISH.encode(PublishResult(data=raw))
        self.assertEqual(body, b'{"result":{"data":{"a": 1.0, "a":2}}}')

    def test_values(self) -> None:
        """Times and structs become JSON, too."""
        at = datetime(2026, 1, 2, tzinfo=UTC)
        body = RPC.encode(RPCResult(data={"at": at, "item": ChangedItem(key="a")}))
        self.assertIn(b'"at":"2026-01-02T00:00:00Z"', body)

    def test_outcomes(self) -> None:
        """Errors and disconnects have forms of their own."""
        self.assertEqual(
            PUBLISH.encode(Error(400, "no", temporary=True)),
            b'{"error":{"code":400,"message":"no","temporary":true}}',
        )
        self.assertEqual(
            PUBLISH.encode(Error(400)), b'{"error":{"code":400,"message":""}}'
        )
        self.assertEqual(
            CONNECT.encode(Disconnect(4500, "banned")),
            b'{"disconnect":{"code":4500,"reason":"banned"}}',
        )

    def test_wrong(self) -> None:
        """A response that the server could not read is an error in the backend."""
        wrong: list[tuple[Event[Any, Any], object]] = [
            (PUBLISH, RPCResult()),
            (PUBLISH, {"data": 1}),
            (CONNECT, ConnectResult(meta=b"bytes")),
            (RPC, RPCResult(data=object())),
            (
                SHARED_POLL_REFRESH,
                SharedPollRefreshResult(items=[ChangedItem(key="a", data=b"bytes")]),
            ),
        ]
        for event, outcome in wrong:
            with self.assertRaises(TypeError):
                event.encode(outcome)


class WebhookTests(SynchronousTestCase):
    """Handling of requests without a framework."""

    def answer(self, handle: Any) -> bytes:
        """Return the answer to one call."""
        hook = Webhook(PUBLISH)
        return hook.answer(b'{"channel":"news","data":1}', None, handle)

    def test_returned(self) -> None:
        """The function receives the request, and its result is the response."""
        seen: list[PublishRequest] = []
        self.assertEqual(self.answer(seen.append), b"{}")
        self.assertEqual((seen[0].channel, seen[0].data), ("news", 1))
        answer = self.answer(lambda call: PublishResult(data=[call.data]))
        self.assertEqual(answer, b'{"result":{"data":[1]}}')

    def test_raised(self) -> None:
        """Errors and disconnects may be raised; others pass through."""

        def refuse(_: PublishRequest) -> None:
            raise Error(403, "no")

        def fail(_: PublishRequest) -> None:
            raise LookupError

        self.assertEqual(self.answer(refuse), b'{"error":{"code":403,"message":"no"}}')
        self.assertRaises(LookupError, self.answer, fail)
