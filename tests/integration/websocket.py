"""A WebSocket client that can send arbitrary bytes."""

import json
import socket
from typing import Any

from attrs import define, field

__all__ = ["BINARY", "CLOSE", "PING", "PONG", "TEXT", "Refused", "WebSocket", "frame"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
#: Seconds that a peer has to answer.
PATIENCE = 60.0

_MASK = b"\x11\x22\x33\x44"


def frame(payload: bytes, first: int = 0x80 | TEXT, masked: bool = True) -> bytes:
    """Return one frame whose first byte is *first* (RFC 6455, 5.2)."""
    size, mask_bit = len(payload), 0x80 if masked else 0
    if size < 126:
        head = bytes((first, mask_bit | size))
    elif size < 65536:
        head = bytes((first, mask_bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, mask_bit | 127)) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = (_MASK * (size // 4 + 1))[:size]
    text = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return head + _MASK + text.to_bytes(size, "big")


class Refused(Exception):
    """The server did not switch to WebSocket; ``status`` is its response."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@define(eq=False)
class WebSocket:
    """One connection."""

    port: int
    headers: dict[str, str] = field(factory=dict)
    path: str = "/connection/websocket"
    _socket: socket.socket = field(init=False)
    _data: bytes = field(default=b"", init=False)
    _messages: list[Any] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        try:
            self._shake_hands()
        except BaseException:
            self.close()
            raise

    def _shake_hands(self) -> None:
        headers = {
            "Host": f"127.0.0.1:{self.port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **self.headers,
        }
        lines = [f"{name}: {value}\r\n" for name, value in headers.items() if value]
        self.send_bytes(f"GET {self.path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode())
        while b"\r\n\r\n" not in self._data:
            self._read()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        if status != 101:
            raise Refused(status)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def send(self, *commands: Any) -> None:
        """Send commands in one message: values for JSON, or bytes as they are."""
        lines = [
            c if isinstance(c, bytes) else json.dumps(c).encode() for c in commands
        ]
        self.send_bytes(frame(b"\n".join(lines)))

    def _read(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise EOFError
        self._data += data

    def _read_until(self, size: int) -> None:
        while len(self._data) < size:
            self._read()

    def receive_frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame.

        Whoever gives up meanwhile (`TimeoutError`) may try again: a part of a frame
        is kept.
        """
        self._read_until(2)
        opcode, size, begin = self._data[0] & 15, self._data[1] & 127, 2
        if size > 125:
            begin = 4 if size == 126 else 10
            self._read_until(begin)
            size = int.from_bytes(self._data[2:begin], "big")
        end = begin + size
        self._read_until(end)
        payload, self._data = self._data[begin:end], self._data[end:]
        return opcode, payload

    def receive(self) -> Any:
        """Return the next reply or push."""
        while not self._messages:
            opcode, payload = self.receive_frame()
            assert opcode == TEXT, (opcode, payload)
            self._messages = [json.loads(line) for line in payload.split(b"\n")]
        return self._messages.pop(0)

    def ask(self, *commands: Any) -> Any:
        """Send commands; return the next reply or push."""
        self.send(*commands)
        return self.receive()

    def closing(self) -> tuple[int, str]:
        """Return code and reason of the server's close frame, and close too.

        Earlier messages are skipped; the code is 0 without a close frame.
        """
        try:
            opcode, payload = self.receive_frame()
            while opcode != CLOSE:
                opcode, payload = self.receive_frame()
        except (EOFError, ConnectionResetError):
            return 0, ""
        finally:
            self.close()
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()
