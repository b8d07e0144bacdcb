"""The command that prints publications as they come."""

import argparse
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from OpenSSL.SSL import Error as SSLError
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import (
    ConnectionRefusedError,
    DNSLookupError,
    ReactorNotRunning,
    TimeoutError,
)
from twisted.internet.ssl import optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure

from ..tls import certificates
from .api_commands import as_json, compact, position
from .channel_follower import ChannelFollower
from .outcome import CANNOT_CONNECT, FOREIGN_ANSWER, USAGE, CommandFailed
from .terminal import printable, style_for
from .websocket_address import WebSocketAddress, websocket_address

__all__ = ["subscribe"]

#: Bytes of the largest message that is taken.
LARGEST_MESSAGE = 64 * 1024 * 1024


def subscribe(options: argparse.Namespace) -> None:
    """Print the publications of a channel until interrupted."""
    from twisted.internet import reactor

    address = websocket_address(options)
    since = position(options.since or "0")
    ended: list[Exception | None] = []

    def finished(error: Exception | None) -> None:
        ended.append(error)
        reactor.callLater(0, _stop, reactor)

    connector = Connector(reactor, address, options.timeout)
    follower = ChannelFollower(
        options.channel,
        address.token,
        address.subscription_token,
        address.url,
        reactor,
        connector.connect,
        report=printer(options.json),
        notice=lambda line: print(style_line(line), file=sys.stderr, flush=True),
        finished=finished,
        join_leave=options.join_leave,
        count=options.count,
        timeout=options.timeout,
        offset=since["offset"],
        epoch=since["epoch"],
        recovers=bool(options.since),
    )
    connector.follower = follower
    reactor.addSystemEventTrigger("before", "shutdown", follower.stop)
    reactor.addSystemEventTrigger("before", "shutdown", connector.when_closed)
    reactor.callWhenRunning(connector.connect)
    reactor.run()
    if ended and ended[0] is not None:
        raise ended[0]


def _stop(reactor: Any) -> None:
    # Ctrl-C has begun the stop already.
    with suppress(ReactorNotRunning):
        reactor.stop()


def style_line(line: str) -> str:
    """Return a line about the connection, as standard error shows it."""
    return style_for(sys.stderr).faint(printable(line))


def printer(as_objects: bool) -> Any:
    """Return what prints events: payloads alone, or objects with all there is."""
    style = style_for()

    def report(kind: str, event: dict[str, Any]) -> None:
        if as_objects:
            line = as_json({"type": kind, **event})
        elif kind == "publication":
            line = compact(event.get("data"))
        else:
            info = event.get("info", {})
            who = f"{info.get('client', '')} (user {info.get('user', '')!r})"
            line = style.cyan(printable(f"{kind} {who}"))
        print(line, flush=True)

    return report


@define(eq=False)
class Connector:
    """Opens WebSocket connections for a follower."""

    _reactor: Any
    _address: WebSocketAddress
    _timeout: float
    follower: ChannelFollower = field(init=False)
    _open: "Connection | None" = field(default=None, init=False)
    _waiting: "Deferred[None] | None" = field(default=None, init=False)

    def connect(self) -> None:
        """Open a connection; the follower gets it, or hears why there is none."""
        server = self._address.server
        factory = WebSocketClientFactory(self._address.url)
        factory.protocol = lambda: Connection(self)
        factory.setProtocolOptions(
            openHandshakeTimeout=self._timeout,
            closeHandshakeTimeout=1,
            maxFramePayloadSize=LARGEST_MESSAGE,
            maxMessagePayloadSize=LARGEST_MESSAGE,
            tcpNoDelay=True,
        )
        endpoint: Any = HostnameEndpoint(
            self._reactor, server.host, server.port, self._timeout
        )
        if server.encrypted:
            try:
                endpoint = wrapClientTLS(self._tls(), endpoint)
            except CommandFailed as error:
                self.follower.closed(None, "", error)
                return
        endpoint.connect(factory).addErrback(self._failed)

    def _tls(self) -> Any:
        trusted = None
        path = self._address.ca
        if path:
            try:
                found = certificates(Path(path).read_text())
            except OSError as error:
                raise CommandFailed(f"--ca: {path}: {error.strerror}", USAGE) from None
            except (ValueError, SSLError):
                found = []
            if not found:
                raise CommandFailed(f"--ca: {path}: no PEM", USAGE)
            trusted = trustRootFromCertificates(found)
        name = self._address.tls_name or self._address.server.host
        return optionsForClientTLS(name, trustRoot=trusted)

    def _failed(self, failure: Failure) -> None:
        if failure.check(DNSLookupError):
            said = "unknown host"
        elif failure.check(ConnectionRefusedError):
            said = "connection refused; is the server running?"
        elif failure.check(TimeoutError):
            said = f"no answer within {self._timeout:g} s"
        else:
            said = failure.getErrorMessage().rstrip(".")
        self._gone(said, CANNOT_CONNECT)

    def _gone(self, said: str, code: int) -> None:
        error = CommandFailed(f"{self._address.url}: {said}", code)
        self.follower.closed(None, "", error)

    def opened(self, connection: "Connection") -> None:
        """Hand over a connection on which WebSocket is spoken."""
        self._open = connection
        self.follower.opened(connection)

    def closed(
        self, connection: "Connection", code: int | None, reason: str, refusal: str
    ) -> None:
        """Tell the follower that a connection has ended."""
        was_open, self._open = self._open is connection, None
        if self._waiting is not None:
            self._waiting.callback(None)
            self._waiting = None
        if was_open:
            self.follower.closed(code, reason)
        elif refusal:
            self._gone(refusal, FOREIGN_ANSWER)
        else:
            self._gone(
                connection.why or "the server closed the connection", CANNOT_CONNECT
            )

    def when_closed(self) -> "Deferred[None] | None":
        """Return what fires once no connection is open."""
        if self._open is None:
            return None
        self._waiting = Deferred()
        return self._waiting


class Connection(WebSocketClientProtocol):  # type: ignore[misc]  # has no types
    """One WebSocket connection of a connector."""

    def __init__(self, connector: Connector) -> None:
        super().__init__()
        self._connector = connector
        self._refusal = ""
        #: What was wrong with TLS.
        self.why = ""

    def send_text(self, text: str) -> None:
        """Send one message."""
        self.sendMessage(text.encode())

    def end(self) -> None:
        """Close the connection."""
        self.sendClose(1000)

    def onOpen(self) -> None:
        """Begin to follow the channel."""
        self._connector.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Hand a message to the follower."""
        self._connector.follower.received(payload.decode(errors="replace"))

    def failHandshake(self, reason: str, *arguments: Any) -> None:
        """Keep the reason for the error line."""
        self._refusal = reason
        super().failHandshake(reason, *arguments)

    def connectionLost(self, reason: Any) -> None:
        """Keep what TLS says of the loss."""
        if reason.check(VerificationError):
            self.why = "its certificate is for another host"
        elif reason.check(SSLError):
            errors = reason.value.args[0] if reason.value.args else []
            self.why = "TLS failed: " + ", ".join(error[-1] for error in errors)
        super().connectionLost(reason)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Report the close code and its reason."""
        told = self.remoteCloseReason or ""
        self._connector.closed(self, self.remoteCloseCode, told, self._refusal)
