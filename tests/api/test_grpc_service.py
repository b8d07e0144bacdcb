"""The server API over gRPC: keys, statuses, refusals and cancelled calls."""

import asyncio
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import Any
from unittest import skipUnless

from attrs import define, field
from twisted.internet.defer import Deferred

from centrifugo_tx.api import Api
from centrifugo_tx.grpc.asyncio_bridge import AsyncioBridge
from centrifugo_tx.options import Published
from centrifugo_tx.protocol.proto import api_pb2
from tests.log_lines import LogTestCase
from tests.support import World

from .api_backend import Rules

PREFIX = "/centrifugal.centrifugo.api.CentrifugoApi/"


class SameThread(AsyncioBridge):
    """A bridge whose reactor and loop are the same."""

    def to_loop(self, call: Callable[[], object]) -> None:
        """Do it at once."""
        call()

    def to_reactor(self, call: Callable[..., object], *arguments: object) -> None:
        """Likewise."""
        call(*arguments)


class Aborted(Exception):
    """Ends a call with a status."""


@define(eq=False)
class Call:
    """A call as gRPC describes it, before it begins and while it runs."""

    method: str
    metadata: tuple[tuple[str, "str | bytes"], ...] = ()
    status: tuple[str, str] = ("OK", "")
    trailing: Any = ()
    invocation_metadata: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.invocation_metadata = self.metadata

    def peer(self) -> str:
        """Return the caller's address."""
        return "ipv4:10.0.0.1:5555"

    async def abort(self, code: Any, details: str, trailing: Any = ()) -> None:
        """End the call."""
        self.status, self.trailing = (code.name, details), trailing
        raise Aborted


@skipUnless(find_spec("grpc"), "grpcio is not installed")
class ServiceCase(LogTestCase):
    """Has a node and a service."""

    def setUp(self) -> None:
        super().setUp()
        self.world = World(policy=Rules())
        self.api = Api(self.world.node, protocol="grpc")

    def service(self, key: str = "", transport_errors: bool = False) -> Any:
        """Return a service."""
        from centrifugo_tx.api.grpc_service import GRPCService

        self.bridge = SameThread(None)
        return GRPCService(self.api, self.bridge, key, transport_errors)

    def run_in_loop(self, story: Coroutine[Any, Any, Any]) -> Any:
        """Return the result of a coroutine."""

        async def bounded() -> Any:
            self.bridge.loop = asyncio.get_running_loop()
            return await asyncio.wait_for(story, 10)

        return asyncio.run(bounded())

    def call(
        self, name: str, request: Any, *metadata: Any, **options: Any
    ) -> tuple[Call, Any]:
        """Make a call; return it and its response, None if it was aborted."""
        call = Call(PREFIX + name, metadata)
        handler = self.service(**options).service(call)
        data = request if isinstance(request, bytes) else request.SerializeToString()
        call.invocation_metadata = lambda: metadata

        async def story() -> Any:
            try:
                if handler.stream_unary is not None:
                    return await handler.stream_unary(None, call)
                return await handler.unary_unary(data, call)
            except Aborted:
                return None

        written = self.run_in_loop(story())
        if written is None:
            return call, None
        return call, getattr(api_pb2, f"{name}Response").FromString(written)


