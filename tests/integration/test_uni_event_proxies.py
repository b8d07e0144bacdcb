"""Clients that only listen, about whom a server asks its backend."""

import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from .event_backends import FlaskBackend
from .listeners import EventStream, LineStream, Listener, RemoteCall, UniWebSocket
from .ports import free_port
from .server import PATIENCE, Server

#: The transports; those with a path share a port.
KINDS: dict[str, Callable[[int, Any], Listener]] = {
    "uni_websocket": UniWebSocket,
    "uni_sse": EventStream,
    "uni_http_stream": LineStream,
}
if find_spec("grpc") is not None:
    KINDS["uni_grpc"] = RemoteCall


def options(backend: FlaskBackend) -> dict[str, Any]:
    """Return a configuration that asks *backend* about connections."""

    def proxy(event: str) -> dict[str, Any]:
        return {"enabled": True, "endpoint": backend.url(event), "timeout": "30s"}

    headers = {"http_headers": ["X-Plan"], "emulated_headers": ["X-Plan"]}
    return {
        "client": {
            "proxy": {
                "connect": {**proxy("connect"), **headers},
                "refresh": proxy("refresh"),
            },
            "expired_close_delay": "200ms",
        },
        **{kind: {"enabled": True} for kind in KINDS},
    }


class UniEventProxyTests(SynchronousTestCase):
    """The backend decides about each transport's clients."""

    backend: ClassVar[FlaskBackend]
    server: ClassVar[Server]
    ports: ClassVar[dict[str, int]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.backend = FlaskBackend()
        tree = options(cls.backend)
        grpc_port = free_port()
        if "uni_grpc" in KINDS:
            tree["uni_grpc"].update(address="127.0.0.1", port=grpc_port)
        try:
            cls.server = Server(tree).start()
        except BaseException:
            cls.backend.close()
            raise
        cls.ports = dict.fromkeys(KINDS, cls.server.port) | {"uni_grpc": grpc_port}

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.close()
        cls.backend.close()

    def setUp(self) -> None:
        self.backend.requests.clear()
        before = dict(self.backend.answers)
        self.addCleanup(self.backend.answers.update, before)

    def listen(self, kind: str, **request: Any) -> Listener:
        """Return a client that has sent a connect request."""
        listener = KINDS[kind](self.ports[kind], request)
        self.addCleanup(listener.close)
        return listener

    def answer(self, event: str, **result: Any) -> None:
        """Let the backend answer *event* with *result*."""
        self.backend.answers[event] = {"result": result}

    def test_connect(self) -> None:
        """The backend names the user, the channels and the data of the reply."""
        for kind in KINDS:
            with self.subTest(kind=kind):
                self.backend.requests.clear()
                channel = f"news-{kind}"
                self.answer("connect", user=kind, data={"n": 1}, channels=[channel])
                listener = self.listen(
                    kind, data={"d": [1]}, name="n", headers={"x-plan": "pro"}
                )
                connect = listener.next()["connect"]
                self.assertEqual(connect["data"], {"n": 1})
                self.assertEqual(list(connect["subs"]), [channel])
                [request] = self.backend.of("connect")
                protocol = "protobuf" if kind == "uni_grpc" else "json"
                self.assertEqual(
                    request.json,
                    {
                        "client": connect["client"],
                        "transport": kind,
                        "protocol": protocol,
                        "encoding": "json",
                        "data": {"d": [1]},
                        "name": "n",
                    },
                )
                self.assertEqual(request.headers.get("x-plan"), "pro")
                self.server.api("publish", channel=channel, data={"text": "hi"})
                self.assertEqual(listener.next()["pub"]["data"], {"text": "hi"})
                self.server.api("disconnect", user=kind)
                self.assertEqual(listener.next()["disconnect"]["code"], 3503)

    def test_refused(self) -> None:
        """A refusal of the backend ends the connection; clients see no error code."""
        reason = {"code": 4242, "reason": "no"}
        failed = {"code": 3004, "reason": "internal server error"}
        for kind in KINDS:
            for answer, expected in (
                ({"disconnect": reason}, reason),
                ({"error": {"code": 1000, "message": "wrong plan"}}, failed),
                (500, failed),
                ({}, {"code": 3501, "reason": "bad request"}),
            ):
                with self.subTest(kind=kind, answer=answer):
                    self.backend.answers["connect"] = answer
                    listener = self.listen(kind)
                    self.assertEqual(listener.next(), {"disconnect": expected})

    def test_refresh(self) -> None:
        """When a connection expires, the backend may let it end, or prolong it."""
        expected = {"code": 3005, "reason": "connection expired"}
        for kind, listener in self.expiring({"expired": True}).items():
            with self.subTest(kind=kind):
                self.assertEqual(listener.next(), {"disconnect": expected})
        self.backend.requests.clear()
        later = int(time.time()) + 3600
        listeners = self.expiring({"expire_at": later})
        deadline = time.monotonic() + PATIENCE
        while len(asked := self.backend.of("refresh")) < len(KINDS):
            self.assertLess(time.monotonic(), deadline, asked)
            time.sleep(0.02)
        self.assertEqual({each.json["transport"] for each in asked}, set(KINDS))
        self.server.api("publish", channel="news", data="hi")
        for kind, listener in listeners.items():
            with self.subTest(kind=kind):
                self.assertEqual(listener.next()["pub"]["data"], "hi")

    def expiring(self, refreshed: Any) -> dict[str, Listener]:
        """Return clients that expire soon; the backend then answers *refreshed*."""
        self.backend.answers["refresh"] = {"result": refreshed}
        return {kind: self.expiring_client(kind) for kind in KINDS}

    def expiring_client(self, kind: str) -> Listener:
        """Return a client that has connected before it expired."""
        ahead = 1
        while True:
            soon = int(time.time()) + ahead
            self.answer("connect", user="anna", expire_at=soon, channels=["news"])
            listener = self.listen(kind)
            if "connect" in listener.next():
                return listener
            ahead *= 2
