"""HTTP streams: messages must arrive at once, not when a buffer is full."""

import json
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote

from ..config.model import Config
from .findings import Finding, ok, problem, warning
from .proxy_remedies import NO_BUFFERING, PASS_PATH
from .site import Site, Unreachable

__all__ = ["check_streams"]

#: Commands whose replies must arrive one by one.
_ROUNDS = 2
#: Browsers take compressed streams; the server itself does not compress them.
_BROWSER = {"Accept-Encoding": "gzip"}
_LONGEST_LINE = 65536
#: Lines read at most until a reply is given up.
_MOST_LINES = 1000


def check_streams(site: Site, config: Config, token: str) -> list[Finding]:
    """Check the streams that are enabled; this blocks, at most a few timeouts."""
    found: list[Finding] = []
    if config.sse.enabled:
        found.append(_check("sse", site, config, config.sse.handler_prefix, token))
    if config.http_stream.enabled:
        path = config.http_stream.handler_prefix
        found.append(_check("http_stream", site, config, path, token))
    return found


def _check(name: str, site: Site, config: Config, path: str, token: str) -> Finding:
    try:
        connection = site.connect()
    except Unreachable as error:
        return problem(name, f"{site}: {error}", PASS_PATH)
    emulation = config.emulation.handler_prefix
    try:
        return _Conversation(name, site, connection, emulation).run(path, token)
    finally:
        connection.close()


class _Held(Exception):
    """No data came in time; the message names the missing data."""


class _Conversation:
    """One stream, and the commands that go with it."""

    def __init__(
        self, name: str, site: Site, connection: HTTPConnection, emulation: str
    ) -> None:
        self._name, self._site = name, site
        self._connection, self._emulation = connection, emulation
        self._response: HTTPResponse

    def run(self, path: str, token: str) -> Finding:
        """Connect, then see the reply to each command before the next is sent."""
        url = f"{self._site}{path}"
        try:
            try:
                self._open(path, token)
            except Unreachable as error:
                raise _Held(str(error)) from None
            if self._response.status != 200:
                said = f"{url}: HTTP {self._response.status}"
                return problem(self._name, said, PASS_PATH)
            if self._response.getheader("Content-Encoding"):
                said = f"{url}: the proxy compresses, and may hold messages back"
                return warning(self._name, said, NO_BUFFERING)
            reply = self._reply(1, "the reply to connect")
            if "connect" not in reply:
                said = f"{url}: connect failed: {json.dumps(reply)[:200]}"
                return problem(self._name, said, "see the finding about the token")
            for number in range(2, 2 + _ROUNDS):
                if refusal := self._command(number, reply["connect"]):
                    return refusal
                self._reply(number, f"message {number}")
        except _Held as held:
            said = f"{url}: messages are held back: {held}"
            return problem(self._name, said, NO_BUFFERING)
        except (OSError, HTTPException, ValueError, KeyError, AttributeError) as error:
            said = f"{url}: the stream broke: {error or type(error).__name__}"
            return problem(self._name, said, PASS_PATH)
        return ok(self._name, f"{url} delivers each message at once")

    def _open(self, path: str, token: str) -> None:
        connect = {
            "name": "centrifugo-tx doctor",
            **({"token": token} if token else {}),
        }
        command = json.dumps({"id": 1, "connect": connect})
        if self._name == "sse":
            path = f"{path}?cf_connect={quote(command, '')}"
            headers = {**_BROWSER, "Accept": "text/event-stream"}
            self._response = self._send("GET", path, None, headers)
        else:
            headers = {**_BROWSER, "Content-Type": "application/json"}
            self._response = self._send("POST", path, command.encode(), headers)

    def _send(self, *request: Any) -> HTTPResponse:
        return self._site.send(self._connection, *request)

    def _command(self, number: int, connected: dict[str, Any]) -> Finding | None:
        """Send a command that changes nothing; return the problem with it."""
        command = {"id": number, "unsubscribe": {"channel": "doctor"}}
        body = {
            "session": connected["session"],
            "node": connected["node"],
            "data": json.dumps(command),
        }
        headers = {"Content-Type": "application/json"}
        encoded = json.dumps(body).encode()
        try:
            reply = self._site.request("POST", self._emulation, encoded, headers)
        except Unreachable as error:
            said = f"{self._site}{self._emulation}: {error}"
            return problem(self._name, said, PASS_PATH)
        if reply.status == 204:
            return None
        said = f"{self._site}{self._emulation}: HTTP {reply.status}"
        return problem(self._name, said, PASS_PATH)

    def _reply(self, number: int, expected: str) -> dict[str, Any]:
        """Return a reply; pass over pings and pushes."""
        try:
            for _ in range(_MOST_LINES):
                line = self._response.readline(_LONGEST_LINE)
                if not line:
                    raise ConnectionError("the server ended it")
                text = line.decode().strip().removeprefix("data:").strip()
                if not text.startswith("{"):
                    continue
                reply: dict[str, Any] = json.loads(text)
                if "push" in reply and "disconnect" in reply["push"]:
                    return reply
                if reply.get("id") == number:
                    return reply
        except TimeoutError:
            timeout = self._site.timeout
            raise _Held(f"{expected} did not come within {timeout:g} s") from None
        raise ConnectionError("it carries no replies")
