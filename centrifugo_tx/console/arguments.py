"""The command line: every command with its arguments and their help.

Only `argparse` is imported here.  Commands are named by module and function, and only
the module of the chosen command is imported, so that short commands start fast.
"""

import argparse
from typing import Any

from .api_arguments import add_api_commands
from .doctor_arguments import add_doctor
from .live_arguments import add_live_commands
from .setup_arguments import add_setup_commands

__all__ = ["parser"]


def parser() -> argparse.ArgumentParser:
    """Return the parser; its result has the command as ``module:function``."""
    top = argparse.ArgumentParser(
        prog="centrifugo-tx",
        description="Without a command: run the server (its flags: twistd centrifugo"
        " --help); without flags and a configuration, run a development server (dev).",
    )
    commands = top.add_subparsers(
        metavar="COMMAND", required=True, parser_class=CommandParser
    )
    add_setup_commands(commands)
    _add_config_commands(commands)
    _add_token_commands(commands)
    add_api_commands(commands)
    add_live_commands(commands)
    add_doctor(commands)
    _add_other_commands(commands)
    return top


class CommandParser(argparse.ArgumentParser):
    """Parses one command; flags may stand between and after its arguments."""

    _is_intermixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse flags first, and what is left as arguments.

        Plain `argparse` would take ``publish CHANNEL --text PAYLOAD`` for one without
        a payload.
        """
        if self._is_intermixing:
            return super().parse_known_args(args, namespace)
        self._is_intermixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_intermixing = False


def _add(commands: Any, name: str, function: str, help_: str) -> Any:
    """Add a command; its description is its help text as a sentence."""
    command = commands.add_parser(name, help=help_, description=f"{help_}.")
    command.set_defaults(command=function)
    return command


def _add_config(command: Any, help_: str = "configuration file") -> None:
    command.add_argument(
        "-c",
        "--config",
        default="config.json",
        metavar="FILE",
        help=f"{help_} (default: %(default)s)",
    )


def _add_config_commands(commands: Any) -> None:
    module = "config_commands"
    command = _add(
        commands,
        "genconfig",
        f"{module}:genconfig",
        "Write a minimal configuration file with fresh secrets",
    )
    _add_config(command, "file to write; its extension chooses the format")
    command = _add(
        commands, "checkconfig", f"{module}:checkconfig", "Check a configuration file"
    )
    _add_config(command)
    command.add_argument(
        "-s", "--strict", action="store_true", help="make every warning an error"
    )
    _add_convertconfig(commands)
    _add_defaults(commands)
    _add_configdoc(commands)


def _add_defaults(commands: Any) -> None:
    command = _add(
        commands,
        "defaultconfig",
        "config_commands:defaultconfig",
        "Write a configuration file with all options",
    )
    _add_config(command, "file to write; its extension chooses the format")
    _add_base(command)
    command.add_argument(
        "-d", "--dry-run", action="store_true", help="print it instead of writing it"
    )
    command = _add(
        commands,
        "defaultenv",
        "config_commands:defaultenv",
        "Print all options as environment variables",
    )
    _add_base(command)
    command.add_argument(
        "--base-non-zero-only",
        action="store_true",
        help="print only the options that the base sets",
    )


def _add_configdoc(commands: Any) -> None:
    command = _add(
        commands,
        "configdoc",
        "config_commands:configdoc",
        "Print the reference of all options",
    )
    command.add_argument(
        "-m", "--markdown", action="store_true", help="Markdown (default: reST)"
    )
    command.add_argument(
        "-s", "--section", default="", metavar="NAME", help="only this section"
    )
    command.add_argument(
        "-l",
        "--base-level",
        type=int,
        default=1,
        metavar="LEVEL",
        help="level of the first headings (default: %(default)s)",
    )
    command.add_argument(
        "--update",
        metavar="FOLDER",
        help="print nothing, but rewrite the options in the pages of this folder",
    )


def _add_convertconfig(commands: Any) -> None:
    command = _add(
        commands,
        "convertconfig",
        "convert_command:convertconfig",
        "Rewrite a configuration of Centrifugo v2 to v5 for this version",
    )
    _add_config(command, "file to read")
    command.add_argument(
        "--env-file",
        default="",
        metavar="FILE",
        help="rewrite the CENTRIFUGO_ variables in this file (NAME=value) instead",
    )
    command.add_argument(
        "--from",
        dest="version",
        type=int,
        choices=range(2, 6),
        default=0,
        help="version that the file was written for (default: found out)",
    )
    command.add_argument(
        "-o",
        "--output",
        default="",
        metavar="FILE",
        help="new file for the result; its extension chooses the format"
        " (default: standard output, in the format of the file)",
    )


def _add_base(command: Any) -> None:
    command.add_argument(
        "-b",
        "--base",
        default="",
        metavar="FILE",
        help="configuration file whose values replace the defaults",
    )


def _add_token_commands(commands: Any) -> None:
    for name, kind in (("gentoken", "connection"), ("gensubtoken", "subscription")):
        command = _add(
            commands, name, f"token_commands:{name}", f"Print a {kind} token"
        )
        _add_config(command)
        command.add_argument(
            "-u",
            "--user",
            default="",
            metavar="ID",
            help="user of the token (default: the anonymous user)",
        )
        command.add_argument(
            "-t",
            "--ttl",
            type=int,
            default=604800,
            metavar="SECONDS",
            help="how long it is valid; -1: without end (default: %(default)s)",
        )
        command.add_argument(
            "-q", "--quiet", action="store_true", help="print the token alone"
        )
        if name == "gensubtoken":
            command.add_argument(
                "-s",
                "--channel",
                default="",
                metavar="NAME",
                help="channel of the token (required)",
            )
    for name, kind in (("checktoken", "connection"), ("checksubtoken", "subscription")):
        command = _add(
            commands, name, f"token_commands:{name}", f"Check a {kind} token"
        )
        _add_config(command)
        command.add_argument(
            "token", nargs="*", metavar="TOKEN", help="the token to check"
        )


def _add_other_commands(commands: Any) -> None:
    command = _add(
        commands,
        "serve",
        "other_commands:serve",
        "Serve the files of a folder, for development",
    )
    command.add_argument(
        "-d",
        "--dir",
        default="./",
        metavar="FOLDER",
        help="folder to serve (default: %(default)s)",
    )
    command.add_argument(
        "-p",
        "--port",
        type=int,
        default=3000,
        help="port to listen on; 0: any free one (default: %(default)s)",
    )
    command.add_argument(
        "-a", "--address", default="", help="address to listen on (default: all)"
    )
    command = _add(
        commands,
        "completion",
        "other_commands:completion",
        "Print the completion script of a shell",
    )
    command.add_argument(
        "shell", choices=("bash", "zsh", "fish"), help="the shell that will read it"
    )
    _add(commands, "version", "other_commands:show_version", "Print the version")
    _add(commands, "help", "other_commands:show_help", "Print this help")
