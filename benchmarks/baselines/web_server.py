"""Plain Twisted Web: python -m benchmarks.baselines.web_server PORT

A resource that decodes a publish request and answers it, in an unmodified site.  The
access log is discarded.
"""

import json
import sys
from typing import Any

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

__all__: list[str] = []


class Publish(Resource):  # type: ignore[misc]  # untyped
    """``/api/publish``."""

    isLeaf = True

    def render_POST(self, request: Any) -> bytes:
        if not json.loads(request.content.read())["channel"]:
            return b"{}"
        request.setHeader(b"content-type", b"application/json")
        return json.dumps({"result": {}}).encode()


def main() -> None:
    """Serve until the process is terminated."""
    root, api = Resource(), Resource()
    root.putChild(b"api", api)
    api.putChild(b"publish", Publish())
    site = Site(root, logPath="/dev/null")
    broker_subscriptions: Any = reactor
    broker_subscriptions.listenTCP(int(sys.argv[1]), site, 4096, "127.0.0.1")
    broker_subscriptions.run()


if __name__ == "__main__":
    main()
