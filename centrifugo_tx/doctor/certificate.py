"""The certificate of the public URL: trusted, complete, for the host, not expiring."""

import socket
import ssl
import time

from .findings import Finding, ok, problem, warning
from .site import Site

__all__ = ["check_certificate"]

_CHECK = "certificate"
#: Days before the expiry from which the server warns, too.
SOON = 14
_REMEDIES = {
    10: "renew it; a renewed file is used without a restart",
    18: "get a certificate that an authority has signed, or name it with --ca",
    19: "name the authority with --ca, or get a certificate that clients trust",
    20: "let cert_pem hold the intermediate certificates, too (fullchain.pem);"
    " for an authority of your own use --ca",
    21: "let cert_pem hold the intermediate certificates, too (fullchain.pem)",
    62: "get a certificate whose names include the host",
    64: "get a certificate whose names include the address",
}


def check_certificate(site: Site) -> list[Finding]:
    """Perform a client's handshake; empty without TLS, or without a connection.

    Other connection errors are left to the next check.
    """
    if site.tls is None:
        return []
    try:
        with (
            socket.create_connection((site.host, site.port), site.timeout) as plain,
            site.tls.wrap_socket(plain, server_hostname=site.host) as encrypted,
        ):
            certificate = encrypted.getpeercert()
            version = encrypted.version()
    except ssl.SSLCertVerificationError as error:
        remedy = _REMEDIES.get(error.verify_code, "replace the certificate")
        said = f"{site.host}: {error.verify_message.rstrip('.')}"
        return [problem(_CHECK, said, remedy)]
    except OSError:
        return []
    expiry = str((certificate or {}).get("notAfter", ""))
    days = (ssl.cert_time_to_seconds(expiry) - time.time()) / 86400
    said = f"{site.host}: trusted, {version}, expires in {days:.0f} days"
    if days < SOON:
        return [warning(_CHECK, said, _REMEDIES[10])]
    return [ok(_CHECK, said)]
