"""TLS of connections in which this server is the client."""

from attrs import define
from OpenSSL.crypto import Error as SSLError
from OpenSSL.SSL import Connection, Context
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from .errors import ConfigError
from .options import TLSOptions
from .renewed_tls import current_tls
from .tls import certificates

__all__ = ["client_tls_creator"]


def client_tls_creator(
    options: TLSOptions, host: str
) -> IOpenSSLClientConnectionCreator:
    """Return a creator of TLS connections to *host*.

    The server's certificate must be for ``server_name`` or, without it, *host*.  New
    connections use the certificates of today (`renewed_tls`).

    :raises ConfigError: a certificate or key cannot be read.
    """
    return _Renewable(options, host, options, _creator(options, host))


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False)
class _Renewable:
    """Creates connections by the options of today."""

    _start: TLSOptions
    _host: str
    _used: TLSOptions
    _creator: IOpenSSLClientConnectionCreator

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> Connection:
        """Return the OpenSSL side of a new connection."""
        today = current_tls(self._start)
        if today != self._used:
            self._used, self._creator = today, _creator(today, self._host)
        connection: Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        return connection


def _creator(options: TLSOptions, host: str) -> IOpenSSLClientConnectionCreator:
    name = options.server_name or host
    try:
        own, chain = _own(options)
        if options.insecure_skip_verify:
            return _Unverified(own, name)
        trusted = None
        if options.server_ca_pem:
            trusted = trustRootFromCertificates(certificates(options.server_ca_pem))
    except SSLError as error:
        raise ConfigError(f"tls: a certificate or key is malformed: {error}") from None
    creator: IOpenSSLClientConnectionCreator = optionsForClientTLS(
        name,
        trustRoot=trusted,
        clientCertificate=own,
        extraCertificateOptions={
            "raiseMinimumTo": TLSVersion.TLSv1_2,
            "extraCertChain": [each.original for each in chain] or None,
        },
    )
    return creator


def _own(options: TLSOptions) -> tuple[PrivateCertificate | None, list[Certificate]]:
    """Return the client certificate and its chain."""
    if not options.cert_pem:
        return None, []
    pem = f"{options.cert_pem}\n{options.key_pem}".encode()
    return PrivateCertificate.loadPEM(pem), certificates(options.cert_pem)[1:]


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Encrypts without verifying the server's certificate."""

    def __init__(self, own: PrivateCertificate | None, name: str) -> None:
        options = own.options() if own else CertificateOptions(verify=False)
        self._context: Context = options.getContext()
        self._name = b"" if isIPAddress(name) or isIPv6Address(name) else name.encode()

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> Connection:
        """Return a connection that sends the server name."""
        connection = Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        if self._name:
            connection.set_tlsext_host_name(self._name)
        return connection
