"""The command line of the commands that talk to a running server."""

import argparse
from typing import Any

__all__ = [
    "ADDRESS",
    "CA",
    "CONFIG",
    "KEY",
    "TOKEN",
    "add_api_commands",
    "add_doctor",
    "add_live_commands",
]

#: The environment variables that stand in for flags.
ADDRESS, KEY, CA, TOKEN = (
    f"CENTRIFUGO_TX_{name}" for name in ("ADDRESS", "KEY", "CA", "TOKEN")
)
#: The configuration file that is read when it exists.
CONFIG = "config.json"

_MODULE = "api_commands"

_EXIT_CODES = """\
exit codes:
  0  done
  1  the server answered an error
  2  the command line or the configuration is wrong; nothing was sent
  3  no connection: refused, timed out, unknown host, TLS
  4  the server did not accept the key or the token
  5  what answered is no API of this kind
"""

_DOCTOR_EXIT_CODES = """\
exit codes:
  0  nothing is wrong, or only warnings without --strict
  1  there are warnings, with --strict
  2  there are problems, or the command line is wrong
"""


def add_api_commands(commands: Any) -> None:
    """Add the commands that call one method of the API."""
    command = _add(commands, "publish", "Publish into a channel")
    _add_channel(command)
    command.add_argument(
        "data",
        nargs="?",
        metavar="JSON",
        help="payload; standard input without it, or with -",
    )
    _add_publication(command)
    command = _add(commands, "broadcast", "Publish the same into several channels")
    command.add_argument("channel", nargs="+", metavar="CHANNEL", help="channel")
    command.add_argument(
        "-d",
        "--data",
        metavar="JSON",
        help="payload; standard input without it, or with -",
    )
    _add_publication(command)
    command = _add(commands, "history", "Show what a channel keeps")
    _add_channel(command)
    command.add_argument(
        "-n",
        "--limit",
        type=int,
        default=10,
        metavar="COUNT",
        help="publications at most; 0: the position only; -1: all"
        " (default: %(default)s)",
    )
    _add_since(command, "show what follows this position")
    command.add_argument(
        "-r", "--reverse", action="store_true", help="the newest first"
    )
    _add_channel(_add(commands, "history-remove", "Remove what a channel keeps"))
    _add_channel(_add(commands, "presence", "Show the connections in a channel"))
    _add_channel(
        _add(commands, "presence-stats", "Count connections and users in a channel")
    )
    command = _add(commands, "channels", "List the channels with subscribers")
    command.add_argument(
        "pattern", nargs="?", default="", help="which, such as 'news:*' (default: all)"
    )
    _add(commands, "info", "Show the nodes of the cluster")
    _add_user_commands(commands)
    command = _add(commands, "call", "Call any method of the API with JSON")
    command.add_argument("method", metavar="METHOD", help="such as map_publish")
    command.add_argument(
        "request", nargs="?", default="{}", metavar="JSON", help="request (default: {})"
    )


def _add_user_commands(commands: Any) -> None:
    command = _add(commands, "disconnect", "Close the connections of a user")
    _add_user(command)
    _add_which(command)
    command.add_argument(
        "--whitelist",
        action="append",
        metavar="ID",
        help="client to leave alone; may be repeated",
    )
    command.add_argument(
        "--code",
        type=int,
        metavar="NUMBER",
        help="code of the disconnect; 3500 to 3999 and 4500 to 4999 tell clients not"
        " to come back (default: 3503)",
    )
    command.add_argument(
        "--reason", default="", metavar="TEXT", help="reason of the disconnect"
    )
    command = _add(commands, "unsubscribe", "End the subscriptions of a user")
    _add_user(command)
    _add_channel(command)
    _add_which(command)
    command = _add(commands, "subscribe-user", "Subscribe a user's connections")
    _add_user(command)
    _add_channel(command)
    _add_which(command)
    _add_expiry(command)
    _add_since(command, "recover from this position")
    command.add_argument(
        "--info", metavar="JSON", help="information for presence, join and leave"
    )
    command.add_argument(
        "--data", metavar="JSON", help="data sent along with the subscription"
    )
    command = _add(commands, "refresh", "Extend or end a user's connections")
    _add_user(command)
    _add_which(command)
    _add_expiry(command)
    command.add_argument(
        "--expired", action="store_true", help="close them as expired (code 3005)"
    )


def add_live_commands(commands: Any) -> None:
    """Add the commands that go on until they are interrupted."""
    command = _add(
        commands,
        "subscribe",
        "Print the publications of a channel until interrupted",
        "subscribe_command",
        "token",
    )
    _add_channel(command)
    command.add_argument(
        "-u",
        "--user",
        default="",
        metavar="ID",
        help="user of the tokens that the key in the configuration signs"
        " (default: the anonymous user)",
    )
    command.add_argument(
        "-n",
        "--count",
        type=_positive,
        default=0,
        metavar="NUMBER",
        help="end after that many publications",
    )
    _add_since(command, "begin with what follows this position")
    command.add_argument(
        "--join-leave", action="store_true", help="print who joins and leaves, too"
    )
    command = _add(
        commands, "top", "Show nodes and channels until interrupted", "top_command"
    )
    command.add_argument(
        "--pattern",
        default="",
        metavar="PATTERN",
        help="which channels, such as 'news:*' (default: all)",
    )
    command.add_argument(
        "--no-channels",
        action="store_true",
        help="show nodes only; listing channels is work for a server with very many",
    )
    command.add_argument(
        "-i",
        "--interval",
        type=_seconds,
        default=2.0,
        metavar="SECONDS",
        help="time between refreshes (default: 2)",
    )
    command.add_argument(
        "--once", action="store_true", help="show the tables once and end"
    )
    command.add_argument(
        "-n",
        "--limit",
        type=_positive,
        default=20,
        metavar="COUNT",
        help="channels at most, with --once or --json (default: %(default)s)",
    )


