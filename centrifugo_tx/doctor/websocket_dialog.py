"""A WebSocket connection on which commands are sent one after the other."""

import json
import re
from pathlib import Path
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.ssl import optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure

from ..errors import CentrifugoError
from ..tls import certificates
from .site import Site

__all__ = ["Ended", "UpgradeRefused", "WebSocketDialog", "open_websocket"]


class UpgradeRefused(CentrifugoError):
    """WebSocket is not spoken; ``status`` is that of HTTP, 0 without a response."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Ended(CentrifugoError):
    """The connection ended; ``code`` is that of the close frame, 0 without one."""

    def __init__(self, code: int, reason: str) -> None:
        why = f"{code}: {reason}" if code else "connection lost without a close frame"
        super().__init__(why)
        self.code = code


async def open_websocket(
    reactor: Any, site: Site, path: str, origin: str = ""
) -> "WebSocketDialog":
    """Open a connection; the caller closes it.

    :raises UpgradeRefused: the upgrade fails.
    """
    opened: Deferred[WebSocketDialog] = Deferred()
    factory = WebSocketClientFactory(site.websocket_url(path), origin=origin or None)
    factory.protocol = lambda: WebSocketDialog(opened)
    factory.setProtocolOptions(
        openHandshakeTimeout=site.timeout,
        closeHandshakeTimeout=1,
        maxFramePayloadSize=1024 * 1024,
        maxMessagePayloadSize=1024 * 1024,
    )
    endpoint: Any = HostnameEndpoint(reactor, site.host, site.port, site.timeout)
    if site.tls is not None:
        trusted = None
        if site.ca:
            trusted = trustRootFromCertificates(certificates(Path(site.ca).read_text()))
        creator = optionsForClientTLS(site.host, trustRoot=trusted)
        endpoint = wrapClientTLS(creator, endpoint)
    try:
        await endpoint.connect(factory)
    except Exception as error:
        raise UpgradeRefused(str(error).rstrip(".") or type(error).__name__) from None
    return await opened


class WebSocketDialog(WebSocketClientProtocol):  # type: ignore[misc]  # has no types
    """One connection; replies come in the order of the commands."""

    def __init__(self, opened: "Deferred[WebSocketDialog]") -> None:
        super().__init__()
        self._opened: Deferred[WebSocketDialog] | None = opened
        self._refusal = ""
        self._number = 0
        self._asked: dict[int, Deferred[dict[str, Any]]] = {}
        self._waits_for_ping: Deferred[None] | None = None
        self._end: Ended | None = None

    def ask(self, **command: Any) -> "Deferred[dict[str, Any]]":
        """Send one command, such as ``connect={...}``; return the reply.

        The Deferred fails with `Ended` if the connection ends before.
        """
        reply: Deferred[dict[str, Any]] = Deferred()
        if self._end is not None:
            reply.errback(self._end)
            return reply
        self._number += 1
        self._asked[self._number] = reply
        self.sendMessage(json.dumps({"id": self._number, **command}).encode())
        return reply

    def ping(self) -> "Deferred[None]":
        """Return a Deferred that fires at the server's next ping, or fails with
        `Ended`.
        """
        waiting: Deferred[None] = Deferred()
        if self._end is not None:
            waiting.errback(self._end)
        else:
            self._waits_for_ping = waiting
        return waiting

    def end(self) -> None:
        """Close the connection."""
        if self._end is None:
            self.sendClose(1000)

    def onOpen(self) -> None:
        """Hand the connection over."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Take replies and pings."""
        try:
            for line in payload.decode().split("\n"):
                self._take(json.loads(line))
        except (ValueError, AttributeError, RecursionError):
            self._refusal = "what answers does not speak this protocol"
            self.sendClose(1002)

    def _take(self, reply: dict[str, Any]) -> None:
        if not reply:
            self.sendMessage(b"{}")
            waiting, self._waits_for_ping = self._waits_for_ping, None
            if waiting is not None:
                waiting.callback(None)
        elif asked := self._asked.pop(reply.get("id", 0), None):
            asked.callback(reply)

    def failHandshake(self, reason: str, *arguments: Any) -> None:
        """Keep the reason."""
        self._refusal = reason
        super().failHandshake(reason, *arguments)

    def connectionLost(self, reason: Failure) -> None:
        """Fail the pending calls."""
        super().connectionLost(reason)
        told = self.remoteCloseReason or self._refusal or ""
        self._end = Ended(self.remoteCloseCode or 0, told)
        if self._opened is not None:
            status = re.search(r"\[(\d+)\]", self._refusal)
            said = self._refusal or "the connection was closed"
            if status:
                said = f"HTTP {status[1]} instead of WebSocket"
            refused = UpgradeRefused(said, int(status[1]) if status else 0)
            opened, self._opened = self._opened, None
            opened.errback(refused)
        waiting = [*self._asked.values(), self._waits_for_ping]
        self._asked, self._waits_for_ping = {}, None
        for each in waiting:
            if each is not None:
                each.errback(self._end)
