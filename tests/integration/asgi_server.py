"""A node under uvicorn, which looks like a server."""

import atexit
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from attrs import define

from .server import Server

__all__ = ["ASGIServer", "shared_asgi_server"]

_TESTS = Path(__file__).parents[2]


@define(eq=False)
class ASGIServer(Server):
    """uvicorn with `asgi_app` and the configuration of a server.

    ``loop`` is uvicorn's option: ``asyncio`` or ``uvloop``.
    """

    loop: str = "asyncio"

    def begin(self) -> None:
        """Start, and do not wait."""
        command = [
            *(sys.executable, "-m", "uvicorn", "tests.integration.asgi_app:app"),
            *("--port", str(self.port), "--loop", self.loop),
        ]
        with self._path("log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=_TESTS,
                env={**os.environ, "CONFIG": str(self._path("config.json"))},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )


_shared: dict[str, ASGIServer] = {}


def shared_asgi_server(
    name: str, options: dict[str, Any], loop: str = "asyncio"
) -> ASGIServer:
    """Return a running server that all tests with this name share."""
    if name not in _shared:
        server = ASGIServer(options, loop=loop)
        _shared[name] = server
        server.start()
        atexit.register(server.close)
    return _shared[name]
