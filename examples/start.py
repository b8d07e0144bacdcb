"""Starts each process of the ``Procfile`` here, and stops all when one of them ends.

The process ``release`` runs first, and to its end.  ``$PORT`` is the port of the page,
and ``$REDIS_PORT`` that of Redis, where an example has one.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path


def start() -> None:
    """Run until a signal, the end of a process, or the end of the terminal."""
    os.environ.setdefault("PORT", "3000")
    os.environ.setdefault("REDIS_PORT", "6380")
    commands: dict[str, list[str]] = {}
    for line in Path("Procfile").read_text().splitlines():
        name, _, text = line.partition(":")
        commands[name] = shlex.split(os.path.expandvars(text))
    if release := commands.pop("release", []):
        subprocess.run(release, check=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    on_terminal = has_terminal()
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            processes[name] = subprocess.Popen(command)
        while not on_terminal or has_terminal():
            for name, process in processes.items():
                if process.poll() is not None:
                    sys.exit(f"The process {name!r} has ended, so all others end, too.")
            time.sleep(0.2)
    except KeyboardInterrupt:
        # Ctrl-C reaches all processes of the terminal, which need a moment to end.
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and any_runs(processes.values()):
            time.sleep(0.1)
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait()


def any_runs(processes: Iterable[subprocess.Popen[bytes]]) -> bool:
    """Whether one of the processes has not ended."""
    return any(each.poll() is None for each in processes)


def stop(*_: object) -> None:
    """End the loop."""
    raise SystemExit(0)


def has_terminal() -> bool:
    """Whether there is a terminal that could be closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY))
    except OSError:
        return False
    return True


if __name__ == "__main__":
    start()
