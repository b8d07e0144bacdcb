"""Commands that call one method of the HTTP API and show its result."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from .api_client import APIClient, APIError
from .outcome import FAILED, FOREIGN_ANSWER, USAGE, CommandFailed
from .server_address import api_address
from .terminal import Style, duration, printable, style_for, table

__all__ = [
    "as_json",
    "broadcast",
    "call",
    "channels",
    "compact",
    "disconnect",
    "history",
    "history_remove",
    "info",
    "position",
    "presence",
    "presence_stats",
    "publish",
    "receipts",
    "refresh",
    "subscribe_user",
    "unsubscribe",
]

Result = dict[str, Any]
Lines = Iterator[str]


def publish(options: argparse.Namespace) -> None:
    """Publish into a channel."""
    request = {"channel": options.channel, **_publication(options)}
    _run(options, "publish", request, lambda result, style: [_published(result, style)])


def broadcast(options: argparse.Namespace) -> None:
    """Publish the same into several channels."""
    request = {"channels": options.channel, **_publication(options)}

    def lines(result: Result, style: Style) -> Lines:
        for channel, response in _responses(options.channel, result):
            name = printable(channel)
            if "error" in response:
                error = response["error"]
                text = f"error {error.get('code')}: {error.get('message')}"
                yield f"{name}: {style.red(printable(text))}"
            else:
                yield f"{name}: {_published(response.get('result', {}), style)}"

    result = _run(options, "broadcast", request, lines)
    if any("error" in each for _, each in _responses(options.channel, result)):
        raise CommandFailed("not published into all channels", FAILED)


def _responses(channels: list[str], result: Result) -> Iterator[tuple[str, Result]]:
    return zip(channels, result.get("responses", []), strict=False)


def _publication(options: argparse.Namespace) -> Result:
    request: Result = _data(options)
    if options.tag:
        request["tags"] = dict(_tag(text) for text in options.tag)
    for name in ("idempotency_key", "skip_history", "delta", "version", "confirm"):
        if value := getattr(options, name):
            request[name] = value
    if options.version_epoch:
        request["version_epoch"] = options.version_epoch
    return request


def _data(options: argparse.Namespace) -> Result:
    """Return the payload of a command line, or else of standard input."""
    text = options.data
    if text is None or text == "-":
        try:
            text = sys.stdin.read()
        except UnicodeDecodeError:
            raise CommandFailed("data: must be UTF-8", USAGE) from None
    if options.base64:
        return {"b64data": text.strip()}
    if options.text:
        return {"data": text}
    return {"data": _raw(text, "; --text publishes it as text")}


def _raw(text: str, hint: str = "") -> msgspec.Raw:
    """Return JSON as it was written, so that no digit of a number is lost."""
    try:
        raw = text.strip().encode()
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        shown = text.strip()
        shown = shown if len(shown) < 60 else shown[:59] + "…"
        raise CommandFailed(f"data: {shown!r} is not JSON{hint}", USAGE) from None
    return msgspec.Raw(raw)


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise CommandFailed(f"--tag: {text!r} must be NAME=VALUE", USAGE)
    return name, value


def _published(result: Result, style: Style) -> str:
    said = style.green("published")
    if result.get("offset"):
        epoch = printable(str(result.get("epoch", "")))
        said += f" at offset {result['offset']} (epoch {epoch})"
    return said


def position(text: str) -> Result:
    """Read ``OFFSET`` or ``OFFSET:EPOCH``.

    :raises CommandFailed: it is neither.
    """
    offset, _, epoch = text.partition(":")
    if not (offset.isascii() and offset.isdigit()):
        raise CommandFailed(f"--since: {text!r} must be OFFSET or OFFSET:EPOCH", USAGE)
    return {"offset": int(offset), "epoch": epoch}


def history(options: argparse.Namespace) -> None:
    """Show what a channel keeps."""
    request = {
        "channel": options.channel,
        "limit": options.limit,
        "reverse": options.reverse,
    }
    if options.since:
        request["since"] = position(options.since)

    def lines(result: Result, style: Style) -> Lines:
        publications = result["publications"]
        if publications:
            rows = [
                (
                    str(item.get("offset", 0)),
                    " ".join(f"{k}={v}" for k, v in item.get("tags", {}).items()),
                    compact(item.get("data")),
                )
                for item in publications
            ]
            yield from table(("OFFSET", "TAGS", "DATA"), rows, style, frozenset({0}))
        epoch = printable(result["epoch"])
        count = _count(len(publications), "publication")
        yield style.faint(
            f"{count}; the stream is at offset {result['offset']} (epoch {epoch})"
        )

    _run(options, "history", request, lines)


def history_remove(options: argparse.Namespace) -> None:
    """Remove what a channel keeps."""
    _run(options, "history_remove", {"channel": options.channel}, _done("removed"))


def presence(options: argparse.Namespace) -> None:
    """Show the connections in a channel."""

    def lines(result: Result, style: Style) -> Lines:
        clients = result["presence"]
        if clients:
            rows = [
                (
                    name,
                    info.get("user", ""),
                    compact(info.get("conn_info")),
                    compact(info.get("chan_info")),
                )
                for name, info in sorted(clients.items())
            ]
            titles = ("CLIENT", "USER", "CONNECTION", "CHANNEL")
            yield from table(titles, rows, style)
        yield style.faint(_count(len(clients), "connection"))

    _run(options, "presence", {"channel": options.channel}, lines)


def presence_stats(options: argparse.Namespace) -> None:
    """Count the connections and users in a channel."""

    def lines(result: Result, style: Style) -> Lines:
        clients = _count(result["num_clients"], "connection")
        yield f"{clients}, {_count(result['num_users'], 'user')}"

    _run(options, "presence_stats", {"channel": options.channel}, lines)


def receipts(options: argparse.Namespace) -> None:
    """Show which users have received a publication."""
    request: Result = {
        "channel": options.channel,
        "offset": options.offset,
        "limit": options.limit,
    }
    if options.epoch:
        request["epoch"] = options.epoch
    if options.user:
        request["users"] = options.user
    if options.cursor:
        request["cursor"] = options.cursor

    def lines(result: Result, style: Style) -> Lines:
        users = result.get("users", [])
        if users:
            rows = [
                (each["user"], each["state"], str(each.get("offset", 0)))
                for each in users
            ]
            yield from table(("USER", "STATE", "OFFSET"), rows, style, frozenset({2}))
        counts = result["counts"]
        parts = (f"{counts[state]} {state}" for state in RECEIPT_STATES)
        yield style.faint(", ".join(parts))
        if result.get("cursor"):
            yield style.faint(f"more: --cursor {printable(result['cursor'])}")

    _run(options, "receipts", request, lines)


#: The states of receipts in the order in which they are shown.
RECEIPT_STATES = ("received", "pending", "away", "unknown", "missed")


def channels(options: argparse.Namespace) -> None:
    """List the channels with subscribers, the fullest first."""

    def lines(result: Result, style: Style) -> Lines:
        found = result["channels"]
        counts = sorted(
            ((item.get("num_clients", 0), name) for name, item in found.items()),
            key=lambda each: (-each[0], each[1]),
        )
        if counts:
            rows = [(str(clients), name) for clients, name in counts]
            yield from table(("CLIENTS", "CHANNEL"), rows, style, frozenset({0}))
        yield style.faint(_count(len(counts), "channel"))

    request = {"pattern": options.pattern} if options.pattern else {}
    _run(options, "channels", request, lines)


def info(options: argparse.Namespace) -> None:
    """Show the nodes of the cluster."""

    def lines(result: Result, style: Style) -> Lines:
        nodes = result.get("nodes", [])
        rows = [
            (
                *(node["name"], node["version"], duration(node.get("uptime", 0))),
                *(str(node[f"num_{name}"]) for name in COUNTS),
            )
            for node in sorted(nodes, key=lambda node: (node["name"], node["uid"]))
        ]
        if len(rows) > 1:
            sums = (str(sum(node[f"num_{name}"] for node in nodes)) for name in COUNTS)
            rows.append(("total", "", "", *sums))
        titles = ("NODE", "VERSION", "UPTIME", "CLIENTS", "USERS", "SUBS", "CHANNELS")
        yield from table(titles, rows, style, frozenset(range(2, 7)))

    _run(options, "info", {}, lines)


#: What a node counts; the sum of users and channels counts those on two nodes twice.
COUNTS = ("clients", "users", "subs", "channels")


def disconnect(options: argparse.Namespace) -> None:
    """Close the connections of a user."""
    request = {"user": options.user, **_which(options)}
    if options.whitelist:
        request["whitelist"] = options.whitelist
    if options.code is not None or options.reason:
        code = 3503 if options.code is None else options.code
        reason = options.reason or "force disconnect"
        request["disconnect"] = {"code": code, "reason": reason}
    _run(options, "disconnect", request, _done("sent to all nodes"))


def unsubscribe(options: argparse.Namespace) -> None:
    """End the subscriptions of a user."""
    request = {"channel": options.channel, "user": options.user, **_which(options)}
    _run(options, "unsubscribe", request, _done("sent to all nodes"))


def subscribe_user(options: argparse.Namespace) -> None:
    """Subscribe the connections of a user to a channel."""
    request = {"channel": options.channel, "user": options.user, **_which(options)}
    if options.expire_at:
        request["expire_at"] = options.expire_at
    if options.since:
        request["recover_since"] = position(options.since)
    for name in ("info", "data"):
        if getattr(options, name) is not None:
            request[name] = _raw(getattr(options, name))
    _run(options, "subscribe", request, _done("sent to all nodes"))


def refresh(options: argparse.Namespace) -> None:
    """Extend or end the connections of a user."""
    request = {"user": options.user, **_which(options)}
    if options.expired:
        request["expired"] = True
    if options.expire_at:
        request["expire_at"] = options.expire_at
    _run(options, "refresh", request, _done("sent to all nodes"))


def call(options: argparse.Namespace) -> None:
    """Call any method and print its result as JSON."""
    options.json = True
    request = _raw(options.request)
    _run(options, options.method, request, lambda result, style: [])


def _which(options: argparse.Namespace) -> Result:
    """Return what narrows a command to one connection."""
    return {
        name: getattr(options, name)
        for name in ("client", "session")
        if getattr(options, name)
    }


def _done(said: str) -> Callable[[Result, Style], list[str]]:
    return lambda result, style: [style.green(said)]


def _run(
    options: argparse.Namespace,
    method: str,
    request: object,
    lines: Callable[[Result, Style], "Lines | list[str]"],
) -> Result:
    """Call a method, print its result, and return it."""
    client = APIClient(api_address(options), options.timeout)
    try:
        result = client.call(method, request)
    except APIError as error:
        if options.json:
            failed = {"code": error.number, "message": error.message}
            print(as_json({"error": failed}))
        raise
    finally:
        client.close()
    if options.json:
        print(as_json(result))
        return result
    try:
        print("\n".join(lines(result, style_for())))
    except (KeyError, TypeError, AttributeError):
        raise CommandFailed(
            f"{method}: the result has another form than this version's", FOREIGN_ANSWER
        ) from None
    return result


def as_json(value: object) -> str:
    """Return one line of JSON that no terminal takes for a command."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def compact(value: object) -> str:
    """Return a payload as short JSON; nothing for None."""
    if value is None:
        return ""
    return printable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
