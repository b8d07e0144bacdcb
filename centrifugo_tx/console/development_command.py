"""The server for development, and the start of the server through ``twistd``."""

import argparse
import base64
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..token_signing import sign
from .files_command import FOLDER

__all__ = ["dev", "random_secret", "run_server"]

#: The page that is served next to the server.
PAGE = Path(__file__).parents[1] / "development_page"
HOST = "127.0.0.1"
#: The variables with the secrets of a run, and the sizes of the secrets in bytes.
TOKEN_SECRET = "CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY"
SECRETS = {
    TOKEN_SECRET: 32,
    "CENTRIFUGO_HTTP_API_KEY": 24,
    "CENTRIFUGO_ADMIN_PASSWORD": 9,
    "CENTRIFUGO_ADMIN_SECRET": 32,
}
TEXT = """
A server for development.  Only this machine can reach it, every client may use every
channel, and the keys are new in each run.

1. Open a page in two windows, and write something:
     {page}
2. Publish into the channel that the page listens to:
     curl -H 'X-API-Key: {key}' -d '{{"channel": "news", "data": {{"text": "Hello"}}}}' http://localhost:{port}/api/publish
3. Connect as user 42, on the page or with an SDK, by this token:
     {token}
4. Look at channels and connections on the admin page; its password is {password}
     http://localhost:{port}/

An SDK connects to ws://localhost:{port}/connection/websocket
For a server of your own: centrifugo-tx init
"""


def dev(options: argparse.Namespace) -> None:
    """Run a server for development, and print what to try."""
    terminal = sys.stdout  # twistd makes log lines of what is printed later
    for name, size in SECRETS.items():
        os.environ.setdefault(name, random_secret(size))

    def serve_page(reactor: Any) -> None:
        from twisted.internet.error import CannotListenError
        from twisted.web.server import Site
        from twisted.web.static import File

        site = Site(File(str(PAGE)))
        try:
            page = reactor.listenTCP(options.page_port, site, interface=HOST)
        except CannotListenError:
            page = reactor.listenTCP(0, site, interface=HOST)
        print(_text(options.port, page.getHost().port), file=terminal, flush=True)

    run_server(
        [
            *("--config", str(FOLDER / "development.json")),
            *("--http_server.port", str(options.port), "--admin.enabled"),
        ],
        serve_page,
    )


def _text(port: int, page_port: int) -> str:
    """Return what to try, with the secrets in the environment."""
    page = f"http://localhost:{page_port}/"
    return TEXT.format(
        page=page if port == 8000 else f"{page}?port={port}",
        port=port,
        key=os.environ["CENTRIFUGO_HTTP_API_KEY"],
        token=sign({"sub": "42"}, os.environ[TOKEN_SECRET]),
        password=os.environ["CENTRIFUGO_ADMIN_PASSWORD"],
    )


def run_server(
    arguments: Sequence[str], then: Callable[[Any], None] | None = None
) -> None:
    """Run the server in the foreground, with its own arguments.

    :param then: is called with the reactor when the server has started.
    """
    from twisted.scripts import twistd

    if then is not None:
        from twisted.internet import reactor

        loop: Any = reactor
        loop.callWhenRunning(then, loop)
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "centrifugo", *arguments]
    twistd.run()


def random_secret(size: int) -> str:
    """Return *size* random bytes in base64, for URLs."""
    return base64.urlsafe_b64encode(secrets.token_bytes(size)).decode().rstrip("=")
