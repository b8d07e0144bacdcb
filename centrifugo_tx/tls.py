"""TLS of the server's ports.

See configuration rules, "Ports and endpoints".
"""

from typing import Any

from attrs import define
from cryptography.x509 import load_pem_x509_certificates
from OpenSSL.crypto import FILETYPE_PEM, load_privatekey
from OpenSSL.crypto import Error as PEMError
from OpenSSL.SSL import Connection
from OpenSSL.SSL import Error as SSLError
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    trustRootFromCertificates,
)
from zope.interface import implementer

from .options import TLSOptions

__all__ = ["ServerTLS", "certificates", "expires_at", "server_context"]

_END = "-----END CERTIFICATE-----"


def certificates(text: str) -> list[Certificate]:
    """Return all certificates in PEM *text*.

    :raises OpenSSL.crypto.Error: a certificate is malformed.
    """
    blocks = text.split(_END)[:-1]
    return [Certificate.loadPEM((block + _END).encode()) for block in blocks]


def expires_at(text: str) -> float:
    """Return when the first certificate of a chain (PEM) expires, as POSIX time."""
    chain = load_pem_x509_certificates(text.encode())
    return min(each.not_valid_after_utc.timestamp() for each in chain)


@implementer(IOpenSSLServerConnectionCreator)
@define(eq=False)
class ServerTLS:
    """Encrypts the connections of a port by a context that can be replaced.

    Open connections keep the one they began with; new handshakes use the current one.
    """

    context: CertificateOptions

    def serverConnectionForTLS(self, protocol: Any) -> Connection:
        """Return the OpenSSL side of a new connection."""
        return self.context.serverConnectionForTLS(protocol)


def server_context(options: TLSOptions) -> CertificateOptions:
    """Return the TLS context of a port, for TLS 1.2 or newer.

    With client authorities, every client needs a certificate.

    :raises ValueError: an option is invalid; the arguments are the name of the option
        and the requirement it fails.
    """
    own, *chain = _found(options.cert_pem, "cert_pem")
    trusted = None
    if options.client_ca_pem:
        authorities = _found(options.client_ca_pem, "client_ca_pem")
        trusted = trustRootFromCertificates(authorities)
    try:
        # Without a passphrase OpenSSL would ask the terminal for one.
        key = load_privatekey(FILETYPE_PEM, options.key_pem.encode(), b"")
    except (PEMError, ValueError, TypeError):
        said = "must be a private key in PEM, without a passphrase"
        raise ValueError("key_pem", said) from None
    context = CertificateOptions(
        privateKey=key,
        certificate=own.original,
        extraCertChain=[each.original for each in chain],
        trustRoot=trusted,
        raiseMinimumTo=TLSVersion.TLSv1_2,
        enableSessionTickets=True,
    )
    try:
        context.getContext()
    except SSLError:
        said = "must be the private key of the certificate in cert_pem"
        raise ValueError("key_pem", said) from None
    return context


def _found(text: str, option: str) -> list[Certificate]:
    """Return all certificates in *text*, which must contain at least one."""
    try:
        found = certificates(text)
    except (PEMError, ValueError):
        found = []
    if not found:
        raise ValueError(option, "must be a certificate in PEM")
    return found
