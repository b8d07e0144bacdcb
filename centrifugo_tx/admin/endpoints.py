"""The HTTP endpoints of the admin page (operations, "Admin web interface")."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.resource import IResource

from ..bounded_log import BoundedLog, address_of
from ..core import Node, SurveyFailed, run_or_defer
from ..errors import BrokerUnavailable, ReplyError
from ..options import Answer
from ..protocol.codes import INTERNAL, Error
from . import messages as m
from .feed import Body, Feeds
from .files import below, folder, own_files, redirect
from .inspector import Inspector
from .login import AdminOptions, Attempts, Login, password_in

__all__ = ["ADMIN_PATHS", "AdminEndpoints"]

Handler = Callable[[Any], "Answer | Deferred[Answer]"]
StreamHandler = Callable[[Any], "Answer | Deferred[Answer | None] | None"]
_Ask = Callable[[Any], Awaitable[msgspec.Struct | None]]

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
_NO_STORE = ((b"Cache-Control", b"no-store"),)
_BAD = Answer(400, b"Bad Request\n", _TEXT)
_TOO_MANY = Answer(429, b"Too Many Requests\n", _TEXT, ((b"Retry-After", b"1"),))
_BUSY = Answer(503, headers=((b"Retry-After", b"1"),))

#: The paths below the prefix, files left out.
ADMIN_PATHS = (
    "/",
    *("/admin/init", "/admin/settings", "/admin/auth", "/admin/api", "/admin/feed"),
    *("/admin/nodes", "/admin/samples", "/admin/channels", "/admin/channel"),
    "/admin/presence",
    *("/admin/connections", "/admin/connection"),
)
#: Questions of the page that may be under way at once.
QUESTIONS = 16


@define(eq=False)
class _Door:
    """Admits requests with a valid session token."""

    _login: Login
    _log: BoundedLog

    def refusal(self, request: Any) -> Answer | None:
        """Return why *request* may not come in, None if it may."""
        if request.method != b"POST":
            return Answer(405)
        if not _same_site(request):
            self._log.warn("admin request of another site", addr=address_of(request))
            return Answer(403)
        return None if self._login.admits(request) else Answer(401)


def _same_site(request: Any) -> bool:
    """Whether no page of another site has made a browser send *request*.

    Tokens cannot be sent so, but without a login there are none (Fetch Metadata).
    """
    return request.getHeader(b"sec-fetch-site") in (None, b"same-origin", b"none")


@define(eq=False)
class _Guarded:
    """A handler for requests with a valid session token."""

    _door: _Door
    _handler: Callable[[Any], Any]

    def refusal(self, request: Any) -> Answer | None:
        """Return why the body of a request is not even read."""
        return self._door.refusal(request)

    def __call__(self, request: Any) -> Any:
        return self._door.refusal(request) or self._handler(request)


@define(eq=False)
class _Questions:
    """Answers the page's requests to the inspector, a bounded number at a time."""

    _log: BoundedLog
    _under_way: int = 0

    def handler(self, request_type: type[msgspec.Struct], ask: _Ask) -> Handler:
        """Return a handler that decodes a request and answers with the result of
        *ask*.
        """

        def handle(http: Any) -> "Answer | Deferred[Answer]":
            try:
                request = msgspec.json.decode(
                    http.content.read() or b"{}", type=request_type
                )
            except (msgspec.DecodeError, ValueError, RecursionError):
                return _BAD
            if self._under_way >= QUESTIONS:
                return _BUSY
            return run_or_defer(self._answer(ask, request))

        return handle

    async def _answer(self, ask: _Ask, request: msgspec.Struct) -> Answer:
        self._under_way += 1
        try:
            found = await ask(request)
        except ReplyError as error:
            return _error(error.error, error.cause)
        except (BrokerUnavailable, SurveyFailed) as error:
            self._log.warn("admin question not answered", cause=str(error))
            return _error(INTERNAL, str(error))
        finally:
            self._under_way -= 1
        body = msgspec.json.encode({"result": found})
        return Answer(200, body, _JSON, _NO_STORE)


def _error(error: Error, cause: str) -> Answer:
    shown = {"code": error.code, "message": cause or error.message}
    return Answer(200, msgspec.json.encode({"error": shown}), _JSON, _NO_STORE)


