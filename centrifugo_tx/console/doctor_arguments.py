"""The arguments of the command ``doctor``."""

import argparse
from typing import Any

from .server_arguments import CA, CONFIG, TOKEN, seconds

__all__ = ["add_doctor"]

_EXIT_CODES = """\
exit codes:
  0  no findings, or only warnings without --strict
  1  there are warnings, with --strict
  2  there are problems, or the command line is wrong
"""


def add_doctor(commands: Any) -> None:
    """Add the command ``doctor``."""
    help_ = "Examine the machine, Redis and the running server, and suggest remedies"
    command = commands.add_parser(
        "doctor",
        help=help_,
        description=f"{help_}.",
        epilog=_EXIT_CODES,
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
    _add_connection(command)
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
        type=seconds,
        default=5.0,
        metavar="SECONDS",
        help="timeout of each response (default: 5)",
    )


def _add_connection(command: Any) -> None:
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
