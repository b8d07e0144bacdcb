"""The sections of TLS in a configuration, and the rules of outgoing connections."""

from collections.abc import Iterator

from msgspec import Struct

from ..client_tls import client_tls_creator
from ..errors import ConfigError
from ..options import TLSOptions
from .findings import Finding
from .model import Config
from .schema import options_of

__all__ = ["check_outgoing_tls", "outgoing_tls", "tls_sections"]

_PORTS = ("http_server.", "grpc_api.", "uni_grpc.")


def tls_sections(section: Struct, path: str = "") -> Iterator[tuple[str, TLSOptions]]:
    """Yield all sections of TLS with their paths, but those in what is switched off."""
    if isinstance(section, TLSOptions):
        yield path, section
        return
    if not getattr(section, "enabled", True):
        return
    for option in options_of(type(section)):
        value, here = getattr(section, option.name), f"{path}.{option.name}".lstrip(".")
        if option.kind == "section":
            yield from tls_sections(value, here)
        elif option.kind == "sections":
            for index, item in enumerate(value):
                yield from tls_sections(item, f"{here}.[{index}]")


def outgoing_tls(config: Config) -> dict[str, TLSOptions]:
    """Return the TLS of connections in which the server is the client, by path."""
    return {
        path: tls for path, tls in tls_sections(config) if not path.startswith(_PORTS)
    }


def check_outgoing_tls(config: Config) -> Iterator[Finding]:
    """Yield certificates, keys and authorities that no connection could use."""
    for path, tls in outgoing_tls(config).items():
        # Rules of their own look at proxies, and at the pairs of consumers.
        if not tls.enabled or path.endswith((".http.tls", ".grpc.tls")):
            continue
        if bool(tls.cert_pem) != bool(tls.key_pem):
            if not path.startswith("consumers."):
                yield path, "needs both cert_pem and key_pem, or neither"
            continue
        try:
            client_tls_creator(tls, "localhost")
        except ConfigError as error:
            yield path, str(error).removeprefix("tls: ")
