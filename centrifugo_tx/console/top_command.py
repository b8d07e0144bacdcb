"""A live table of the nodes and the fullest channels."""

import argparse
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, field, frozen

from .api_client import APIClient
from .api_commands import COUNTS, as_json
from .outcome import FOREIGN_ANSWER, CommandFailed
from .server_address import api_address
from .terminal import Style, duration, style_for, table

__all__ = ["Sample", "Screen", "rate", "top"]

#: Metrics of a node whose growth is shown for each second.
_SENT = "centrifugo.node.messages_sent_count.type.publication"
_RECEIVED = "centrifugo.node.messages_received_count.type.publication"


@frozen
class Sample:
    """What the server said at one time."""

    time: float
    nodes: list[dict[str, Any]]
    #: Subscribers by channel; None when they were not asked for.
    channels: dict[str, int] | None


def top(options: argparse.Namespace) -> None:
    """Show nodes and channels until interrupted."""
    client = APIClient(api_address(options), options.timeout)
    style = style_for()
    try:
        before = None
        if options.once:
            sample = _sample(client, options)
            _print(options, sample, before, style)
            return
        with _screen(not options.json) as screen:
            while True:
                before = _turn(client, options, before, style, screen)
                if screen.wait(options.interval):
                    return
    except KeyboardInterrupt:
        return
    finally:
        client.close()


def _turn(
    client: APIClient,
    options: argparse.Namespace,
    before: Sample | None,
    style: Style,
    screen: "Screen",
) -> Sample | None:
    """Show the state now, or why there is none; the first failure ends the command."""
    try:
        sample = _sample(client, options)
    except CommandFailed as error:
        if before is None or options.json:
            raise
        lines = lines_of(before, None, style, screen.height())
        screen.show([style.red(str(error)), *lines])
        return before
    if options.json:
        _print(options, sample, before, style)
    else:
        lines = lines_of(sample, before, style, screen.height())
        screen.show([_title(client, sample, style), *lines])
    return sample


def _title(client: APIClient, sample: Sample, style: Style) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(sample.time))
    return style.faint(f"{client.address.server}  {clock}  q: quit")


def _sample(client: APIClient, options: argparse.Namespace) -> Sample:
    nodes = client.call("info", {}).get("nodes", [])
    channels = None
    if not options.no_channels:
        request = {"pattern": options.pattern} if options.pattern else {}
        found = client.call("channels", request).get("channels", {})
        channels = {name: item.get("num_clients", 0) for name, item in found.items()}
    return Sample(time.time(), nodes, channels)


def _print(
    options: argparse.Namespace, sample: Sample, before: Sample | None, style: Style
) -> None:
    if options.json:
        shown = {"time": sample.time, "nodes": sample.nodes}
        if sample.channels is not None:
            shown["channels"] = dict(_fullest(sample.channels, options.limit))
        print(as_json(shown), flush=True)
        return
    height = options.limit + len(sample.nodes) + 5
    print("\n".join(lines_of(sample, before, style, height)), flush=True)


def lines_of(
    sample: Sample, before: Sample | None, style: Style, height: int
) -> list[str]:
    """Return the tables, in at most *height* lines."""
    try:
        lines = _node_lines(sample, before, style)
        if sample.channels is not None:
            room = max(1, height - len(lines) - 4)
            lines += ["", *_channel_lines(sample, before, style, room)]
    except (KeyError, TypeError, AttributeError):
        raise CommandFailed(
            "info: the result has another form than this version's", FOREIGN_ANSWER
        ) from None
    return lines


