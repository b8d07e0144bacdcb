"""Certificates, and the encryption of our own ports.

See configuration rules, "Ports and endpoints".
"""

from OpenSSL.crypto import FILETYPE_PEM, load_privatekey
from OpenSSL.crypto import Error as PEMError
from OpenSSL.SSL import Error as SSLError
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    trustRootFromCertificates,
)

from .options import TLSOptions

__all__ = ["certificates", "server_context"]

_END = "-----END CERTIFICATE-----"


def certificates(text: str) -> list[Certificate]:
    """Return all certificates in PEM *text*.

    :raises OpenSSL.crypto.Error: one of them is malformed.
    """
    blocks = text.split(_END)[:-1]
    return [Certificate.loadPEM((block + _END).encode()) for block in blocks]


def server_context(options: TLSOptions) -> CertificateOptions:
    """Return what encrypts the connections of a port, by TLS 1.2 or newer.

    Authorities for clients make that every client needs a certificate.

    :raises ValueError: an option is of no use; its arguments are the option's name
        and what is wrong with it.
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
    )
    try:
        context.getContext()
    except SSLError:
        said = "must be the private key of the certificate in cert_pem"
        raise ValueError("key_pem", said) from None
    return context


def _found(text: str, option: str) -> list[Certificate]:
    """Return all certificates in *text*, of which there must be one."""
    try:
        found = certificates(text)
    except (PEMError, ValueError):
        found = []
    if not found:
        raise ValueError(option, "must be a certificate in PEM")
    return found
