"""The reports as pages for people."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

import msgspec

from .flame import draw, focused
from .profile import Profile, flame_tree

__all__ = ["page_of_error", "page_of_index", "page_of_report"]

Report = dict[str, Any]
Nodes = Sequence[dict[str, str]]

_ABOUT = {
    "threads": "What each thread of the process does at this moment.",
    "reactor": "How late timers are called, and what waits.",
    "channels": "The channels with the most subscribers.",
    "clients": "The connections for which the most bytes wait.",
    "objects": "All objects by type, and the memory they take.",
    "profile": "Where the time goes, as a flame graph.",
}

_STYLE = (files(__package__) / "page.css").read_text()


def page_of_index(nodes: Nodes, own: str) -> str:
    """Return the page that leads to the others."""
    cards = "".join(
        f'<a href="{name}?{urlencode({"node": own})}"><b>{name.capitalize()}</b><br>'
        f"{escape(about)}</a>"
        for name, about in _ABOUT.items()
    )
    rows = [
        (f'<a href="?{urlencode({"node": each["uid"]})}">{escape(each["name"])}</a>',)
        for each in nodes
    ]
    here = next((each["name"] for each in nodes if each["uid"] == own), own)
    return _page(
        "Debug",
        "",
        own,
        f"<h1>{escape(here)}</h1><p class=soft>Each report is also JSON: add"
        f" <code>format=json</code>.</p><div class=cards>{cards}</div>"
        f"<h2>Nodes</h2><p class=soft>A report can be of any node that has"
        f" <code>debug.enabled</code>; workers are nodes, too.</p>"
        + _table(("Node",), rows),
    )


def page_of_report(name: str, report: Report, node: str, focus: str) -> str:
    """Return the page of a report.

    :param node: the id of the node that made it.
    :param focus: the function that a flame graph begins with.
    """
    body = _BODIES[name](report, node, focus)
    title = f"{name.capitalize()} of {escape(str(report.get('node', '')))}"
    about = f"<p class=soft>{escape(_ABOUT[name])}</p>"
    return _page(name.capitalize(), name, node, f"<h1>{title}</h1>{about}{body}")


def page_of_error(name: str, node: str, reason: str) -> str:
    """Return the page that says why there is no report."""
    form = _profile_form(node) if name == "profile" else ""
    return _page("Debug", name, node, f"<h1>{escape(reason)}</h1>{form}")


def _page(title: str, current: str, node: str, body: str) -> str:
    query = f"?{urlencode({'node': node})}" if node else ""
    links = "".join(
        f'<a href="{name}{query}"'
        f"{' aria-current=page' if name == current else ''}>{name.capitalize()}</a>"
        for name in _ABOUT
    )
    json_link = ""
    if current:
        asked = {"node": node, "format": "json"}
        if current == "profile":
            asked["latest"] = "1"
        json_link = f'<a class=json href="{current}?{urlencode(asked)}">JSON</a>'
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f'<style>{_STYLE}</style><header><strong><a href="./{query}">Debug</a></strong>'
        f"{links}{json_link}</header><main>{body}</main></html>"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of HTML cells; the heads of numbers begin with ``#``."""
    kinds = ["n" if head.startswith("#") else "w" for head in heads]
    top = "".join(
        f"<th class={kind}>{head.lstrip('#')}"
        for kind, head in zip(kinds, heads, strict=True)
    )
    lines = "".join(
        "<tr>" + "".join(f"<td class={k}>{c}" for k, c in zip(kinds, row, strict=True))
        for row in rows
    )
    return f"<table><thead><tr>{top}<tbody>{lines}</table>"


