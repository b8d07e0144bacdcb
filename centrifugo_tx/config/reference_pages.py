"""Writes the options into the pages of the documentation, a group of options a page.

The top of each page, with its example, is written by hand.  Everything below the line
``MARK`` is generated.
"""

import string
from collections.abc import Iterator, Mapping
from pathlib import Path

from .reference import Block, Entry, Heading, Reference, Text

__all__ = ["MARK", "PAGES", "generated", "update"]

MARK = '.. Everything below is written by "centrifugo-tx configdoc --update".\n'

#: The sections of the configuration and the shared objects on each page.
PAGES: Mapping[str, tuple[str, ...]] = {
    "client": ("client", "Token object"),
    "channels": (
        *("channel", "Namespace object", "Map object"),
        *("shared_poll", "SharedPoll object"),
    ),
    "server-api": ("http_api", "swagger"),
    "grpc": ("grpc_api", "uni_grpc"),
    "transports": ("websocket", "sse", "http_stream", "webtransport", "emulation"),
    "unidirectional": (
        *("uni_websocket", "uni_sse", "uni_http_stream"),
        "CodeToResponseTransforms object",
    ),
    "engine": (
        *("engine", "broker", "presence_manager", "map_broker", "controller"),
        *("RedisConnection object", "Redis object", "BrokerRedis object"),
        *("PresenceRedis object", "ReplicaClient object", "Nats object"),
        *("Postgres object", "Outbox object"),
    ),
    "proxies": (
        *("proxies", "rpc", "RPC object", "Proxy object", "EnabledProxy object"),
        *("HTTPProxy object", "GRPCProxy object"),
    ),
    "consumers": ("consumers", "HeaderDataMode object", "AttributeDataMode object"),
    "http-server": ("http_server",),
    "tls": ("TLS object",),
    "admin": ("admin", "debug"),
    "log": ("log",),
    "metrics": ("prometheus", "health", "graphite", "opentelemetry", "usage_stats"),
    "process": (
        *("node", "workers", "overload", "shutdown", "pid_file", "init"),
        "enable_unreleased_features",
    ),
}
#: The page that lists all options by name.
KEYS = "keys"
#: The number of paths up to which a page names all uses of an object.
MANY_USES = 16


def update(folder: Path) -> list[Path]:
    """Rewrite the generated part of all pages in *folder*; return those that changed.

    :raises OSError: a page cannot be read or written.
    :raises ValueError: a page does not contain ``MARK``.
    """
    changed = []
    for name, text in generated().items():
        path = folder / f"{name}.rst"
        old = path.read_text()
        top, mark, _ = old.partition(MARK)
        if not mark:
            raise ValueError(f"{path} has no line {MARK.strip()}")
        if (new := top + mark + text) != old:
            path.write_text(new)
            changed.append(path)
    return changed


def generated() -> dict[str, str]:
    """Return the generated part of each page, by the name of the page."""
    reference = Reference()
    sections = dict(_sections(reference.blocks("")))
    pages = {}
    for page, titles in PAGES.items():
        lines: list[str] = []
        for title in titles:
            lines += _section(title, sections[title], reference.uses.get(title, []))
        pages[page] = "\n" + "\n".join(lines).rstrip() + "\n"
    names = [
        _name(title, block)
        for title, blocks in sections.items()
        for block in blocks
        if isinstance(block, Entry)
    ]
    pages[KEYS] = "\n" + "\n".join(_index(names)).rstrip() + "\n"
    return pages


def _sections(blocks: Iterator[Block]) -> Iterator[tuple[str, list[Block]]]:
    """Yield the blocks below each heading."""
    title = ""
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, Heading):
            if title:
                yield title, found
            title, found = block.text, []
        else:
            found.append(block)
    yield title, found


def _section(title: str, blocks: list[Block], uses: list[str]) -> Iterator[str]:
    yield from (f".. _{_label(title)}:", "", title, "-" * len(title), "")
    places = sorted({place.replace(".*", "[]") for place in uses})
    if 0 < len(places) <= MANY_USES:
        yield from ("Used at " + ", ".join(f"``{each}``" for each in places) + ".", "")
    for block in blocks:
        if isinstance(block, Text):
            yield from (block.text, "")
        elif isinstance(block, Entry):
            yield from (f".. confval:: {_name(title, block)}", "")
            see = f" See :ref:`{_label(block.see)}`." if block.see else ""
            for line in f"{block.meaning}\n{block.facts}{see}".strip().split("\n"):
                yield f"   {line}"
            yield ""


def _index(names: list[str]) -> Iterator[str]:
    """Yield the list of all names, with a heading for each letter."""
    for letter in string.ascii_uppercase:
        found = sorted((n for n in names if n[0].upper() == letter), key=str.lower)
        if found:
            yield from (letter, "-", "", ".. hlist::", "   :columns: 2", "")
            yield from (f"   * :confval:`{name}`" for name in found)
            yield ""


def _name(title: str, entry: Entry) -> str:
    """Return the path of an option; below a shared object it begins with its name."""
    owner, is_object, _ = title.partition(" object")
    return f"{owner}.{entry.path}" if is_object else entry.path


def _label(title: str) -> str:
    return f"options-{title.removesuffix(' object').replace('_', '-').lower()}" + (
        "-object" if title.endswith(" object") else ""
    )
