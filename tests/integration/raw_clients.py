"""Clients that speak each encoding over each transport, without an SDK.

A *codec* turns commands, as dicts in the shape of the JSON of protocol v2, into bytes
and bytes into replies; a *channel* carries bytes.
"""

import json
from http.client import HTTPConnection, HTTPResponse
from typing import Any, Protocol

from attrs import define, field

from centrifugo_tx.protocol.proto import client_pb2, client_v1_pb2

from .websocket import BINARY, CLOSE, PATIENCE, TEXT, WebSocket, frame

__all__ = ["CODECS", "Client", "open_client"]

#: The fields that hold JSON, as bytes in Protobuf.
_PAYLOADS = {"data", "conn_info", "chan_info"}
METHODS = [
    *("connect", "subscribe", "unsubscribe", "publish", "presence"),
    *("presence_stats", "history", "ping", "send", "rpc", "refresh", "sub_refresh"),
]
_PUSHES = ["pub", "join", "leave", "unsubscribe", "message", "subscribe"]
_V1_DATA = ["Publication", "Join", "Leave", "Unsubscribe", "Message", "Subscribe"]


class Refused(Exception):
    """The server ended the connection, with a code and a reason."""


class Codec(Protocol):
    """An encoding of one version of the protocol."""

    protobuf: bool

    def encode(self, command: dict[str, Any]) -> bytes:
        """Return a message with one command."""

    def decode(self, data: bytes) -> tuple[list[dict[str, Any]], bytes]:
        """Return the replies in *data*, and the rest."""


def _name(method: str, kind: str) -> str:
    """Return the name of a method's message."""
    special = {"rpc": "RPC", "sub_refresh": "SubRefresh", "presence_stats": None}
    stem = special.get(method) or "".join(p.capitalize() for p in method.split("_"))
    return stem + kind


def _fill(message: Any, values: dict[str, Any]) -> Any:
    for name, value in values.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        if name in _PAYLOADS and field.message_type is None:
            setattr(message, name, json.dumps(value).encode())
        elif isinstance(value, dict):
            part = getattr(message, name)
            if field.message_type.GetOptions().map_entry:
                for key, each in value.items():
                    _fill(part[key], each)
            else:
                part.SetInParent()
                _fill(part, value)
        else:
            setattr(message, name, value)
    return message


