"""Decoding of the server's requests.

See event proxies, "Common fields".
"""

import base64
from dataclasses import dataclass
from typing import Any

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
    Error,
    Event,
    InvalidRequest,
    PolledItem,
    PublishRequest,
)

#: One request of each event as the server sends it, and its decoded form.
CLIENT = '"client":"c1","transport":"websocket","protocol":"json","encoding":"json"'
REQUESTS: list[tuple[Event[Any, Any], str, dict[str, Any]]] = [
    (
        CONNECT,
        '"name":"js","version":"5","channels":["a","b"],"data":{"k":1}',
        {"name": "js", "version": "5", "channels": ("a", "b"), "data": {"k": 1}},
    ),
    (REFRESH, '"user":"42","meta":{"m":1}', {"user": "42", "meta": {"m": 1}}),
    (
        SUBSCRIBE,
        '"user":"42","channel":"news","token":"t","data":[1]',
        {"user": "42", "channel": "news", "token": "t", "data": [1]},
    ),
    (
        SUB_REFRESH,
        '"user":"","channel":"news"',
        {"user": "", "channel": "news", "meta": None},
    ),
    (
        PUBLISH,
        '"user":"42","channel":"news","data":"text"',
        {"user": "42", "channel": "news", "data": "text"},
    ),
    (RPC, '"user":"42","method":"sum"', {"method": "sum", "data": None}),
    (
        MAP_PUBLISH,
        '"channel":"m","key":"k","data":null',
        {"user": "", "channel": "m", "key": "k", "data": None},
    ),
    (MAP_REMOVE, '"channel":"m","key":"k"', {"channel": "m", "key": "k"}),
]


def publish(fields: str) -> PublishRequest:
    """Return a publish request with these fields."""
    return PUBLISH.decode(b"{%b}" % fields.encode())


@dataclass
class Point:
    """Values of payloads."""

    x: int
    y: int


class RequestTests(SynchronousTestCase):
    """Fields, payloads, and malformed requests."""

    def test_events(self) -> None:
        """Each event's fields are read; unknown fields are ignored."""
        for event, fields, expected in REQUESTS:
            body = f'{{{CLIENT},{fields},"labels":{{"a":"b"}},"new":[]}}'
            request = event.decode(body.encode())
            self.assertIsInstance(request, event.request)
            self.assertEqual(request.client, "c1")
            self.assertEqual(request.transport, "websocket")
            self.assertEqual(request.protocol, "json")
            self.assertEqual(request.encoding, "json")
            for name, value in expected.items():
                self.assertEqual(getattr(request, name), value, (event.name, name))

    def test_poll(self) -> None:
        """A poll names keys with versions, and no connection."""
        body = b'{"channel":"p","items":[{"key":"a","version":7},{"key":"b"}]}'
        request = SHARED_POLL_REFRESH.decode(body)
        self.assertEqual(request.channel, "p")
        self.assertEqual(request.items, (PolledItem("a", 7), PolledItem("b", 0)))

    def test_raw(self) -> None:
        """The bytes of a payload are at hand as they came."""
        request = publish('"data": {"b": 1.0,  "a": 123456789012345678901, "b": 2}')
        raw = b'{"b": 1.0,  "a": 123456789012345678901, "b": 2}'
        self.assertEqual(request.payload, raw)

    def test_binary(self) -> None:
        """A payload in base64 is decoded, and may hold JSON or not."""
        text = base64.b64encode(b'{"a":1}').decode()
        request = publish(f'"b64data":"{text}"')
        self.assertEqual((request.payload, request.data), (b'{"a":1}', {"a": 1}))
        text = base64.b64encode(b"\xff\x00").decode()
        request = publish(f'"b64data":"{text}"')
        self.assertEqual(request.payload, b"\xff\x00")
        with self.assertRaises(Error) as caught:
            request.data  # noqa: B018
        self.assertEqual(caught.exception.code, 107)

    def test_typed(self) -> None:
        """A payload can be checked against a type; another form is a bad request."""
        self.assertEqual(
            publish('"data":{"x":1,"y":2}').data_as(Point), Point(x=1, y=2)
        )
        for data in ('{"x":1}', '"x"', '{"x":1,"y":"2"}'):
            with self.assertRaises(Error) as caught:
                publish(f'"data":{data}').data_as(Point)
            self.assertEqual(caught.exception.message, "bad request")
        with self.assertRaises(Error):
            publish("").data_as(Point)

    def test_malformed(self) -> None:
        """A request that the server would not send is refused with status 400."""
        for body in (b"", b"[]", b"{", b'{"user":1}', b'{"b64data":"?"}', b"\xff"):
            with self.assertRaises(InvalidRequest) as caught:
                PUBLISH.decode(body)
            self.assertEqual(caught.exception.status, 400)
            self.assertIn("no publish request: ", str(caught.exception))
