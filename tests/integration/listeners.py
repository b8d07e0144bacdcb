"""Clients that only listen, one per unidirectional transport, without an SDK."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import Any, Protocol
from urllib.parse import quote

from attrs import define, field

from .websocket import CLOSE, PATIENCE, TEXT, WebSocket

__all__ = ["EventStream", "LineStream", "Listener", "RemoteCall", "UniWebSocket"]

#: The one method of the gRPC service.
CONSUME = "/centrifugal.centrifugo.unistream.CentrifugoUniStream/Consume"


class Listener(Protocol):
    """A connection that has sent its connect request."""

    def next(self) -> Any:
        """Return the next push."""

    def end(self) -> object:
        """Make sure that no more data comes; return the transport's report."""

    def close(self) -> None:
        """Go."""


@define(eq=False)
class UniWebSocket:
    """A WebSocket."""

    port: int
    request: Any
    in_url: bool = True
    _socket: WebSocket = field(init=False)

    def __attrs_post_init__(self) -> None:
        path = "/connection/uni_websocket"
        text = json.dumps(self.request)
        if self.in_url:
            path += f"?cf_connect={quote(text)}"
        self._socket = WebSocket(self.port, path=path)
        if not self.in_url:
            self._socket.send(text.encode())

    def next(self) -> Any:
        """Return the next push."""
        opcode, payload = self._socket.receive_frame()
        assert opcode == TEXT, (opcode, payload)
        return json.loads(payload)

    def end(self) -> object:
        """Return the code of the close frame, which is next."""
        opcode, payload = self._socket.receive_frame()
        assert opcode == CLOSE, (opcode, payload)
        self.close()
        return int.from_bytes(payload[:2], "big")

    def close(self) -> None:
        """Go."""
        self._socket.close()


@define(eq=False)
class LineStream:
    """A response with a push on each line."""

    port: int
    request: Any
    in_url: bool = False
    path = "/connection/uni_http_stream"
    _connection: HTTPConnection = field(init=False)
    response: HTTPResponse = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        text = json.dumps(self.request)
        if self.in_url:
            path = f"{self.path}?cf_connect={quote(text)}"
            self._connection.request("GET", path)
        else:
            self._connection.request("POST", self.path, text)
        self.response = self._connection.getresponse()
        assert self.response.status == 200, self.response.status

    def next(self) -> Any:
        """Return the next push."""
        return json.loads(self.response.readline())

    def end(self) -> object:
        """Return the rest of the body."""
        rest = self.response.read()
        self.close()
        return rest

    def close(self) -> None:
        """Go."""
        self.response.close()
        self._connection.close()


@define(eq=False)
class EventStream(LineStream):
    """Server-sent events."""

    path = "/connection/uni_sse"

    def __attrs_post_init__(self) -> None:
        LineStream.__attrs_post_init__(self)
        assert self.response.readline() == b"\r\n"

    def next(self) -> Any:
        """Return the next push."""
        line, empty = self.response.readline(), self.response.readline()
        assert line.startswith(b"data: "), line
        assert empty == b"\n", empty
        return json.loads(line.removeprefix(b"data: "))


@define(eq=False)
class RemoteCall:
    """A gRPC stream; its channel may be shared."""

    port: int
    request: Any
    _channel: Any = field(init=False)
    _call: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        import grpc

        from centrifugo_tx.protocol.proto import unistream_pb2

        self._channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        consume = self._channel.unary_stream(
            CONSUME,
            request_serializer=unistream_pb2.ConnectRequest.SerializeToString,
            response_deserializer=unistream_pb2.Push.FromString,
        )
        given = dict(self.request)
        request: Any = unistream_pb2.ConnectRequest()
        for channel, position in given.pop("subs", {}).items():
            part = request.subs[channel]
            for name, value in position.items():
                setattr(part, name, value)
        request.headers.update(given.pop("headers", {}))
        if "data" in given:
            request.data = json.dumps(given.pop("data")).encode()
        for name, value in given.items():
            setattr(request, name, value)
        self._call = consume(request, timeout=PATIENCE)

    def next(self) -> Any:
        """Return the next push, in the shape of its JSON."""
        return values(next(self._call))

    def end(self) -> object:
        """Return the name of the status."""
        assert next(self._call, None) is None
        status = self._call.code().name
        self.close()
        return status

    def close(self) -> None:
        """Go."""
        self._call.cancel()
        self._channel.close()


def values(message: Any) -> dict[str, Any]:
    """Return the fields that are set; payloads are JSON."""
    return dict(_values(message))


def _values(message: Any) -> Iterator[tuple[str, Any]]:
    for kind, value in message.ListFields():
        if kind.message_type is None:
            yield kind.name, json.loads(value) if isinstance(value, bytes) else value
        elif kind.message_type.GetOptions().map_entry:
            inner = {key: _plain(each) for key, each in value.items()}
            yield kind.name, inner
        elif kind.is_repeated:
            yield kind.name, [values(each) for each in value]
        else:
            yield kind.name, values(value)


def _plain(value: Any) -> Any:
    return values(value) if hasattr(value, "ListFields") else value
