"""A page that another server supplies, for developing one."""

from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer, readBody
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

__all__ = ["ProxiedPage"]

#: Seconds until the other server must have accepted the connection.
CONNECT_TIMEOUT = 5.0
#: Headers that are about one connection, not about the request (RFC 9110, 7.6.1).
_OF_CONNECTION = (
    *(b"connection", b"host", b"keep-alive", b"te", b"trailer", b"transfer-encoding"),
    *(b"upgrade", b"content-length", b"accept-encoding"),
)


class ProxiedPage(Resource):  # type: ignore[misc]  # untyped
    """Passes every request on to the server at *address*, a URL without a path.

    WebSockets are not passed on.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, reactor: Any, address: str) -> None:
        super().__init__()
        self._agent = Agent(reactor, connectTimeout=CONNECT_TIMEOUT)
        self._address = address.rstrip("/").encode()

    def render(self, request: Any) -> int:
        """Answer when the other server has answered."""
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        passed = Deferred.fromCoroutine(self._pass_on(request, gone))
        passed.addErrback(self._failed, request, gone)
        later: int = NOT_DONE_YET
        return later

    async def _pass_on(self, request: Any, gone: list[object]) -> None:
        headers = _without(request.requestHeaders)
        body = request.content.read()
        producer = FileBodyProducer(BytesIO(body)) if body else None
        url = self._address + request.uri
        response = await self._agent.request(request.method, url, headers, producer)
        content = await readBody(response)
        if gone:
            return
        request.setResponseCode(response.code)
        request.responseHeaders = _without(response.headers)
        request.setHeader(b"content-length", b"%d" % len(content))
        request.write(content)
        request.finish()

    def _failed(self, failure: Failure, request: Any, gone: list[object]) -> None:
        reason = failure.getErrorMessage()
        self._log.warn("admin.web_proxy_address: {reason}", reason=reason)
        if not gone:
            request.setResponseCode(502)
            request.setHeader(b"content-type", b"text/plain; charset=utf-8")
            request.write(b"Bad Gateway\n")
            request.finish()


def _without(headers: Headers) -> Headers:
    """Return *headers* without those of the connection."""
    return Headers(
        {
            name: values
            for name, values in headers.getAllRawHeaders()
            if name.lower() not in _OF_CONNECTION
        }
    )
