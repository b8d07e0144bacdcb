"""TLS of the client libraries that run on an asyncio loop."""

import ssl
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..options import TLSOptions
from ..renewed_tls import current_tls

__all__ = ["ssl_context"]


class _Context(ssl.SSLContext):
    """Expects ``server_name`` in certificates, or without it the host's name."""

    server_name: str = ""

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection."""
        if self.server_name:
            options["server_hostname"] = self.server_name
        return super().wrap_bio(*arguments, **options)


class _Renewable(_Context):
    """Begins connections by the options of today (`renewed_tls`).

    The client libraries keep one context for all of their connections.
    """

    start: TLSOptions
    used: TLSOptions
    today: ssl.SSLContext | None = None

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection."""
        options_of_today = current_tls(self.start)
        if options_of_today != self.used:
            self.used = options_of_today
            self.today = _filled(_Context(ssl.PROTOCOL_TLS_CLIENT), options_of_today)
        if self.today is not None:
            return self.today.wrap_bio(*arguments, **options)
        return super().wrap_bio(*arguments, **options)


def ssl_context(tls: TLSOptions) -> ssl.SSLContext:
    """Return the TLS context for *tls*.

    :raises OSError: a certificate or a key is malformed.
    """
    context = _Renewable(ssl.PROTOCOL_TLS_CLIENT)
    context.start = context.used = tls
    return _filled(context, tls)


def _filled(context: _Context, tls: TLSOptions) -> ssl.SSLContext:
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
