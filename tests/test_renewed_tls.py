"""Outgoing connections after certificates have changed."""

import contextlib
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from OpenSSL.SSL import Connection, Error, WantReadError
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx import renewed_tls
from centrifugo_tx.client_tls import client_tls_creator
from centrifugo_tx.options import TLSOptions
from centrifugo_tx.renewed_tls import current_tls, renew_tls
from centrifugo_tx.tls import server_context

from .integration.certificates import Authority


class RenewalCase(SynchronousTestCase):
    """Two authorities, the old one and the new one, and servers that they sign."""

    def setUp(self) -> None:
        self.patch(renewed_tls, "_RENEWED", {})
        old, new = Authority(), Authority()
        self.start = TLSOptions(enabled=True, server_ca_pem=old.pem)
        self.renewed = TLSOptions(enabled=True, server_ca_pem=new.pem)
        self.old, self.new = (
            TLSOptions(enabled=True, cert_pem=cert, key_pem=key, client_ca_pem=new.pem)
            for cert, key in (each.issue("localhost") for each in (old, new))
        )
        self.own = new.issue("client")


class RegistryTests(RenewalCase):
    """What replaces what."""

    def test_replaced(self) -> None:
        """Options that have changed are replaced, others are not."""
        self.assertEqual(renew_tls([(self.start, self.renewed)]), set())
        self.assertEqual(current_tls(self.start), self.renewed)
        self.assertEqual(current_tls(self.new), self.new)
        renew_tls([(self.start, self.start)])
        self.assertEqual(current_tls(self.start), self.start)

    def test_disputed(self) -> None:
        """Sections that were the same, and differ now, keep the options."""
        pairs = [(self.start, self.start), (self.start, self.renewed)]
        self.assertEqual(renew_tls(pairs), {self.start})
        self.assertEqual(current_tls(self.start), self.start)


class TwistedTests(RenewalCase):
    """Connections of Twisted: Redis and proxies."""

    def is_trusted(self, creator: Any, options: TLSOptions) -> bool:
        """Whether a handshake with a server succeeds."""
        server: Any = Connection(server_context(options).getContext(), None)
        server.set_accept_state()
        client: Any = creator.clientConnectionForTLS(_Protocol())
        client.set_connect_state()
        try:
            for _ in range(10):
                for side, other in ((client, server), (server, client)):
                    with contextlib.suppress(WantReadError):
                        side.do_handshake()
                    with contextlib.suppress(WantReadError):
                        other.bio_write(side.bio_read(65536))
        except Error:
            return False
        return True

    def test_authority(self) -> None:
        """New connections trust the new authority, and no longer the old one."""
        creator = client_tls_creator(self.start, "localhost")
        own = {"cert_pem": self.own[0], "key_pem": self.own[1]}
        with_own = TLSOptions(
            enabled=True, server_ca_pem=self.start.server_ca_pem, **own
        )
        self.assertFalse(self.is_trusted(creator, self.old))
        renew_tls([(self.start, with_own)])
        self.assertTrue(self.is_trusted(creator, self.old))
        self.assertFalse(self.is_trusted(creator, self.new))
        renewed = TLSOptions(
            enabled=True, server_ca_pem=self.renewed.server_ca_pem, **own
        )
        renew_tls([(self.start, renewed)])
        self.assertTrue(self.is_trusted(creator, self.new))
        self.assertFalse(self.is_trusted(creator, self.old))


class _Protocol:
    """Stands where Twisted's TLS protocol would."""

    factory = SimpleNamespace(wrappedFactory=None)
    wrappedProtocol = None

    def failVerification(self, reason: Any) -> None:
        """Nothing: the handshake fails as well."""


class AsyncioTests(RenewalCase):
    """Connections of libraries on an asyncio loop: NATS and Kafka."""

    def is_trusted(self, context: ssl.SSLContext, options: TLSOptions) -> bool:
        """Whether a handshake with a server succeeds."""
        accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own = Path(self.mktemp())
        own.write_text(f"{options.cert_pem}\n{options.key_pem}")
        accepting.load_cert_chain(own)
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(down, up, server_hostname="localhost")
        server = accepting.wrap_bio(up, down, server_side=True)
        try:
            for _ in range(10):
                for side in (client, server):
                    with contextlib.suppress(ssl.SSLWantReadError):
                        side.do_handshake()
        except ssl.SSLError:
            return False
        return True

    def test_authority(self) -> None:
        """A context that a library keeps follows the change."""
        from centrifugo_tx.consumers.ssl_context import ssl_context

        context = ssl_context(self.start)
        self.assertTrue(self.is_trusted(context, self.old))
        renew_tls([(self.start, self.renewed)])
        self.assertTrue(self.is_trusted(context, self.new))
        self.assertFalse(self.is_trusted(context, self.old))
        renew_tls([(self.start, self.start)])
        self.assertTrue(self.is_trusted(context, self.old))
