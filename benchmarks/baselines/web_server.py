"""Plain Twisted Web: python -m benchmarks.baselines.web_server PORT

Resources that decode publish, batch and broadcast requests and answer them, in an
unmodified site.  A publication into a channel of the namespace ``hist`` is kept in a
deque of 100.  The access log is discarded.
"""

import json
import sys
from collections import deque
from typing import Any

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

__all__: list[str] = []

#: The publications of each channel that keeps them.
histories: dict[str, deque[Any]] = {}


class Publish(Resource):  # type: ignore[misc]  # untyped
    """``/api/publish``."""

    isLeaf = True

    def render_POST(self, request: Any) -> bytes:
        result = _published(json.loads(request.content.read()))
        request.setHeader(b"content-type", b"application/json")
        return json.dumps({"result": result}).encode()


class Batch(Resource):  # type: ignore[misc]  # untyped
    """``/api/batch``."""

    isLeaf = True

    def render_POST(self, request: Any) -> bytes:
        commands = json.loads(request.content.read())["commands"]
        replies = [{"publish": _published(each["publish"])} for each in commands]
        request.setHeader(b"content-type", b"application/json")
        return json.dumps({"replies": replies}).encode()


class Broadcast(Resource):  # type: ignore[misc]  # untyped
    """``/api/broadcast``."""

    isLeaf = True

    def render_POST(self, request: Any) -> bytes:
        body = json.loads(request.content.read())
        responses = [
            {"result": _published({"channel": channel, "data": body["data"]})}
            for channel in body["channels"]
        ]
        request.setHeader(b"content-type", b"application/json")
        return json.dumps({"result": {"responses": responses}}).encode()


def _published(publication: dict[str, Any]) -> dict[str, Any]:
    """Keep a publication if its channel has a history; return the result."""
    channel = publication["channel"]
    if not channel.startswith("hist:"):
        return {}
    history = histories.setdefault(channel, deque(maxlen=100))
    history.append(publication["data"])
    return {"offset": len(history), "epoch": "abcd"}


def main() -> None:
    """Serve until the process is terminated."""
    root, api = Resource(), Resource()
    root.putChild(b"api", api)
    api.putChild(b"publish", Publish())
    api.putChild(b"batch", Batch())
    api.putChild(b"broadcast", Broadcast())
    site = Site(root, logPath="/dev/null")
    broker_subscriptions: Any = reactor
    broker_subscriptions.listenTCP(int(sys.argv[1]), site, 4096, "127.0.0.1")
    broker_subscriptions.run()


if __name__ == "__main__":
    main()