def _bytes(number: float) -> str:
    for unit in ("B", "KB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.2f} GB"


def _figures(*figures: tuple[str, str]) -> str:
    cards = "".join(
        f"<div class=card><span class=figure>{value}</span>"
        f"<span class=soft>{name}</span></div>"
        for name, value in figures
    )
    return f"<div class=cards>{cards}</div>"


def _bar(part: float, whole: float) -> str:
    share = 100 * part / whole if whole else 0
    return (
        '<svg class=bar viewBox="0 0 100 8" preserveAspectRatio="none">'
        f'<rect width="{share:.2f}" height="8" fill="#60a5fa"/></svg>'
    )


def _threads(report: Report, node: str, focus: str) -> str:
    parts = []
    for thread in report["threads"]:
        lines = "\n".join(
            f"{each['name']}  {each['file']}:{each['line']}" for each in thread["stack"]
        )
        top = thread["stack"][0]["name"] if thread["stack"] else ""
        parts.append(
            f"<details open><summary>{escape(thread['name'])}"
            f" <span class=soft>in {escape(top)}</span></summary>"
            f"<pre>{escape(lines)}</pre></details>"
        )
    return "".join(parts)


def _reactor(report: Report, node: str, focus: str) -> str:
    lag, gc = report["lag"], report["gc"]
    total = sum(lag["counts"])
    low = 0.0
    rows = []
    for bound, count in zip(lag["bounds"], lag["counts"], strict=True):
        span = (
            f"over {low * 1000:g} ms" if bound is None else f"up to {bound * 1000:g} ms"
        )
        rows.append((span, f"{count:,}", _bar(count, total)))
        low = bound or low
    figures = _figures(
        ("timers called", f"{total:,}"),
        ("late on average", f"{1000 * lag['sum'] / total if total else 0:.1f} ms"),
        ("resident memory", _bytes(report["resident_memory"])),
        ("open sockets and pipes", f"{report['num_readers']:,}"),
        ("waiting to be writable", f"{report['num_writers']:,}"),
        ("threads", f"{report['num_threads']:,}"),
    )
    timers = [
        (escape(each["function"]), f"{each['count']:,}") for each in report["timers"]
    ]
    generations = [
        (str(number), f"{each['collections']:,}", f"{each['collected']:,}")
        for number, each in enumerate(gc["generations"])
    ]
    return (
        f"{figures}<h2>Lag</h2><p class=soft>Two timers a second, since the start.</p>"
        + _table(("Late", "#Timers", ""), rows)
        + "<h2>Waiting timers</h2>"
        + _table(("Function", "#Timers"), timers)
        + f"<h2>Garbage collector</h2><p class=soft>{gc['frozen']:,} objects are"
        " frozen: it does not look at them.</p>"
        + _table(("Generation", "#Collections", "#Freed objects"), generations)
    )


def _channels(report: Report, node: str, focus: str) -> str:
    most = max((each["subscribers"] for each in report["channels"]), default=0)
    rows = [
        (
            escape(each["channel"]),
            each["kind"],
            f"{each['subscribers']:,}",
            _bar(each["subscribers"], most),
        )
        for each in report["channels"]
    ]
    total = _figures(("channels on this node", f"{report['total']:,}"))
    return (
        total
        + "<h2>Biggest</h2>"
        + _table(("Channel", "Kind", "#Subscribers", ""), rows)
    )


def _clients(report: Report, node: str, focus: str) -> str:
    rows = [
        (
            escape(each["client"]),
            escape(each["user"]),
            escape(each["transport"]),
            f"{each['subscriptions']:,}",
            _bytes(each["waiting_bytes"]),
            _bar(each["waiting_bytes"], report["limit"]),
        )
        for each in report["clients"]
    ]
    heads = (
        "Client",
        "User",
        "Transport",
        "#Subscriptions",
        "#Waiting",
        "of the limit",
    )
    return (
        _figures(
            ("connections of this node", f"{report['total']:,}"),
            ("wait for all of them", _bytes(report["waiting_bytes"])),
            ("may wait for one of them", _bytes(report["limit"])),
        )
        + "<h2>Slowest</h2>"
        + _table(heads, rows)
    )


def _objects(report: Report, node: str, focus: str) -> str:
    rows = [
        (
            escape(each["name"]),
            f"{each['count']:,}",
            _bytes(each["size"]),
            _bar(each["size"], report["size"]),
        )
        for each in report["types"]
    ]
    notes = [
        "Counted in slices while the server went on, from the node, the reactor and the"
        " modules; sizes are without what an object refers to."
    ]
    if not report["complete"]:
        notes.append("There are more objects than were counted.")
    if report["cut"]:
        notes.append(
            f"Of {report['cut']} very large containers only the first entries were"
            " followed."
        )
    return (
        _figures(
            ("objects", f"{report['objects']:,}"),
            ("in these", _bytes(report["size"])),
            ("resident memory", _bytes(report["resident_memory"])),
        )
        + f"<p class=soft>{' '.join(notes)}</p>"
        + _table(("Type", "#Objects", "#Memory", ""), rows)
    )


def _profile_form(node: str) -> str:
    return (
        f'<form method=get action=profile><input type=hidden name=node value="'
        f'{escape(node)}"><label>Seconds <input name=seconds type=number value=5 min=1'
        " max=60></label><button>Take a profile</button></form>"
    )


def _profile(report: Report, node: str, focus: str) -> str:
    profile = msgspec.convert(report, Profile)
    root = flame_tree(profile)
    shown, names = focused(root, focus)
    asked = urlencode({"node": node, "latest": "1"})
    link = f"profile?{asked}&focus="
    parts = focus.split(".") if focus else []
    crumbs = " / ".join(
        f'<a href="{escape(link + ".".join(parts[:depth]))}">{escape(name)}</a>'
        for depth, name in enumerate(names)
    )
    busy = 100 * root.samples / profile.samples if profile.samples else 0
    figures = _figures(
        ("seconds", f"{profile.seconds:g}"),
        ("samples, of all threads", f"{profile.samples:,}"),
        ("of them at work", f"{busy:.0f} %"),
    )
    picture = (
        draw(shown, focus, root.samples, link)
        if root.samples
        else ("<p>Every thread waited: the process has nothing to do.</p>")
    )
    return f"{_profile_form(node)}{figures}<p class=soft>{crumbs}</p>{picture}"


_BODIES: dict[str, Callable[[Report, str, str], str]] = {
    "threads": _threads,
    "reactor": _reactor,
    "channels": _channels,
    "clients": _clients,
    "objects": _objects,
    "profile": _profile,
}
