"""Many clients that reconnect by themselves, and record their publications."""

import json
import selectors
import socket
import time
from collections import Counter
from collections.abc import Sequence
from threading import Thread
from typing import Any

from attrs import define, field

from .checker import Account
from .websocket import CLOSE, TEXT, frame

__all__ = ["Crowd"]

#: Seconds before a client tries again what did not work.
AGAIN = 0.1
#: The first of the codes after which a client must not reconnect (client protocol,
#: "Disconnects").
TERMINAL = range(3500, 4000)

_UPGRADE = (
    "GET /connection/websocket HTTP/1.1\r\n"
    "Host: 127.0.0.1:{port}\r\n"
    "Connection: Upgrade\r\n"
    "Upgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@define(eq=False)
class _Member:
    """One client: it subscribes to all channels, and recovers missed publications."""

    name: str
    crowd: "Crowd"
    ports: Sequence[int]
    accounts: dict[str, Account] = field(factory=dict)
    #: The current subscriptions.
    inside: set[str] = field(factory=set)
    _socket: socket.socket | None = None
    _port: int = 0
    _upgraded: bool = False
    _data: bytes = b""
    _asked: dict[int, str] = field(factory=dict)
    _last: int = 1

    def __attrs_post_init__(self) -> None:
        for channel in self.crowd.channels:
            self.accounts[channel] = Account(f"{self.name} in {channel}")

    # --- Connecting ------------------------------------------------------------

    def connect(self) -> None:
        """Connect to the next port, or try again soon."""
        port = self.ports[self._port % len(self.ports)]
        try:
            link = socket.create_connection(("127.0.0.1", port), 5)
            link.sendall(_UPGRADE.format(port=port).encode())
        except OSError:
            self._port += 1
            self.crowd.later(self.connect)
            return
        self._socket = link
        self.crowd.selector.register(link, selectors.EVENT_READ, self.read)

    def lost(self, why: str) -> None:
        """Come back soon."""
        self.crowd.events[why] += 1
        self.close()
        self._upgraded, self._data = False, b""
        self._asked.clear()
        self.inside.clear()
        self.crowd.later(self.connect)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self.crowd.selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def _send(self, *commands: Any) -> None:
        assert self._socket is not None
        self._socket.sendall(
            frame(b"\n".join(json.dumps(c).encode() for c in commands))
        )

    # --- Reading ---------------------------------------------------------------

    def read(self) -> None:
        """Process a message."""
        assert self._socket is not None
        try:
            data = self._socket.recv(262144)
            self._data += data
            if data:
                self._take()
            else:
                self.lost("connection closed")
        except OSError:
            self.lost("connection lost")

    def _take(self) -> None:
        if not self._upgraded:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self.lost("not upgraded")
                return
            self._upgraded, self._data = True, rest
            self._send({"id": 1, "connect": {}})
        at, data = 0, self._data
        while (found := _frame(data, at)) is not None:
            opcode, payload, at = found
            if opcode == TEXT:
                for line in payload.split(b"\n"):
                    self._message(json.loads(line))
            elif opcode == CLOSE:
                self._closed(int.from_bytes(payload[:2], "big"))
            if self._socket is None:
                return
        self._data = data[at:]

    def _closed(self, code: int) -> None:
        if code in TERMINAL:
            self.crowd.faults.append(f"{self.name}: sent away with {code}")
        self.lost(f"disconnect {code}")

    def _message(self, message: Any) -> None:
        if not message:
            self._send({})
        elif "push" in message:
            self._push(message["push"])
        elif "connect" in message:
            self._send(*map(self._subscribe, self.accounts))
        elif "subscribe" in message:
            self._subscribed(self._asked.pop(message["id"]), message["subscribe"])
        else:
            self.crowd.events[f"error {message['error']['code']}"] += 1
            channel = self._asked.pop(message["id"])
            self.crowd.later(lambda: self._retry(channel))

    def _push(self, push: Any) -> None:
        if "pub" in push:
            pub = push["pub"]
            self.accounts[push["channel"]].take(pub["data"]["n"], pub["offset"])
        elif "unsubscribe" in push:
            self.crowd.events[f"unsubscribe {push['unsubscribe']['code']}"] += 1
            self.inside.discard(push["channel"])
            self._send(self._subscribe(push["channel"]))

    # --- Subscribing -----------------------------------------------------------

    def _subscribe(self, channel: str) -> Any:
        account = self.accounts[channel]
        self._last += 1
        self._asked[self._last] = channel
        request: dict[str, Any] = {"channel": channel}
        if account.epoch:
            request |= {"recover": True, "epoch": account.epoch}
            request |= {"offset": account.offset}
        return {"id": self._last, "subscribe": request}

    def _retry(self, channel: str) -> None:
        # A new connection has asked for everything already.
        waits = channel not in self.inside and channel not in self._asked.values()
        if waits and self._upgraded:
            self._send(self._subscribe(channel))

    def _subscribed(self, channel: str, result: Any) -> None:
        account = self.accounts[channel]
        self.inside.add(channel)
        if result.get("recovered"):
            self.crowd.events["recovered"] += 1
            account.go_on(result["epoch"])
        else:
            if result.get("was_recovering"):
                self.crowd.events["not recovered"] += 1
            account.begin(result["epoch"], result.get("offset", 0))
        for pub in result.get("publications", ()):
            account.take(pub["data"]["n"], pub["offset"])


def _frame(data: bytes, at: int) -> tuple[int, bytes, int] | None:
    """Return opcode and payload of a frame, and where the next one begins."""
    start = at + 2
    if len(data) < start:
        return None
    size = data[at + 1] & 127
    if size > 125:
        start += 2 if size == 126 else 8
        size = int.from_bytes(data[at + 2 : start], "big")
    if len(data) < start + size:
        return None
    return data[at] & 15, data[start : start + size], start + size


@define(eq=False)
class Crowd:
    """Clients in a thread of their own.

    :param ports: where clients connect to: the first half of them to the first port
        and so on; to the others only while theirs refuses them.
    """

    ports: Sequence[int]
    channels: Sequence[str]
    size: int
    #: The events of all clients, and their counts.
    events: "Counter[str]" = field(factory=Counter, init=False)
    faults: list[str] = field(factory=list, init=False)
    selector: selectors.DefaultSelector = field(
        factory=selectors.DefaultSelector, init=False
    )
    members: list[_Member] = field(init=False)
    _due: "list[tuple[float, Any]]" = field(factory=list, init=False)
    _running: bool = field(default=True, init=False)
    _thread: Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.members = []
        for number in range(self.size):
            turn = number % len(self.ports)
            ports = [*self.ports[turn:], *self.ports[:turn]]
            self.members.append(_Member(f"client {number}", self, ports))
        self._thread = Thread(target=self._run)

    def start(self) -> "Crowd":
        """Let all of them connect."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End all of them."""
        self._running = False
        if self._thread.is_alive():
            self._thread.join()

    def later(self, call: Any) -> None:
        """Have something called soon, by the thread."""
        self._due.append((time.monotonic() + AGAIN, call))

    def accounts(self, channel: str) -> list[Account]:
        """Return the publications of *channel* that all clients received."""
        return [member.accounts[channel] for member in self.members]

    @property
    def settled(self) -> bool:
        """Whether all of them are subscribed to everything."""
        everything = len(self.channels)
        return all(len(member.inside) == everything for member in self.members)

    def _run(self) -> None:
        try:
            for member in self.members:
                member.connect()
            while self._running:
                self._turn()
        except Exception as error:
            self.faults.append(f"the clients broke: {error!r}")
        finally:
            for member in self.members:
                member.close()
            self.selector.close()

    def _turn(self) -> None:
        for key, _ in self.selector.select(0.02):
            # An earlier one may have closed it.
            if key.fileobj in self.selector.get_map():
                key.data()
        now = time.monotonic()
        due = [call for when, call in self._due if when <= now]
        self._due = [each for each in self._due if each[0] > now]
        for call in due:
            call()
