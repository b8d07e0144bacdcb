"""Follows one channel over one WebSocket connection after another.

See client protocol.  This is the part without a network: `Connector` opens
connections, and hands over what comes in.
"""

import json
import random
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..protocol.codes import Disconnect, Unsubscribe
from .outcome import (
    CANNOT_CONNECT,
    FAILED,
    FOREIGN_ANSWER,
    UNAUTHORIZED,
    CommandFailed,
)

__all__ = ["ChannelFollower", "Link"]

#: Errors of a connect or subscribe that say that the token is at fault.
_TOKEN_ERRORS = frozenset({101, 103, 109})
_INVALID_TOKEN = 3500
#: Seconds that a ping may be late.
GRACE = 10.0
#: Seconds between attempts: the first, and the most.
FIRST_DELAY, LONGEST_DELAY = 0.5, 20.0


class Link(Protocol):
    """An open connection."""

    def send_text(self, text: str) -> None:
        """Send one message."""

    def end(self) -> None:
        """Close the connection; `ChannelFollower.closed` is called."""


@define(eq=False)
class ChannelFollower:
    """Subscribes to a channel, reports what comes, and returns after a break.

    ``finished`` is called once, with the exception that ends the command or None.
    """

    channel: str
    token: str
    subscription_token: str
    where: str
    clock: IReactorTime
    #: Opens a connection; `opened` or `closed` follows.
    connect: Callable[[], None]
    #: Gets "publication", "join" or "leave", and the JSON object of the protocol.
    report: Callable[[str, dict[str, Any]], None]
    #: Gets a line about the connection.
    notice: Callable[[str], None]
    finished: Callable[[Exception | None], None]
    join_leave: bool = False
    #: Publications after which to end; 0: never.
    count: int = 0
    timeout: float = 10.0
    offset: int = 0
    epoch: str = ""
    recovers: bool = False
    _link: Link | None = field(default=None, init=False)
    _attempts: int = field(default=0, init=False)
    _was_subscribed: bool = field(default=False, init=False)
    _seen: int = field(default=0, init=False)
    _ping_interval: float = field(default=0.0, init=False)
    _pongs: bool = field(default=False, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _is_over: bool = field(default=False, init=False)

    def stop(self) -> None:
        """End, without an error."""
        self._finish(None)

    def opened(self, link: Link) -> None:
        """Take a connection and say who connects."""
        if self._is_over:
            link.end()
            return
        self._link = link
        request: dict[str, Any] = {"name": "centrifugo-tx"}
        if self.token:
            request["token"] = self.token
        self._send({"id": 1, "connect": request})
        self._wait(self.timeout)

    def received(self, message: str) -> None:
        """Take one message: lines of JSON."""
        try:
            replies = [json.loads(line) for line in message.split("\n") if line]
            self._wait(self._ping_interval + GRACE if self._ping_interval else 0)
            for reply in replies:
                if not self._is_over:
                    self._take(reply)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            said = f"{self.where}: the server does not speak this protocol"
            self._fail(said, FOREIGN_ANSWER)

    def closed(
        self, code: int | None, reason: str, error: CommandFailed | None = None
    ) -> None:
        """Come back after a break, if that can help.

        :param error: why there was no connection at all.
        """
        self._link = None
        self._wait(0)
        if self._is_over:
            return
        disconnect = Disconnect(code or 0, reason)
        said = f"{code}: {reason}" if code and reason else reason or "connection lost"
        if not disconnect.reconnect:
            kind = UNAUTHORIZED if code == _INVALID_TOKEN else FAILED
            self._fail(f"{self.where}: disconnected ({said})", kind)
        elif not self._was_subscribed:
            why = CommandFailed(f"{self.where}: {said}", CANNOT_CONNECT)
            self._finish(error or why)
        else:
            self._again(str(error) if error else said)

    def _again(self, why: str) -> None:
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0**self._attempts)
        delay *= random.uniform(0.5, 1.0)
        self._attempts = min(self._attempts + 1, 10)
        self.notice(f"{why}; reconnecting in {delay:.1f} s")
        self._timer = self.clock.callLater(delay, self._connect)

    def _connect(self) -> None:
        self._timer = None
        self.connect()

    def _take(self, reply: dict[str, Any]) -> None:
        if reply == {}:
            if self._pongs:
                self._send({})
        elif "push" in reply:
            self._push(reply["push"])
        elif "error" in reply:
            self._error(reply["id"], reply["error"])
        elif reply.get("id") == 1:
            self._connected(reply["connect"])
        elif reply.get("id") == 2:
            self._subscribed(reply["subscribe"])

    def _connected(self, result: dict[str, Any]) -> None:
        self._ping_interval = float(result.get("ping", 0))
        self._pongs = bool(result.get("pong"))
        self._wait(self._ping_interval + GRACE if self._ping_interval else 0)
        self._subscribe()

    def _subscribe(self) -> None:
        request: dict[str, Any] = {"channel": self.channel, "recoverable": True}
        if self.subscription_token:
            request["token"] = self.subscription_token
        if self.join_leave:
            request["join_leave"] = True
        if self.recovers:
            request |= {"recover": True, "offset": self.offset, "epoch": self.epoch}
        self._send({"id": 2, "subscribe": request})

    def _error(self, number: int, error: dict[str, Any]) -> None:
        code, message = int(error["code"]), str(error.get("message", ""))
        said = f"error {code}: {message}"
        if (error.get("temporary") or code == 100) and self._was_subscribed:
            self.notice(said)
            assert self._link is not None
            self._link.end()
            return
        kind = UNAUTHORIZED if code in _TOKEN_ERRORS else FAILED
        what = "connect" if number == 1 else f"subscribe to {self.channel}"
        self._fail(f"{what}: {said}", kind)

    def _subscribed(self, result: dict[str, Any]) -> None:
        self._attempts = 0
        first, self._was_subscribed = not self._was_subscribed, True
        publications = result.get("publications", [])
        self.recovers = bool(result.get("recoverable"))
        self.epoch = str(result.get("epoch", ""))
        if result.get("was_recovering") and not result.get("recovered"):
            self.notice(
                "publications were lost: history does not reach back far enough"
            )
        where = f" at offset {result.get('offset', 0)}" if self.recovers else ""
        self.notice(f"{'' if first else 're'}subscribed to {self.channel}{where}")
        for publication in publications:
            self._publication(publication)
        self.offset = int(result.get("offset", 0))

    def _push(self, push: dict[str, Any]) -> None:
        if push.get("channel", "") != self.channel:
            return
        if "pub" in push:
            self._publication(push["pub"])
        elif "unsubscribe" in push:
            ended = push["unsubscribe"]
            code, reason = int(ended.get("code", 0)), str(ended.get("reason", ""))
            if Unsubscribe(code, reason).resubscribe:
                self._subscribe()
            else:
                self._fail(f"unsubscribed ({code}: {reason})", FAILED)
        for kind in ("join", "leave"):
            if kind in push and self.join_leave:
                self._report(kind, push[kind])

    def _publication(self, publication: dict[str, Any]) -> None:
        self.offset = int(publication.get("offset", self.offset))
        self._report("publication", publication)
        self._seen += 1
        if self._seen == self.count:
            self._finish(None)

    def _report(self, kind: str, event: dict[str, Any]) -> None:
        if self._is_over:
            return
        try:
            self.report(kind, event)
        except OSError as error:  # nobody reads any longer
            self._finish(error)

    def _send(self, command: dict[str, Any]) -> None:
        if self._link is not None:
            self._link.send_text(json.dumps(command))

    def _wait(self, seconds: float) -> None:
        """Give up the connection unless something comes within *seconds*; 0: never."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self.clock.callLater(seconds, self._late) if seconds else None

    def _late(self) -> None:
        if self._link is not None:
            self.notice("the server is silent")
            self._link.end()

    def _fail(self, message: str, code: int) -> None:
        self._finish(CommandFailed(message, code))

    def _finish(self, error: Exception | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._wait(0)
        if self._link is not None:
            self._link.end()
        self.finished(error)
