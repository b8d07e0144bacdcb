"""A backend of event proxies over gRPC, made of grpcio."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from attrs import define, field

from centrifugo_tx.protocol.proto import proxy_pb2

from .certificates import Authority
from .ports import free_port

__all__ = ["Asked", "GRPCBackend"]

SERVICE = "centrifugal.centrifugo.proxy.CentrifugoProxy"
UNARY = [
    *("Connect", "Refresh", "Subscribe", "Publish", "RPC", "SubRefresh"),
    *("MapPublish", "MapRemove", "SharedPollRefresh"),
]

#: Answers a request, which may also end the call by its context.
Handler = Callable[[Any, Any], Any]


@define(eq=False)
class Asked:
    """One call: its method, its request, its metadata, and its deadline in seconds."""

    method: str
    request: Any
    metadata: dict[str, list[str]]
    remaining: float | None
    headers: Any


@define(eq=False)
class GRPCBackend:
    """Answers calls by ``handlers``; a method without one has an empty response."""

    port: int = field(factory=free_port)
    authority: Authority | None = None
    handlers: dict[str, Handler] = field(factory=dict)
    asked: list[Asked] = field(factory=list)
    _server: Any = field(default=None, init=False)

    @property
    def target(self) -> str:
        """Return where it is."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> "GRPCBackend":
        """Serve."""
        import grpc

        # Each stream holds a thread.
        self._server = grpc.server(ThreadPoolExecutor(32))
        handlers = {name: self._unary(name) for name in UNARY}
        handlers["SubscribeUnidirectional"] = grpc.unary_stream_rpc_method_handler(
            self._unidirectional,
            proxy_pb2.SubscribeRequest.FromString,
            proxy_pb2.StreamSubscribeResponse.SerializeToString,
        )
        handlers["SubscribeBidirectional"] = grpc.stream_stream_rpc_method_handler(
            self._bidirectional,
            proxy_pb2.StreamSubscribeRequest.FromString,
            proxy_pb2.StreamSubscribeResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        if self.authority is None:
            self._server.add_insecure_port(self.target)
        else:
            certificate, key = self.authority.issue("backend.test")
            credentials = grpc.ssl_server_credentials(
                [(key.encode(), certificate.encode())],
                self.authority.pem.encode(),
                require_client_auth=True,
            )
            self._server.add_secure_port(self.target, credentials)
        self._server.start()
        return self

    def stop(self) -> None:
        """Serve no more; calls under way end."""
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    def take(self, method: str) -> Asked:
        """Return the only call of a method, and forget it."""
        [found] = [each for each in self.asked if each.method == method]
        self.asked.remove(found)
        return found

    def _note(self, method: str, request: Any, context: Any) -> None:
        metadata: dict[str, list[str]] = {}
        for name, value in context.invocation_metadata():
            metadata.setdefault(name, []).append(value)
        remaining = context.time_remaining()
        self.asked.append(Asked(method, request, metadata, remaining, context))

    def _unary(self, method: str) -> Any:
        import grpc

        response = getattr(proxy_pb2, f"{method}Response")

        def answer(request: Any, context: Any) -> Any:
            self._note(method, request, context)
            handler = self.handlers.get(method)
            return response() if handler is None else handler(request, context)

        return grpc.unary_unary_rpc_method_handler(
            answer,
            getattr(proxy_pb2, f"{method}Request").FromString,
            response.SerializeToString,
        )

    def _unidirectional(self, request: Any, context: Any) -> Iterator[Any]:
        self._note("SubscribeUnidirectional", request, context)
        yield from self.handlers["SubscribeUnidirectional"](request, context)

    def _bidirectional(self, requests: Any, context: Any) -> Iterator[Any]:
        request = next(requests).subscribe_request
        self._note("SubscribeBidirectional", request, context)
        yield from self.handlers["SubscribeBidirectional"](requests, context)


def messages(*parts: Any) -> Sequence[Any]:
    """Return the messages of a stream: a response first, then publications."""
    first, *rest = parts
    stream = proxy_pb2.StreamSubscribeResponse
    return [stream(subscribe_response=first)] + [stream(publication=p) for p in rest]
