"""A client that agreed on deltas, in either encoding."""

import json
from base64 import b64decode
from typing import Any

from attrs import define, field
from google.protobuf.json_format import MessageToDict, ParseDict

from centrifugo_tx.core import Client, Node
from centrifugo_tx.options import TransportInfo
from centrifugo_tx.protocol.delta import apply
from centrifugo_tx.protocol.frames import delimited
from centrifugo_tx.protocol.proto import client_pb2
from centrifugo_tx.protocol.wire import (
    Wire,
    http_stream_protobuf,
    sse_json,
    uni_sse,
    websocket_json,
    websocket_protobuf,
)

from ...support import MemoryTransport, unframed

__all__ = ["WIRES", "DeltaClient", "payload", "publications_in"]

WIRES = {
    "json": websocket_json,
    "protobuf": websocket_protobuf,
    "sse": sse_json,
    "uni_sse": uni_sse,
    "http_stream_protobuf": http_stream_protobuf,
}


def payload(n: int, kind: str = "kept") -> bytes:
    """Return a payload that differs little from that of another number."""
    return json.dumps({"kind": kind, "n": n, "name": "Großstadt " * 3}).encode()


@define(eq=False)
class DeltaClient:
    """Puts payloads together as the official clients do.

    The last payload is the base of the next delta, also over reconnects.
    """

    node: Node
    wire: Wire = field(factory=websocket_json)
    #: The payloads in the order in which they came, and whether each was a delta.
    got: list[tuple[bytes, bool]] = field(factory=list, init=False)
    base: bytes | None = field(default=None, init=False)
    client: Client = field(init=False)
    transport: MemoryTransport = field(init=False)
    _ids: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.connect()

    @property
    def closed(self) -> int:
        """Return the code of the close, 0 while it is open."""
        return self.transport.closed[0].code if self.transport.closed else 0

    def connect(self, **request: Any) -> list[Any]:
        """Open a new connection; return the received messages."""
        alone = self.wire.unidirectional
        info = TransportInfo(
            protocol=self.wire.protocol,  # type: ignore[arg-type]
            unidirectional=alone,
        )
        self.transport = MemoryTransport(self.wire, info)
        self.client = self.node.connect(self.transport)
        if alone:
            self.client.receive(json.dumps(request).encode())
            return self.take()
        return self.ask(connect=request)

    def ask(self, **request: Any) -> list[Any]:
        """Send one request; return the messages received by then."""
        self._ids += 1
        command = {"id": self._ids, **request}
        if self.wire.protocol == "json":
            self.client.receive(json.dumps(command).encode())
        else:
            message = ParseDict(command, client_pb2.Command())
            self.client.receive(delimited(message.SerializeToString()))
        return self.take()

    def take(self) -> list[Any]:
        """Return the messages since the last call, with payloads as bytes."""
        frames, self.transport.frames = self.transport.frames, []
        return [
            message
            for frame in frames
            for payload in self._payloads(frame)
            for message in self._messages(payload)
        ]

    def _payloads(self, frame: bytes) -> list[bytes]:
        if self.wire.transport == "websocket":
            return unframed(frame)
        if self.wire.protocol == "json":
            return [
                event.removeprefix(b"data: ") for event in frame.split(b"\n\n")[:-1]
            ]
        return [frame]

    def _messages(self, payload: bytes) -> list[Any]:
        if self.wire.protocol == "json":
            return [_with_bytes(json.loads(payload))]
        messages = []
        while payload:
            size, shift, start = 0, 0, 0
            while True:
                size |= (payload[start] & 127) << shift
                shift, start = shift + 7, start + 1
                if not payload[start - 1] & 128:
                    break
            reply = client_pb2.Reply.FromString(payload[start : start + size])
            told = MessageToDict(reply, preserving_proto_field_name=True)
            messages.append(_with_bytes(told, decode=True))
            payload = payload[start + size :]
        return messages

    def accept(self, publication: dict[str, Any]) -> bytes:
        """Return the payload of a publication, which becomes the base."""
        data, delta = publication["data"], publication.get("delta", False)
        if delta:
            assert self.base is not None, "a delta to nothing"
            data = apply(self.base, data)
        self.base = data
        self.got.append((data, delta))
        return bytes(data)

    def accept_all(self, messages: list[Any]) -> list[tuple[int, bytes, bool]]:
        """Return offset, payload and form of all publications in *messages*."""
        before = len(self.got)
        offsets = []
        for publication in publications_in(messages):
            self.accept(publication)
            offsets.append(publication.get("offset", 0))
        return [
            (offset, *got)
            for offset, got in zip(offsets, self.got[before:], strict=True)
        ]


def publications_in(messages: list[Any]) -> list[dict[str, Any]]:
    """Return the publications in replies and pushes, in their order."""
    found = []
    for message in messages:
        found += message.get("subscribe", {}).get("publications", [])
        for result in message.get("connect", {}).get("subs", {}).values():
            found += result.get("publications", [])
        push = message.get("push", message)
        if "pub" in push:
            found.append(push["pub"])
    return found


def _with_bytes(message: Any, decode: bool = False) -> Any:
    """Convert payloads to bytes and offsets to numbers; in JSON, text is a payload."""
    for publication in publications_in([message]):
        data = publication.get("data", "")
        if decode:
            publication["data"] = b64decode(data)
        elif isinstance(data, str):
            publication["data"] = data.encode()
        publication["offset"] = int(publication.get("offset", 0))
    if "offset" in message.get("subscribe", {}):
        message["subscribe"]["offset"] = int(message["subscribe"]["offset"])
    return message