@define(eq=False)
class AdminEndpoints:
    """All that is served for the admin page.

    :param api: a handler of the old-style server API that asks for no key.
    :param body_of: returns the body of the response to a request.
    """

    _reactor: Any
    _options: AdminOptions
    _node: Node
    _inspector: Inspector
    _api: Handler
    _body_of: Callable[[Any], Body]
    feeds: Feeds = field(init=False)
    _login: Login = field(init=False)
    _attempts: Attempts = field(init=False)
    _door: _Door = field(init=False)
    _log: BoundedLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        clock = self._node.clock
        self._log = BoundedLog(Logger(), clock)
        self._login = Login(self._options, clock)
        self._attempts = Attempts(clock)
        self._door = _Door(self._login, self._log)
        self.feeds = Feeds(self._node, self._body_of)

    @property
    def _prefix(self) -> str:
        return self._options.handler_prefix.rstrip("/")

    @property
    def api_path(self) -> bytes:
        """The path of the old-style API, which takes large bodies."""
        return f"{self._prefix}/admin/api".encode()

    def handlers(self) -> dict[bytes, Handler]:
        """Return the handlers by path."""
        prefix, questions = self._prefix, _Questions(self._log)
        inspector = self._inspector
        asked: list[tuple[str, type[msgspec.Struct], _Ask]] = [
            ("nodes", m.NodesRequest, inspector.nodes),
            ("samples", m.SamplesRequest, inspector.samples_of_all),
            ("channels", m.ChannelsRequest, inspector.channels),
            ("channel", m.ChannelRequest, inspector.channel),
            ("presence", m.PresenceRequest, inspector.presence),
            ("connections", m.ConnectionsRequest, inspector.connections),
            ("connection", m.ConnectionRequest, inspector.connection),
        ]
        found: dict[str, Handler] = {
            "init": self._init,
            "settings": self._settings,
            "auth": self._auth,
            "api": _Guarded(self._door, self._api),
        }
        for name, request, ask in asked:
            found[name] = _Guarded(self._door, questions.handler(request, ask))
        handlers = {
            f"{prefix}/admin/{name}".encode(): handler
            for name, handler in found.items()
        }
        if not (self._options.web_path or self._options.web_proxy_address):
            for name, file in own_files().items():
                handlers[f"{prefix}/{name}".encode()] = file
                if name == "index.html":
                    handlers[f"{prefix}/".encode()] = file
        if prefix:
            handlers[prefix.encode()] = redirect(f"{prefix}/")
        return handlers

    def streams(self) -> dict[bytes, StreamHandler]:
        """Return the handlers that answer bit by bit, by path."""
        feed = _Guarded(self._door, self._feed)
        return {f"{self._prefix}/admin/feed".encode(): feed}

    def tree(self) -> IResource | None:
        """Return the resource for all other paths, if the files are not our own."""
        options = self._options
        if options.web_proxy_address:
            from .proxied_page import ProxiedPage

            page = ProxiedPage(self._reactor, options.web_proxy_address)
            return below(self._prefix, page)
        return folder(options.web_path, self._prefix) if options.web_path else None

    # --- The login -------------------------------------------------------------

    def _init(self, request: Any) -> Answer:
        """Tell the page whether it has to log in."""
        return _settings(
            authenticated=self._login.admits(request),
            edition="oss",
            insecure=self._options.insecure,
        )

    def _settings(self, request: Any) -> Answer:
        """Answer pages older than 6.5.2 likewise, except for their login."""
        return _settings(edition="oss", insecure=self._options.insecure)

    def _auth(self, request: Any) -> Answer:
        """Answer a password with a session token."""
        if request.method != b"POST":
            return Answer(405)
        address = address_of(request)
        if not self._login.possible:
            self._log.error("admin.password and admin.secret must be set to log in")
            return _BAD
        if not self._attempts.allow(address):
            self._log.warn("too many admin logins", addr=address)
            return _TOO_MANY
        kind = request.getHeader(b"content-type") or b""
        if not self._login.accepts(password_in(request.content.read(), kind)):
            self._log.warn("wrong admin password", addr=address)
            return _BAD
        body = msgspec.json.encode({"token": self._login.issue()}) + b"\n"
        return Answer(200, body, _JSON, _NO_STORE)

    # --- The feed --------------------------------------------------------------

    def _feed(self, request: Any) -> Answer | None:
        """Follow a channel for as long as the page reads."""
        if self.feeds.full:
            return _BUSY
        try:
            asked = msgspec.json.decode(request.content.read(), type=m.ChannelRequest)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return _BAD
        if not asked.channel:
            return _BAD
        try:
            self.feeds.open(request, asked.channel)
        except ReplyError as error:
            return _error(error.error, error.cause)
        return None


def _settings(**settings: object) -> Answer:
    return Answer(200, msgspec.json.encode(settings) + b"\n", _JSON, _NO_STORE)
