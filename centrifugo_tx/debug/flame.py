"""Flame graphs, drawn as SVG."""

from collections.abc import Iterator
from html import escape
from urllib.parse import quote
from zlib import crc32

from .profile import FlameNode

__all__ = ["draw", "focused"]

#: The size of the picture and of one function, in pixels.
WIDTH, HEIGHT = 1200, 18
#: Functions that are narrower are left out.
NARROWEST = 1.5
#: The width of a character, roughly.
CHARACTER = 6.6


def focused(root: FlameNode, path: str) -> tuple[FlameNode, list[str]]:
    """Return the function at *path* below *root*, and the names on the way there.

    :param path: indexes of calls, by falling number of samples: ``0.2.1``.
    """
    node, names = root, [root.name]
    for part in filter(None, path.split(".")):
        calls = _sorted(node)
        if not part.isascii() or not part.isdigit() or int(part) >= len(calls):
            break
        node = calls[int(part)]
        names.append(node.name)
    return node, names


def draw(node: FlameNode, path: str, total: int, link: str) -> str:
    """Return the picture of *node* and all it has called.

    :param path: where *node* is, as `focused` takes it.
    :param total: the samples of the whole profile, for shares.
    :param link: the address of a picture, to which a path can be appended.
    """
    rows = _depth(node)
    boxes = "".join(
        _boxes(node, path, 0.0, 0, WIDTH / max(1, node.samples), total, link)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {rows * HEIGHT}" role="img"'
        f' aria-label="Flame graph">{boxes}</svg>'
    )


def _sorted(node: FlameNode) -> list[FlameNode]:
    return sorted(node.calls.values(), key=lambda each: (-each.samples, each.name))


def _depth(node: FlameNode) -> int:
    deepest, level = 0, [node]
    while level:
        deepest += 1
        level = [call for each in level for call in each.calls.values()]
    return deepest


def _boxes(
    node: FlameNode,
    path: str,
    left: float,
    row: int,
    scale: float,
    total: int,
    link: str,
) -> Iterator[str]:
    width = node.samples * scale
    if width < NARROWEST:
        return
    share = 100 * node.samples / max(1, total)
    name, top = escape(node.name), row * HEIGHT
    letters = int((width - 6) / CHARACTER)
    short = node.name.rpartition(".")[2] if letters < len(node.name) else node.name
    shown = short if len(short) <= letters else short[: max(0, letters - 1)] + "…"
    label = escape(shown) if letters > 2 else ""
    hue = crc32(node.name.rpartition(".")[0].encode()) % 55
    yield (
        f'<a href="{escape(link + quote(path))}"><title>{name}: {share:.1f} %'
        f" ({node.samples} samples)</title>"
        f'<rect x="{left:.1f}" y="{top}" width="{max(1.0, width - 0.5):.1f}"'
        f' height="{HEIGHT - 1}" rx="2" fill="hsl({hue} 85% 62%)"/>'
        f'<text x="{left + 3:.1f}" y="{top + 13}">{label}</text></a>'
    )
    for index, call in enumerate(_sorted(node)):
        below = f"{path}.{index}" if path else str(index)
        yield from _boxes(call, below, left, row + 1, scale, total, link)
        left += call.samples * scale
