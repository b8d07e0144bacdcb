"""The arguments of the commands that call the server API."""

from typing import Any

from .server_arguments import add_channel, add_command, add_since

__all__ = ["add_api_commands"]


def add_api_commands(commands: Any) -> None:
    """Add the commands that call one method of the API."""
    _add_publish_commands(commands)
    _add_channel_commands(commands)
    add_command(commands, "info", "Show the nodes of the cluster")
    _add_user_commands(commands)
    command = add_command(commands, "call", "Call any method of the API with JSON")
    command.add_argument("method", metavar="METHOD", help="such as map_publish")
    command.add_argument(
        "request", nargs="?", default="{}", metavar="JSON", help="request (default: {})"
    )


def _add_publish_commands(commands: Any) -> None:
    command = add_command(commands, "publish", "Publish into a channel")
    add_channel(command)
    command.add_argument(
        "data",
        nargs="?",
        metavar="JSON",
        help="payload; without it, or with -, standard input",
    )
    _add_publication(command)
    command = add_command(
        commands, "broadcast", "Publish the same into several channels"
    )
    command.add_argument("channel", nargs="+", metavar="CHANNEL", help="channel")
    command.add_argument(
        "-d",
        "--data",
        metavar="JSON",
        help="payload; without it, or with -, standard input",
    )
    _add_publication(command)


def _add_channel_commands(commands: Any) -> None:
    command = add_command(commands, "history", "Show the history of a channel")
    add_channel(command)
    command.add_argument(
        "-n",
        "--limit",
        type=int,
        default=10,
        metavar="COUNT",
        help="maximum number of publications; 0: only the position; -1: all"
        " (default: %(default)s)",
    )
    add_since(command, "show the publications after this position")
    command.add_argument("-r", "--reverse", action="store_true", help="newest first")
    add_channel(
        add_command(commands, "history-remove", "Remove the history of a channel")
    )
    add_channel(add_command(commands, "presence", "Show the connections in a channel"))
    add_channel(
        add_command(
            commands, "presence-stats", "Count connections and users in a channel"
        )
    )
    command = add_command(
        commands, "receipts", "Show which users have received a publication"
    )
    add_channel(command)
    command.add_argument("offset", type=int, metavar="OFFSET", help="its offset")
    command.add_argument("--epoch", default="", metavar="TEXT", help="its epoch")
    command.add_argument(
        "--user", action="append", metavar="ID", help="only this user; may be repeated"
    )
    command.add_argument(
        "-n",
        "--limit",
        type=int,
        default=100,
        metavar="COUNT",
        help="maximum number of users (default: %(default)s)",
    )
    command.add_argument(
        "--cursor", default="", metavar="TEXT", help="continue the list of users"
    )
    command = add_command(commands, "channels", "List the channels with subscribers")
    command.add_argument(
        "pattern", nargs="?", default="", help="pattern such as 'news:*' (default: all)"
    )


def _add_user_commands(commands: Any) -> None:
    command = add_command(commands, "disconnect", "Close the connections of a user")
    _add_user(command)
    _add_which(command)
    command.add_argument(
        "--whitelist",
        action="append",
        metavar="ID",
        help="client to keep connected; may be repeated",
    )
    command.add_argument(
        "--code",
        type=int,
        metavar="NUMBER",
        help="code of the disconnect; 3500 to 3999 and 4500 to 4999 tell clients not"
        " to reconnect (default: 3503)",
    )
    command.add_argument(
        "--reason", default="", metavar="TEXT", help="reason of the disconnect"
    )
    command = add_command(commands, "unsubscribe", "End the subscriptions of a user")
    _add_user(command)
    add_channel(command)
    _add_which(command)
    command = add_command(commands, "subscribe-user", "Subscribe a user's connections")
    _add_user(command)
    add_channel(command)
    _add_which(command)
    _add_expiry(command)
    add_since(command, "recover from this position")
    command.add_argument(
        "--info", metavar="JSON", help="information for presence, join and leave"
    )
    command.add_argument(
        "--data", metavar="JSON", help="data that is sent with the subscription"
    )
    command = add_command(commands, "refresh", "Extend or end a user's connections")
    _add_user(command)
    _add_which(command)
    _add_expiry(command)
    command.add_argument(
        "--expired", action="store_true", help="close them as expired (code 3005)"
    )


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
        help="time of the expiry, in seconds since 1970",
    )


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
        "--skip-history", action="store_true", help="do not store it in the history"
    )
    command.add_argument(
        "--idempotency-key",
        default="",
        metavar="TEXT",
        help="publish only once for all calls with the same text",
    )
    command.add_argument(
        "--delta",
        action="store_true",
        help="send deltas to subscribers that requested them",
    )
    command.add_argument(
        "--confirm", action="store_true", help="ask the subscribers for receipts"
    )
    command.add_argument(
        "--version",
        type=int,
        default=0,
        metavar="NUMBER",
        help="version of the document; a version that is not newer is dropped",
    )
    command.add_argument(
        "--version-epoch",
        default="",
        metavar="TEXT",
        help="epoch of the version; a new epoch accepts any version",
    )
