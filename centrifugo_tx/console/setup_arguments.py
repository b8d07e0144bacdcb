"""The arguments of the commands that set up a server."""

import argparse
from typing import Any

__all__ = ["add_setup_commands"]


def add_setup_commands(commands: Any) -> None:
    """Add the commands for a first server, and for deployment."""
    _add_dev(commands)
    _add_init(commands)
    _add_files(commands)


def port(text: str) -> int:
    """Convert a port number."""
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError("must be between 1 and 65535")
    return number


def _add_dev(commands: Any) -> None:
    help_ = "Run a server for development, and print what to try"
    command = commands.add_parser(
        "dev",
        help=help_,
        description=f"{help_}.  It listens on this machine only, lets every client use"
        " every channel, and makes new keys for each run.",
    )
    command.set_defaults(command="development_command:dev")
    command.add_argument(
        "-p",
        "--port",
        type=port,
        default=8000,
        help="port of the server (default: %(default)s)",
    )
    command.add_argument(
        "--page-port",
        type=port,
        default=3000,
        metavar="PORT",
        help="port of a page to try it; another one if it is taken"
        " (default: %(default)s)",
    )


def _add_init(commands: Any) -> None:
    help_ = "Write a configuration, a systemd unit and an nginx site"
    command = commands.add_parser(
        "init",
        help=help_,
        description=f"{help_}.  It asks for what has no flag: --domain, --origins,"
        " --engine, --channels and --admin.",
    )
    command.set_defaults(command="init_command:init")
    command.add_argument(
        "--domain",
        metavar="NAME",
        help="name under which browsers reach the server, such as ws.example.com",
    )
    command.add_argument(
        "--origins",
        metavar="LIST",
        help="origins of the pages that may connect, separated by commas, such as"
        " https://example.com",
    )
    command.add_argument(
        "--engine",
        metavar="ENGINE",
        help="memory, for one server, or the URL of a Redis that several servers share",
    )
    command.add_argument(
        "--channels",
        choices=("open", "closed"),
        help="open: clients may subscribe to all channels; closed: only to those that"
        " a token or your backend allows",
    )
    command.add_argument(
        "--admin",
        choices=("yes", "no"),
        help="whether to serve the admin page, on port 9000 of this machine",
    )
    command.add_argument(
        "--certificate",
        default="",
        metavar="FILE",
        help="certificate for nginx, in PEM (default: none; the site is on port 80, and"
        " certbot can add one)",
    )
    command.add_argument(
        "--certificate-key",
        default="",
        metavar="FILE",
        help="private key of the certificate, in PEM",
    )
    command.add_argument(
        "-o",
        "--output",
        default=".",
        metavar="FOLDER",
        help="folder for the files (default: the current one)",
    )
    command.add_argument("--force", action="store_true", help="overwrite files")


def _add_files(commands: Any) -> None:
    help_ = "List or copy the files for deployment that come with the server"
    command = commands.add_parser("files", help=help_, description=f"{help_}.")
    command.set_defaults(command="files_command:list_files")
    command.add_argument(
        "name",
        nargs="?",
        default="",
        metavar="NAME",
        help="print the path of this file",
    )
    command.add_argument(
        "--copy",
        default="",
        metavar="FOLDER",
        help="copy the file, or all files, into this folder",
    )
    command.add_argument("--force", action="store_true", help="overwrite files")
