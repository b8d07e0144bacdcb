"""Backends over HTTPS: whose certificates are accepted, and which are shown."""

from typing import Any, cast

from twisted.internet import reactor
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from centrifugo_tx.options import TLSOptions
from centrifugo_tx.proxies import BackendFailed, ProxyOptions
from centrifugo_tx.proxies.http import HTTPProxyClient
from centrifugo_tx.proxies.options import HTTPProxyOptions
from centrifugo_tx.proxy_messages import RPC, RPCEvent
from centrifugo_tx.tls import server_context

from .certificates import Authority


class Answer(Resource):  # type: ignore[misc]  # untyped
    """Answers every call."""

    isLeaf = True

    def render_POST(self, request: Any) -> bytes:
        """Return an empty response."""
        return b"{}"


class HTTPSTests(TestCase):
    """A backend with a certificate for ``localhost``."""

    def setUp(self) -> None:
        self.authority, self.stranger = Authority(), Authority()

    def serve(self, **tls: Any) -> Any:
        """Serve with a certificate; return the port."""
        cert, key = self.authority.issue("localhost")
        options = TLSOptions(enabled=True, cert_pem=cert, key_pem=key, **tls)
        site, context = Site(Answer()), server_context(options)
        port = cast("Any", reactor).listenSSL(0, site, context, 5, "127.0.0.1")
        self.addCleanup(port.stopListening)
        return port.getHost().port

    async def works(self, port: int, host: str = "localhost", **tls: Any) -> bool:
        """Return whether a call with these options is answered."""
        http = HTTPProxyOptions(tls=TLSOptions(enabled=bool(tls), **tls))
        endpoint = f"https://{host}:{port}/"
        options = ProxyOptions(endpoint=endpoint, timeout=60.0, http=http)
        client = HTTPProxyClient(reactor, options)
        try:
            await client.call(RPC, RPCEvent(user=""), {})
        except BackendFailed as failure:
            self.assertTrue(str(failure))
            return False
        finally:
            await client.stop()
        return True

    async def test_authorities(self) -> None:
        """The certificate is by a known authority, or verification is off."""
        port = self.serve()
        ours = {"server_ca_pem": self.authority.pem}
        self.assertTrue(await self.works(port, **ours))
        self.assertFalse(await self.works(port, server_ca_pem=self.stranger.pem))
        self.assertFalse(await self.works(port))
        self.assertTrue(await self.works(port, insecure_skip_verify=True))

    async def test_names(self) -> None:
        """The certificate is for the host, or for the name that is expected."""
        port = self.serve()
        ours = {"server_ca_pem": self.authority.pem}
        self.assertFalse(await self.works(port, "127.0.0.1", **ours))
        named = {**ours, "server_name": "localhost"}
        self.assertTrue(await self.works(port, "127.0.0.1", **named))

    async def test_client_certificate(self) -> None:
        """A backend can ask for the server's own certificate."""
        port = self.serve(client_ca_pem=self.authority.pem)
        ours = {"server_ca_pem": self.authority.pem}
        self.assertFalse(await self.works(port, **ours))
        cert, key = self.authority.issue("node")
        self.assertTrue(await self.works(port, **ours, cert_pem=cert, key_pem=key))
        cert, key = self.stranger.issue("node")
        self.assertFalse(await self.works(port, **ours, cert_pem=cert, key_pem=key))
