"""The arguments that choose the server, shared by all commands that connect to one."""

import argparse
from typing import Any

__all__ = [
    "ADDRESS",
    "CA",
    "CONFIG",
    "KEY",
    "TOKEN",
    "add_channel",
    "add_command",
    "add_since",
    "positive",
    "seconds",
]

#: The environment variables that replace flags.
ADDRESS, KEY, CA, TOKEN = (
    f"CENTRIFUGO_TX_{name}" for name in ("ADDRESS", "KEY", "CA", "TOKEN")
)
#: The configuration file that is read when it exists.
CONFIG = "config.json"

_EXIT_CODES = """\
exit codes:
  0  done
  1  the server returned an error
  2  the command line or the configuration is wrong; nothing was sent
  3  no connection: refused, timed out, unknown host, TLS
  4  the server did not accept the key or the token
  5  the response is not from this API
"""


def add_command(
    commands: Any,
    name: str,
    help_: str,
    module: str = "api_commands",
    secret: str = "key",
) -> Any:
    """Add a command with the flags that choose the server.

    :param module: the module of the command's function.
    :param secret: ``key`` for the flag of the API key, else flags of tokens.
    """
    command = commands.add_parser(
        name,
        help=help_,
        description=f"{help_}.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(command=f"{module}:{name.replace('-', '_')}")
    command.add_argument("--json", action="store_true", help="print JSON")
    _add_server(command, secret)
    return command


def _add_server(command: Any, secret: str) -> None:
    server = command.add_argument_group(
        "server",
        "Flags take precedence over environment variables, and these over the"
        " configuration file.",
    )
    server.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        help="configuration file of the server, with its address and key"
        f" (default: {CONFIG}, if it exists)",
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
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for the server (default: 10)",
    )


def add_channel(command: Any) -> None:
    """Add the argument for a channel."""
    command.add_argument("channel", metavar="CHANNEL", help="channel")


def add_since(command: Any, help_: str) -> None:
    """Add the flag for a position."""
    command.add_argument("--since", default="", metavar="OFFSET[:EPOCH]", help=help_)


def positive(text: str) -> int:
    """Convert a whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def seconds(text: str) -> float:
    """Convert a number of seconds, less than a day."""
    number = float(text)
    if not 0 < number < 86400:
        raise argparse.ArgumentTypeError("must be more than 0 and less than 86400")
    return number


def _add_secret(server: Any, secret: str) -> None:
    if secret == "key":
        server.add_argument(
            "-k",
            "--key",
            help="API key; other users of this machine can see it, unlike the"
            f" environment variable {KEY}",
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
        help="subscription token to use with --token",
    )
