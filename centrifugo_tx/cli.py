"""The console script (operations, "Console commands").

Without a command it runs the server, through ``twistd``.  Without arguments, and with
no configuration in file or environment, it runs a server for development.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from .console.arguments import parser
from .console.outcome import INTERRUPTED, OK, PIPE_CLOSED, CommandFailed
from .console.terminal import printable
from .protocol.errors import CentrifugoError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given and not _is_configured():
        given = ["dev"]
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        return _run_server(given)
    options = parser().parse_args(given)
    module, _, function = options.command.partition(":")
    command = getattr(import_module(f"{__package__}.console.{module}"), function)
    try:
        code: int | None = command(options)
        sys.stdout.flush()
    except CommandFailed as error:
        print(f"centrifugo-tx: {printable(str(error))}", file=sys.stderr)
        return error.code
    except CentrifugoError as error:
        print(error)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The final output of Python would fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return OK if code is None else code


def _is_configured() -> bool:
    """Whether this folder or the environment has a configuration of a server."""
    names = ("config.json", ".env")
    return any(map(os.path.exists, names)) or any(
        name.startswith("CENTRIFUGO_") and not name.startswith("CENTRIFUGO_TX_")
        for name in os.environ
    )


def _run_server(arguments: list[str]) -> int:
    from .console.development_command import run_server

    run_server(arguments)
    return OK
