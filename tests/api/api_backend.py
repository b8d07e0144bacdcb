"""A backend that calls the server API, and the requests that it sends."""

import io
import json
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.web.http_headers import Headers

from centrifugo_tx.api import Api, HTTPAPIOptions, http_handlers
from centrifugo_tx.errors import ReplyError
from centrifugo_tx.options import Answer, ChannelOptions, MapRules, PollRules
from centrifugo_tx.protocol.codes import UNKNOWN_CHANNEL
from tests.support import Permissive, World

__all__ = ["Backend", "Request", "Rules"]

HISTORY = ChannelOptions(history_size=5, history_ttl=60.0, presence=True)


NAMESPACES = {
    "": ChannelOptions(),
    "hh": HISTORY,
    "rr": ChannelOptions(history_size=5, history_ttl=60.0, receipts=True),
    "jj": ChannelOptions(publication_data_format="json"),
    "oo": ChannelOptions(publication_data_format="json_object"),
    "bb": ChannelOptions(
        publication_data_format="binary", history_size=5, history_ttl=60.0
    ),
    "mm": ChannelOptions(subscription_type="map", map=MapRules()),
    "ee": ChannelOptions(subscription_type="map", map=MapRules(stream_size=0)),
    "pp": ChannelOptions(poll=PollRules(versioned=True, publish=True)),
    "qq": ChannelOptions(poll=PollRules()),
    "dd": ChannelOptions(subscription_type="map", map=MapRules(), delta_publish=True),
}


@define(eq=False)
class Rules(Permissive):
    """Namespaces: ``hh`` keeps history and presence, the others have a format."""

    def channel(self, name: str) -> ChannelOptions:
        namespace = name.partition(":")[0] if ":" in name else ""
        found = NAMESPACES.get(namespace)
        if found is None:
            raise ReplyError(UNKNOWN_CHANNEL)
        return found


@define(eq=False)
class Request:
    """A request, as far as handlers use it."""

    body: bytes
    headers: dict[str, str] = field(factory=dict)
    method: bytes = b"POST"
    uri: bytes = b"/"

    @property
    def content(self) -> io.BytesIO:
        return io.BytesIO(self.body)

    @property
    def requestHeaders(self) -> Headers:
        return Headers({name: [value] for name, value in self.headers.items()})

    def getHeader(self, name: bytes) -> bytes | None:
        found = self.requestHeaders.getRawHeaders(name)
        return found[-1] if found else None


@define(eq=False)
class _Broken:
    """A broker that publishes nothing."""

    _reason: Exception
    publishes_in_order = False

    def publish(self, *publication: object) -> "Deferred[Any]":
        return fail(self._reason)


@define(eq=False)
class Backend:
    """A backend that calls the API of a node with a memory engine."""

    options: HTTPAPIOptions = HTTPAPIOptions(insecure=True)
    world: World = field(factory=lambda: World(policy=Rules()))
    api: Api = field(init=False)
    handlers: dict[bytes, Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.api = Api(self.world.node)
        self.handlers = http_handlers(self.api, self.options)

    def post(
        self,
        path: str,
        body: str | bytes = b"",
        verb: bytes = b"POST",
        **headers: str,
    ) -> Any:
        """Return the answer, or the Deferred of one."""
        asked = path.encode()
        data = body.encode() if isinstance(body, str) else body
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        handler = self.handlers[asked.partition(b"?")[0]]
        return handler(Request(data, names, verb, asked))

    def at_once(self, path: str, body: str | bytes, **headers: str) -> Answer:
        """Return the response to a request that is answered at once."""
        answer = self.post(path, body, b"POST", **headers)
        assert not isinstance(answer, Deferred)
        found: Answer = answer
        return found

    def call(self, method: str, **request: Any) -> Any:
        """Return the JSON of the answer to a new-style call."""
        answer = self.at_once(f"/api/{method}", json.dumps(request))
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def result(self, method: str, **request: Any) -> Any:
        """Return the result of a call that succeeds."""
        return self.call(method, **request)["result"]

    def code(self, method: str, **request: Any) -> int:
        """Return the code of the error of a call, 0 without one."""
        found: int = self.call(method, **request).get("error", {}).get("code", 0)
        return found

    def fail(self, reason: Exception) -> None:
        """Let all publications fail from now on."""
        broker: Any = _Broken(reason)
        self.world.node.streams.broker = broker

    def errors(self) -> dict[tuple[str, str], float]:
        """Return how many errors were counted, by method and error."""
        return {
            (dict(labels)["method"], dict(labels)["error"]): counter.value
            for name, labels, counter in self.world.node.metrics.counters()
            if name == "api_command_errors_total"
        }