def _node_lines(sample: Sample, before: Sample | None, style: Style) -> list[str]:
    known = {node["uid"]: node for node in before.nodes} if before else {}
    seconds = sample.time - before.time if before else 0.0
    # Only nodes that send their metrics tell how much they publish.
    shown = 3 if any(node.get("metrics") for node in sample.nodes) else 1
    rows = []
    for node in sorted(sample.nodes, key=lambda node: (node["name"], node["uid"])):
        old = known.get(node["uid"])
        change = ""
        if old is not None and seconds > 0:
            change = f"{(node['num_clients'] - old['num_clients']) / seconds:+.1f}"
        rates = (change, rate(node, _SENT), rate(node, _RECEIVED))[:shown]
        rows.append(
            (
                *(node["name"], node["version"], duration(node.get("uptime", 0))),
                *(str(node[f"num_{name}"]) for name in COUNTS),
                *rates,
            )
        )
    counts = [name.upper() for name in COUNTS]
    names = ("CLIENTS/s", "SENT/s", "RECV/s")[:shown]
    titles = ("NODE", "VERSION", "UPTIME", *counts, *names)
    return table(titles, rows, style, frozenset(range(2, 10)))


def rate(node: dict[str, Any], name: str) -> str:
    """Return how much a metric grows in a second, a dash if the node does not say.

    Items hold the growth during the interval.
    """
    metrics = node.get("metrics") or {}
    items, interval = metrics.get("items", {}), metrics.get("interval", 0)
    if name not in items or not interval:
        return "-"
    return f"{items[name] / interval:.1f}"


def _channel_lines(
    sample: Sample, before: Sample | None, style: Style, room: int
) -> list[str]:
    channels = sample.channels or {}
    old = before.channels if before else None
    rows = []
    for name, clients in _fullest(channels, room):
        change = clients - old.get(name, 0) if old is not None else 0
        rows.append((str(clients), f"{change:+d}" if change else "", name))
    lines = table(("CLIENTS", "CHANGE", "CHANNEL"), rows, style, frozenset({0, 1}))
    shown = "1 channel" if len(channels) == 1 else f"{len(channels)} channels"
    if len(channels) > len(rows):
        shown += f", the fullest {len(rows)} are shown"
    return [*lines, style.faint(shown)]


def _fullest(channels: dict[str, int], count: int) -> list[tuple[str, int]]:
    ordered = sorted(channels.items(), key=lambda item: (-item[1], item[0]))
    return ordered[:count]


@define(eq=False)
class Screen:
    """Where tables are shown: a terminal, or a stream to which they are appended."""

    write: Callable[[str], object]
    is_terminal: bool = False
    #: Waits for that many seconds, or until the person wants to quit.
    wait: Callable[[float], bool] = field(default=lambda seconds: _sleep(seconds))

    def height(self) -> int:
        """Return how many lines there are for tables, below the title."""
        return shutil.get_terminal_size().lines - 1 if self.is_terminal else 30

    def show(self, lines: list[str]) -> None:
        """Replace what is shown, without flicker; or append it."""
        if not self.is_terminal:
            self.write("\n".join(lines) + "\n\n")
            return
        size = shutil.get_terminal_size()
        shown = [_cut(line, size.columns) for line in lines[: size.lines]]
        self.write("\x1b[H" + "\x1b[K\r\n".join(shown) + "\x1b[K\x1b[J")


def _cut(line: str, width: int) -> str:
    """Return a line of at most *width* characters, escape sequences not counted."""
    plain, index = 0, 0
    while index < len(line) and plain < width:
        if line[index] == "\x1b":
            index = line.index("m", index)
        else:
            plain += 1
        index += 1
    return line if index >= len(line) else line[:index] + "\x1b[0m"


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


@contextmanager
def _screen(wanted: bool) -> Iterator[Screen]:
    """Give the other screen of a terminal, and leave it as it was."""

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    dumb = os.environ.get("TERM", "dumb") == "dumb"
    if not (wanted and sys.stdout.isatty()) or dumb:
        yield Screen(write)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    write("\x1b[?1049h\x1b[?25l\x1b[2J")
    try:
        if sys.stdin.isatty():
            with _keys() as wait:
                yield Screen(write, True, wait)
        else:
            yield Screen(write, True)
    finally:
        write("\x1b[?25h\x1b[?1049l")


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Give what waits for time to pass, or for the key that quits."""
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    tty.setcbreak(number)

    def wait(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([number], [], [], left)[0]:
                return False
            pressed = os.read(number, 64)
            if not pressed or b"q" in pressed:
                return True
        return False

    try:
        yield wait
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
