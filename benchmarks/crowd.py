"""Many WebSocket clients in one process, driven by epoll."""

import select
import socket
import struct
from collections.abc import Iterable

from attrs import define, field

__all__ = ["Crowd", "masked"]

_MASK = b"\x07\x09\x0b\x0d"


def masked(payload: bytes) -> bytes:
    """Return one masked text frame (RFC 6455, 5.3), for less than 64 kB."""
    size = len(payload)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else b""
    head = head or struct.pack("!BBH", 0x81, 0x80 | 126, size)
    key = (_MASK * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + _MASK + mixed.to_bytes(size, "big")


@define(eq=False)
class Crowd:
    """Connections to one server; counts the bytes that come."""

    port: int
    path: str = "/connection/websocket"
    sockets: list[socket.socket] = field(factory=list, init=False)
    received: int = field(default=0, init=False)
    _poller: select.epoll = field(factory=select.epoll, init=False)
    _by_fd: dict[int, socket.socket] = field(factory=dict, init=False)

    def join(self, number: int, hello: bytes = b"", together: int = 64) -> None:
        """Open *number* connections; each says *hello* and hears an answer."""
        request = (
            f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ).encode()
        frame = masked(hello) if hello else b""
        for start in range(0, number, together):
            batch = [self._open() for _ in range(min(together, number - start))]
            for each in batch:
                each.sendall(request)
            for each in batch:
                answer = each.recv(65536)
                while b"\r\n\r\n" not in answer:
                    answer += each.recv(65536)
                assert answer.startswith(b"HTTP/1.1 101"), answer[:80]
                if frame:
                    each.sendall(frame)
            for each in batch:
                if frame:
                    assert each.recv(65536)
                each.setblocking(False)
                self._poller.register(each.fileno(), select.EPOLLIN)
                self._by_fd[each.fileno()] = each
            self.sockets += batch

    def _open(self) -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def say(self, frames: bytes, who: Iterable[socket.socket] | None = None) -> None:
        """Let everybody, or *who*, send *frames*."""
        for each in self.sockets if who is None else who:
            each.sendall(frames)

    def hear(self, expected: int, patience: float = 20.0) -> None:
        """Wait until *expected* more bytes came; 0: until nothing comes any more."""
        goal = self.received + expected
        while not expected or self.received < goal:
            events = self._poller.poll(patience if expected else 0.3, 1024)
            if not events:
                if expected:
                    raise TimeoutError(f"{goal - self.received} bytes are missing")
                return
            for fd, _ in events:
                data = self._by_fd[fd].recv(1 << 18)
                if not data:
                    raise ConnectionError("the server closed a connection")
                self.received += len(data)

    def leave(self, abruptly: bool = False) -> None:
        """Close all, by a reset if *abruptly*."""
        for each in self.sockets:
            if abruptly:
                linger = struct.pack("ii", 1, 0)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._poller.unregister(each.fileno())
            each.close()
        self.sockets.clear()
        self._by_fd.clear()