def add_doctor(commands: Any) -> None:
    """Add the command that examines a server."""
    help_ = "Examine the machine, Redis and the running server, and name remedies"
    command = commands.add_parser(
        "doctor",
        help=help_,
        description=f"{help_}.",
        epilog=_DOCTOR_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(command="doctor_command:doctor")
    command.add_argument(
        "-c",
        "--config",
        default=CONFIG,
        metavar="FILE",
        help="configuration file of the server (default: %(default)s)",
    )
    command.add_argument(
        "-u",
        "--url",
        default="",
        help="public URL of the server, such as https://example.com; with a path, if"
        " the proxy in front adds one (default: the address of the configuration)",
    )
    command.add_argument(
        "-t",
        "--token",
        help="connection token (default: one made with the key in the configuration;"
        f" environment: {TOKEN})",
    )
    command.add_argument(
        "--origin",
        default="",
        metavar="ORIGIN",
        help="origin of a page that may connect (default: one of"
        " client.allowed_origins)",
    )
    command.add_argument(
        "--ca",
        metavar="FILE",
        help=f"authorities to trust, in PEM (default: the system's; environment: {CA})",
    )
    command.add_argument(
        "--slow",
        action="store_true",
        help="also wait for the first ping on an idle connection",
    )
    command.add_argument(
        "--strict", action="store_true", help="make the exit code 1 for warnings"
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument(
        "--timeout",
        type=_seconds,
        default=5.0,
        metavar="SECONDS",
        help="how long to wait for each answer (default: 5)",
    )


def _add(
    commands: Any, name: str, help_: str, module: str = _MODULE, secret: str = "key"
) -> Any:
    command = commands.add_parser(
        name,
        help=help_,
        description=f"{help_}.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(command=f"{module}:{name.replace('-', '_')}")
    command.add_argument("--json", action="store_true", help="print JSON")
    server = command.add_argument_group(
        "server",
        "Flags go before environment variables, these before the configuration file.",
    )
    server.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        help="configuration file of the server; it says where the server is, and the"
        f" key (default: {CONFIG}, if it exists)",
    )
    server.add_argument(
        "-a",
        "--address",
        metavar="ADDRESS",
        help="HOST, HOST:PORT or a URL such as https://example.com/api"
        f" (environment: {ADDRESS})",
    )
    _add_secret(server, secret)
    server.add_argument(
        "--ca",
        metavar="FILE",
        help=f"authorities to trust, in PEM (default: the system's; environment: {CA})",
    )
    server.add_argument(
        "--tls-name",
        default="",
        metavar="HOST",
        help="name that the certificate must have (default: the host)",
    )
    server.add_argument(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for the server (default: 10)",
    )
    return command


def _add_secret(server: Any, secret: str) -> None:
    if secret == "key":
        server.add_argument(
            "-k",
            "--key",
            help=f"API key; others on this machine see it, unlike {KEY} (environment)",
        )
        return
    server.add_argument(
        "-t",
        "--token",
        help="connection token (default: one made with the key in the configuration;"
        f" environment: {TOKEN})",
    )
    server.add_argument(
        "--subscription-token",
        default="",
        metavar="TOKEN",
        help="subscription token that goes with --token",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 86400:
        raise argparse.ArgumentTypeError("must be more than 0 and less than 86400")
    return seconds


def _add_channel(command: Any) -> None:
    command.add_argument("channel", metavar="CHANNEL", help="channel")


def _add_user(command: Any) -> None:
    command.add_argument("user", metavar="USER", help="id of the user")


def _add_which(command: Any) -> None:
    command.add_argument(
        "--client", default="", metavar="ID", help="only this connection of the user"
    )
    command.add_argument(
        "--session", default="", metavar="ID", help="only this session of the user"
    )


def _add_expiry(command: Any) -> None:
    command.add_argument(
        "--expire-at",
        type=int,
        metavar="TIME",
        help="when it expires, in seconds since 1970",
    )


def _add_since(command: Any, help_: str) -> None:
    command.add_argument("--since", default="", metavar="OFFSET[:EPOCH]", help=help_)


def _add_publication(command: Any) -> None:
    form = command.add_mutually_exclusive_group()
    form.add_argument(
        "--text", action="store_true", help="the payload is text, not JSON"
    )
    form.add_argument(
        "--base64", action="store_true", help="the payload is binary, as base64"
    )
    command.add_argument(
        "--tag",
        action="append",
        metavar="NAME=VALUE",
        help="tag of the publication; may be repeated",
    )
    command.add_argument(
        "--skip-history", action="store_true", help="deliver it without keeping it"
    )
    command.add_argument(
        "--idempotency-key",
        default="",
        metavar="TEXT",
        help="publish once, however often this is repeated with the same text",
    )
    command.add_argument(
        "--delta", action="store_true", help="send deltas to those who asked for them"
    )
    command.add_argument(
        "--version",
        type=int,
        default=0,
        metavar="NUMBER",
        help="version of the document; one not newer than the last is dropped",
    )
    command.add_argument(
        "--version-epoch",
        default="",
        metavar="TEXT",
        help="versions of another epoch start anew",
    )
