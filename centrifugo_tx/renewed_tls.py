"""TLS of outgoing connections whose certificates change while the server runs.

Connections are opened deep inside engines, proxies and client libraries, which know the
`TLSOptions` of the start.  They ask here for those of today each time they connect, so
open connections stay as they are.
"""

from collections.abc import Iterable

from .options import TLSOptions

__all__ = ["current_tls", "renew_tls"]

#: The options of today, by those of the start, in this process.
_RENEWED: dict[TLSOptions, TLSOptions] = {}


def current_tls(options: TLSOptions) -> TLSOptions:
    """Return the renewed form of *options*, as the server started with them."""
    return _RENEWED.get(options, options)


def renew_tls(pairs: Iterable[tuple[TLSOptions, TLSOptions]]) -> set[TLSOptions]:
    """Use new options, the second of each pair, for new connections.

    :return: the options of the start that keep their meaning, because two sections that
        shared them differ now.
    """
    found: dict[TLSOptions, TLSOptions] = {}
    disputed: set[TLSOptions] = set()
    for start, new in pairs:
        if found.setdefault(start, new) != new:
            disputed.add(start)
    for start, new in found.items():
        if start not in disputed:
            _RENEWED[start] = new
    return disputed
