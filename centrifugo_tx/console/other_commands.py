"""The version, the help, shell completion, and a file server for development."""

import argparse
from importlib.metadata import version
from typing import Any

from ..interpreter import interpreter_name
from .arguments import parser
from .outcome import FAILED, CommandFailed, Refusal

__all__ = ["completion", "serve", "show_help", "show_version"]


def show_version(options: argparse.Namespace) -> None:
    """Print the version."""
    print(f"centrifugo-tx v{version('centrifugo-tx')} ({interpreter_name()})")


def serve(options: argparse.Namespace) -> None:
    """Serve the files of a folder, for development.

    :raises CommandFailed: the address is in use, or cannot be bound.
    """
    from twisted.internet import reactor
    from twisted.internet.error import CannotListenError
    from twisted.web.server import Site
    from twisted.web.static import File

    try:
        port: Any = reactor.listenTCP(
            options.port, Site(File(options.dir)), interface=options.address
        )
    except CannotListenError as error:
        where = f"{options.address or '*'}:{options.port}"
        reason = error.socketError.strerror or error.socketError
        raise CommandFailed(f"cannot listen on {where}: {reason}", FAILED) from None
    where = f"{options.address}:{port.getHost().port}"
    print(f"start serving {options.dir} on {where}", flush=True)
    reactor.run()


def show_help(options: argparse.Namespace) -> None:
    """Print the help of the script."""
    parser().print_help()


def completion(options: argparse.Namespace) -> None:
    """Print the completion script of a shell."""
    try:
        import shtab
    except ImportError:
        raise Refusal(
            "error: completion needs shtab: pip install 'centrifugo-tx[console]'"
        ) from None

    print(shtab.complete(parser(), options.shell))
