"""Certificates and the contexts made of them."""

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import TLSOptions
from centrifugo_tx.tls import certificates, server_context

from .integration.certificates import Authority, locked


class ContextTests(SynchronousTestCase):
    """Encrypted ports."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.cert, self.key = self.authority.issue("localhost")

    def fault(self, **options: str) -> tuple[object, ...]:
        """Return which option is refused, and why."""
        given = {"cert_pem": self.cert, "key_pem": self.key, **options}
        arguments: tuple[object, ...] = self.assertRaises(
            ValueError, server_context, TLSOptions(enabled=True, **given)
        ).args
        return arguments

    def test_chain(self) -> None:
        """The certificate comes first, those that vouch for it follow."""
        chain = certificates(self.cert + self.authority.pem)
        self.assertEqual(chain[0], certificates(self.cert)[0])
        self.assertEqual(chain[1:], certificates(self.authority.pem))
        options = TLSOptions(cert_pem=self.cert + self.authority.pem, key_pem=self.key)
        context = server_context(options)
        self.assertEqual(len(context.extraCertChain), 1)
        self.assertFalse(context.verify)

    def test_clients(self) -> None:
        """With an authority for clients each of them needs a certificate."""
        options = TLSOptions(
            cert_pem=self.cert, key_pem=self.key, client_ca_pem=self.authority.pem
        )
        context = server_context(options)
        self.assertTrue(context.verify)
        self.assertTrue(context.requireCertificate)

    def test_faults(self) -> None:
        """The error names the invalid option."""
        no_certificate = "must be a certificate in PEM"
        broken = self.cert.replace("M", "*")
        for option in ("cert_pem", "client_ca_pem"):
            for text in ("nothing", broken):
                self.assertEqual(self.fault(**{option: text}), (option, no_certificate))
        no_key = "must be a private key in PEM, without a passphrase"
        for text in (self.cert, locked(self.key)):
            self.assertEqual(self.fault(key_pem=text), ("key_pem", no_key))
        _, other = self.authority.issue("localhost")
        self.assertEqual(
            self.fault(key_pem=other),
            ("key_pem", "must be the private key of the certificate in cert_pem"),
        )
