"""What one would write with Twisted Web alone: ``plain_web.py PORT``."""

import json
import sys
from typing import Any

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site


class Publish(Resource):  # type: ignore[misc]  # untyped
    """Takes a publication, keeps nothing, answers like the server API."""

    isLeaf = True

    def render_POST(self, request: Any) -> bytes:
        """Decode, and answer."""
        json.loads(request.content.read())
        request.setHeader(b"content-type", b"application/json")
        return json.dumps({"result": {}}).encode()


reactor.listenTCP(int(sys.argv[1]), Site(Publish()), interface="127.0.0.1")
reactor.run()