class ServiceTests(ServiceCase):
    """One call at a time."""

    def test_result(self) -> None:
        """A method's result is in its response."""
        request = api_pb2.PublishRequest(channel="hh:a", data=b"\xff")
        _, response = self.call("Publish", request)
        self.assertEqual(response.result.offset, 1)
        _, response = self.call("Unsubscribe", api_pb2.UnsubscribeRequest())
        self.assertTrue(response.HasField("result"))

    def test_key(self) -> None:
        """Only the whole key, in the first value, lets a call in."""
        request = api_pb2.InfoRequest()
        right, wrong = ("authorization", "apikey k"), ("authorization", "apikey x")
        for metadata, status in (
            ((right,), "OK"),
            ((right, wrong), "OK"),
            ((wrong, right), "UNAUTHENTICATED"),
            ((("authorization", b"apikey \xff"),), "UNAUTHENTICATED"),
            ((("authorization", "apikey kk"),), "UNAUTHENTICATED"),
            ((), "UNAUTHENTICATED"),
        ):
            call, _ = self.call("Info", request, *metadata, key="k")
            self.assertEqual(call.status[0], status, metadata)
        lines = self.lines("addr")
        self.assertIn(("warn", "API key required", "10.0.0.1"), lines)
        self.assertIn(("warn", "wrong API key", "10.0.0.1"), lines)

    def test_not_ours(self) -> None:
        """Other services are left to other handlers; unknown methods are refused."""
        service = self.service(key="k")
        self.assertIsNone(service.service(Call("/other.Service/Info")))
        call, _ = self.call("Connections", b"")
        self.assertEqual(call.status[0], "UNIMPLEMENTED")

    def test_errors(self) -> None:
        """Errors are in the response, or statuses by configuration or on request."""
        request = api_pb2.PublishRequest(channel="nowhere:a", data=b"1")
        call, response = self.call("Publish", request)
        self.assertEqual((call.status[0], response.error.code), ("OK", 102))
        call, _ = self.call("Publish", request, transport_errors=True)
        self.assertEqual(call.status, ("NOT_FOUND", "unknown channel"))
        mode = ("x-centrifugo-error-mode", "transport")
        call, _ = self.call("Publish", request, mode)
        self.assertEqual(call.status, ("NOT_FOUND", "unknown channel"))
        ((name, _),) = call.trailing
        self.assertEqual(name, "grpc-status-details-bin")

    def test_malformed(self) -> None:
        """A malformed message is logged and counted, and ends the call."""
        call, _ = self.call("Publish", b"\xff\xff")
        self.assertEqual(call.status[0], "INTERNAL")
        self.assertEqual(
            self.lines("method", "addr"),
            [("warn", "error decoding API request body", "publish", "10.0.0.1")],
        )
        counter = self.world.node.metrics.counter(
            "api_command_errors_total",
            **{"protocol": "grpc", "method": "publish", "error": "unmarshal"},
        )
        self.assertEqual(counter.value, 1)

    def test_batch(self) -> None:
        """A batch has a reply for each command, in order."""
        commands: list[dict[str, Any]] = [
            {"publish": {"channel": "hh:a", "data": b"1"}},
            {},
            {"info": {}},
        ]
        _, response = self.call("Batch", api_pb2.BatchRequest(commands=commands))
        first, second, third = response.replies
        self.assertEqual((first.publish.offset, second.error.code), (1, 104))
        self.assertEqual(len(third.info.nodes), 1)


class CancelTests(ServiceCase):
    """Callers that cancel a running call."""

    def cancelled(self, name: str, request: Any) -> "list[Deferred[Any]]":
        """Cancel a call as soon as something waits; return all that was waited for."""
        waits: list[Deferred[Any]] = []

        def publish(*given: object) -> "Deferred[Any]":
            waits.append(Deferred())
            return waits[-1]

        self.patch(type(self.world.node.streams), "publish", publish)
        call = Call(PREFIX + name)
        handler = self.service().service(call)
        call.invocation_metadata = lambda: ()

        async def story() -> None:
            data = request.SerializeToString()
            task = asyncio.ensure_future(handler.unary_unary(data, call))
            while not waits:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.run_in_loop(story())
        return waits

    def test_batch(self) -> None:
        """A batch runs no further command; the one that runs is not cut off."""
        self.world.node.streams.broker.publishes_in_order = False
        publish = {"publish": {"channel": "hh:a", "data": b"1"}}
        request = api_pb2.BatchRequest(commands=[publish, publish])
        (first,) = waits = self.cancelled("Batch", request)
        self.assertFalse(first.called)
        first.callback(Published())
        self.assertEqual(len(waits), 1)

    def test_single(self) -> None:
        """A running method other than batch and broadcast completes."""
        request = api_pb2.PublishRequest(channel="hh:a", data=b"1")
        (only,) = self.cancelled("Publish", request)
        self.assertFalse(only.called)
        only.callback(Published())
        self.assertEqual(self.lines(), [])
