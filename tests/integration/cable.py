"""A wire between clients and servers that can be cut."""

import itertools
import selectors
import socket
from collections.abc import Iterator, Sequence
from threading import Thread

from attrs import define, field

__all__ = ["Cable"]


def _in_turn(ports: Sequence[int]) -> Iterator[int]:
    return itertools.cycle(ports)


@define(eq=False)
class Cable:
    """Forwards a port of the loopback interface to servers, until it is cut.

    Connections go to the ports in turn.  While it is cut, they are accepted and closed
    at once; while it is held, nothing moves, as if every packet were lost.
    """

    _ports: Iterator[int] = field(converter=_in_turn)
    port: int = field(init=False)
    _listener: socket.socket = field(init=False)
    _selector: selectors.DefaultSelector = field(
        factory=selectors.DefaultSelector, init=False
    )
    _ends: dict[socket.socket, socket.socket] = field(factory=dict, init=False)
    _whole: bool = field(default=True, init=False)
    _orders: tuple[socket.socket, socket.socket] = field(
        factory=socket.socketpair, init=False
    )
    _thread: Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        for each in (self._listener, self._orders[1]):
            self._selector.register(each, selectors.EVENT_READ)
        # A pair keeps its cable until the interpreter ends, which waits for no daemons.
        self._thread = Thread(target=self._forward, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Return where clients connect to."""
        return f"ws://127.0.0.1:{self.port}/connection/websocket"

    def cut(self) -> None:
        """End all connections, and let no new one through."""
        self._order(b"c")

    def hold(self) -> None:
        """Keep all connections, and let nothing through."""
        self._order(b"h")

    def mend(self) -> None:
        """Let connections through again, with the data that was held back."""
        self._order(b"m")

    def close(self) -> None:
        """Leave nothing behind."""
        self._order(b"q")
        self._thread.join()
        for each in self._orders:
            each.close()

    def _order(self, order: bytes) -> None:
        """Have it done before going on."""
        mine = self._orders[0]
        mine.sendall(order)
        assert mine.recv(1) == order

    def _forward(self) -> None:
        while True:
            for key, _ in self._selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                if source is self._listener:
                    self._accept()
                elif source is not self._orders[1]:
                    self._move(source)
                elif self._obey() == b"q":
                    return

    def _obey(self) -> bytes:
        theirs = self._orders[1]
        order = theirs.recv(1)
        self._whole = order == b"m"
        self._watch(order != b"h")
        if order in (b"c", b"q"):
            for source in list(self._ends):
                self._drop(source)
        if order == b"q":
            self._selector.close()
            self._listener.close()
        theirs.sendall(order)
        return order

    def _watch(self, watched: bool) -> None:
        """Forward data from all peers, or only from the controlling connection."""
        for each in (self._listener, *self._ends):
            if not watched:
                self._selector.unregister(each)
            elif each not in self._selector.get_map():
                self._selector.register(each, selectors.EVENT_READ)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if not self._whole:
            near.close()
            return
        try:
            far = socket.create_connection(("127.0.0.1", next(self._ports)))
        except OSError:
            near.close()
            return
        for source, target in ((near, far), (far, near)):
            self._ends[source] = target
            self._selector.register(source, selectors.EVENT_READ)

    def _move(self, source: socket.socket) -> None:
        target = self._ends.get(source)
        if target is None:  # dropped within this round
            return
        try:
            data = source.recv(65536)
            if data:
                target.sendall(data)
                return
        except OSError:
            pass
        self._drop(source)

    def _drop(self, source: socket.socket) -> None:
        target = self._ends.pop(source, None)
        if target is not None:
            self._selector.unregister(source)
            source.close()
            self._drop(target)