def _values(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, value in message.ListFields():
        if kind.name in _PAYLOADS and kind.message_type is None:
            found[kind.name] = json.loads(value)
        elif kind.message_type is None:
            found[kind.name] = list(value) if kind.is_repeated else value
        elif kind.message_type.GetOptions().map_entry:
            found[kind.name] = {
                key: _values(each) if hasattr(each, "ListFields") else each
                for key, each in value.items()
            }
        elif kind.is_repeated:
            found[kind.name] = [_values(each) for each in value]
        else:
            found[kind.name] = _values(value)
    return found


def _varint(number: int) -> bytes:
    written = b""
    while number > 127:
        written += bytes([number & 127 | 128])
        number >>= 7
    return written + bytes([number])


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the whole messages in *data*, and the rest."""
    found, at = [], 0
    while at < len(data):
        size, shift, start = 0, 0, at
        while start < len(data):
            size |= (data[start] & 127) << shift
            shift += 7
            start += 1
            if data[start - 1] < 128:
                break
        else:
            break
        if start + size > len(data):
            break
        found.append(data[start : start + size])
        at = start + size
    return found, data[at:]


class JSON:
    """JSON of protocol v2."""

    protobuf = False

    def encode(self, command: dict[str, Any]) -> bytes:
        return json.dumps(command).encode()

    def decode(self, data: bytes) -> tuple[list[dict[str, Any]], bytes]:
        lines = [line for line in data.split(b"\n") if line]
        return [self._reply(json.loads(line)) for line in lines], b""

    def _reply(self, reply: dict[str, Any]) -> dict[str, Any]:
        return reply


class Binary:
    """Protobuf of protocol v2."""

    protobuf = True

    def encode(self, command: dict[str, Any]) -> bytes:
        sent = _fill(client_pb2.Command(), command).SerializeToString()
        return _varint(len(sent)) + sent

    def decode(self, data: bytes) -> tuple[list[dict[str, Any]], bytes]:
        parts, rest = _split(data)
        return [_values(client_pb2.Reply.FromString(part)) for part in parts], rest


def _method(command: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    (name,) = command.keys() - {"id"}
    return METHODS.index(name), command[name]


class OldJSON(JSON):
    """JSON of protocol v1; replies keep their ``result``."""

    def encode(self, command: dict[str, Any]) -> bytes:
        method, params = _method(command)
        old = {"method": method, "params": params, "id": command["id"]}
        return json.dumps(old).encode()

    def _reply(self, reply: dict[str, Any]) -> dict[str, Any]:
        if "id" in reply:
            return reply
        push = reply["result"]
        part = _PUSHES[push.get("type", 0)]
        return {"push": {"channel": push.get("channel", ""), part: push["data"]}}


@define
class OldBinary:
    """Protobuf of protocol v1."""

    protobuf = True
    #: The method of each command that waits for a result.
    _asked: dict[int, str] = field(factory=dict)

    def encode(self, command: dict[str, Any]) -> bytes:
        method, params = _method(command)
        self._asked[command["id"]] = METHODS[method]
        request = getattr(client_v1_pb2, _name(METHODS[method], "Request"))()
        body = _fill(request, params).SerializeToString()
        # As centrifuge-js does it: the method is there even if it is 0.
        sent = b"\x08" + _varint(command["id"]) + b"\x10" + bytes([method])
        sent += b"\x1a" + _varint(len(body)) + body
        return _varint(len(sent)) + sent

    def decode(self, data: bytes) -> tuple[list[dict[str, Any]], bytes]:
        parts, rest = _split(data)
        return [self._reply(client_v1_pb2.Reply.FromString(p)) for p in parts], rest

    def _reply(self, reply: Any) -> dict[str, Any]:
        if not reply.id:
            push = client_v1_pb2.Push.FromString(reply.result)
            kind = getattr(client_v1_pb2, _V1_DATA[push.type])
            data = _values(kind.FromString(push.data))
            return {"push": {"channel": push.channel, _PUSHES[push.type]: data}}
        if reply.HasField("error"):
            return {"id": reply.id, "error": _values(reply.error)}
        kind = getattr(client_v1_pb2, _name(self._asked.pop(reply.id), "Result"))
        return {"id": reply.id, "result": _values(kind.FromString(reply.result))}


CODECS: dict[tuple[str, str], type[Any]] = {
    ("v1", "json"): OldJSON,
    ("v1", "protobuf"): OldBinary,
    ("v2", "json"): JSON,
    ("v2", "protobuf"): Binary,
}


class Carrier(Protocol):
    """Sends messages to the server, and returns its messages."""

    def send(self, message: bytes) -> None:
        """Send one message."""

    def receive(self) -> bytes:
        """Return some bytes; raise `Refused` with the code of a close frame."""

    def close(self) -> None:
        """End it."""


class SocketCarrier:
    """A WebSocket."""

    def __init__(self, port: int, codec: Codec) -> None:
        headers = {"Sec-WebSocket-Protocol": "centrifuge-protobuf"}
        self._first = 0x80 | (BINARY if codec.protobuf else TEXT)
        self._socket = WebSocket(port, headers if codec.protobuf else {})

    def send(self, message: bytes) -> None:
        self._socket.send_bytes(frame(message, self._first))

    def receive(self) -> bytes:
        opcode, payload = self._socket.receive_frame()
        while opcode not in (TEXT, BINARY, CLOSE):
            opcode, payload = self._socket.receive_frame()
        if opcode == CLOSE:
            raise Refused(int.from_bytes(payload[:2], "big"), payload[2:].decode())
        return payload

    def close(self) -> None:
        self._socket.close()


class StreamCarrier:
    """A streamed answer, and requests beside it.

    The first message opens it; `session` and `node` of the connect reply must be set
    before there is another.
    """

    session = node = ""

    def __init__(self, port: int, codec: Codec, transport: str) -> None:
        self._port, self._codec, self._transport = port, codec, transport
        self._connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._response: HTTPResponse | None = None

    def send(self, message: bytes) -> None:
        if self._response is None:
            self._open(message)
        else:
            self._emulate(message)

    def _kind(self) -> str:
        return "application/octet-stream" if self._codec.protobuf else "text/plain"

    def _open(self, message: bytes) -> None:
        headers = {"Content-Type": self._kind()}
        path = f"/connection/{self._transport}"
        self._connection.request("POST", path, message, headers)
        self._response = self._connection.getresponse()
        if self._response.status != 200:
            raise Refused(self._response.status, self._response.read().decode())

    def _emulate(self, message: bytes) -> None:
        asked = {"session": self.session, "node": self.node}
        if self._codec.protobuf:
            request = client_pb2.EmulationRequest(data=message, **asked)
            body = request.SerializeToString()
        else:
            body = json.dumps({**asked, "data": message.decode()}).encode()
        beside = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        beside.request("POST", "/emulation", body, {"Content-Type": self._kind()})
        status = beside.getresponse().status
        beside.close()
        assert status == 204, status

    def receive(self) -> bytes:
        assert self._response is not None
        if self._transport != "sse":
            return self._response.read1(65536)
        while line := self._response.readline():
            if line.startswith(b"data: "):
                return line[6:]
        return b""

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
        self._connection.close()


@define(eq=False)
class Client:
    """One client: asks, and waits for pushes."""

    _codec: Codec
    _carrier: Any
    _ids: int = 0
    _data: bytes = b""
    _replies: list[dict[str, Any]] = field(factory=list)
    _pushes: list[dict[str, Any]] = field(factory=list)

    def _receive(self) -> None:
        """Wait until something has come."""
        data = self._carrier.receive()
        if not data:
            raise EOFError
        found, self._data = self._codec.decode(self._data + data)
        for reply in found:
            kept = self._pushes if "push" in reply else self._replies
            kept.append(reply.get("push", reply))

    def send(self, message: bytes) -> None:
        """Send an encoded message."""
        self._carrier.send(message)

    def ask(self, method: str, /, **request: Any) -> dict[str, Any]:
        """Return the result of a command, or ``{"error": code}``."""
        self._ids += 1
        self._carrier.send(self._codec.encode({"id": self._ids, method: request}))
        while not (mine := [r for r in self._replies if r.get("id") == self._ids]):
            self._receive()
        self._replies.remove(mine[0])
        if "error" in mine[0]:
            return {"error": mine[0]["error"]["code"]}
        result: dict[str, Any] = mine[0].get("result", mine[0].get(method))
        if method == "connect":
            self._carrier.session = result.get("session", "")
            self._carrier.node = result.get("node", "")
        return result

    def push(self, part: str) -> dict[str, Any]:
        """Return the next push that has *part*."""
        while True:
            for push in self._pushes:
                if part in push:
                    self._pushes.remove(push)
                    return push
            self._receive()

    def ending(self) -> tuple[int, str]:
        """Return code and reason of the end, by push or by close frame."""
        try:
            while True:
                self._receive()
        except Refused as refused:
            code, reason = refused.args
            return code, reason
        except EOFError:
            told = [push["disconnect"] for push in self._pushes if "disconnect" in push]
            return told[-1]["code"], told[-1]["reason"]

    def close(self) -> None:
        """Go."""
        self._carrier.close()


def open_client(port: int, transport: str, encoding: str, version: str) -> Client:
    """Return a client that has said nothing yet."""
    codec = CODECS[version, encoding]()
    carrier: Carrier
    if transport == "websocket":
        carrier = SocketCarrier(port, codec)
    else:
        carrier = StreamCarrier(port, codec, transport)
    return Client(codec, carrier)
