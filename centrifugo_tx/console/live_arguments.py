"""The arguments of the commands that watch a running server."""

from typing import Any

from .server_arguments import add_channel, add_command, add_since, positive, seconds

__all__ = ["add_live_commands"]


def add_live_commands(commands: Any) -> None:
    """Add the commands that run until they are interrupted."""
    _add_subscribe(commands)
    _add_top(commands)


def _add_subscribe(commands: Any) -> None:
    command = add_command(
        commands,
        "subscribe",
        "Print the publications of a channel until interrupted",
        "subscribe_command",
        "token",
    )
    add_channel(command)
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
        type=positive,
        default=0,
        metavar="NUMBER",
        help="exit after that many publications",
    )
    add_since(command, "start with the publications after this position")
    command.add_argument(
        "--join-leave", action="store_true", help="also print joins and leaves"
    )


def _add_top(commands: Any) -> None:
    command = add_command(
        commands, "top", "Show nodes and channels until interrupted", "top_command"
    )
    command.add_argument(
        "--pattern",
        default="",
        metavar="PATTERN",
        help="pattern of channels, such as 'news:*' (default: all)",
    )
    command.add_argument(
        "--no-channels",
        action="store_true",
        help="show only nodes; listing very many channels costs the server time",
    )
    command.add_argument(
        "-i",
        "--interval",
        type=seconds,
        default=2.0,
        metavar="SECONDS",
        help="time between refreshes (default: 2)",
    )
    command.add_argument(
        "--once", action="store_true", help="show the tables once and exit"
    )
    command.add_argument(
        "-n",
        "--limit",
        type=positive,
        default=20,
        metavar="COUNT",
        help="maximum number of channels, with --once or --json (default: %(default)s)",
    )
