"""TLS of the client libraries that run on an asyncio loop."""

import ssl
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..options import TLSOptions

__all__ = ["ssl_context"]


class _Context(ssl.SSLContext):
    """Expects ``server_name`` in certificates, or without it the host's name."""

    server_name: str = ""

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection."""
        if self.server_name:
            options["server_hostname"] = self.server_name
        return super().wrap_bio(*arguments, **options)


def ssl_context(tls: TLSOptions) -> ssl.SSLContext:
    """Return what encrypts connections as *tls* says.

    :raises OSError: a certificate or a key is malformed.
    """
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = tls.server_name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.server_ca_pem:
        context.load_verify_locations(cadata=tls.server_ca_pem)
    else:
        context.load_default_certs()
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_pem:
        with TemporaryDirectory(prefix="centrifugo-tls-") as folder:
            own = Path(folder, "own.pem")
            own.touch(0o600)
            own.write_text(f"{tls.cert_pem}\n{tls.key_pem}")
            context.load_cert_chain(own)
    return context
