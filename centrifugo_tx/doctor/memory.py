"""The memory of the machine or container, against the clients that are to fit."""

import re
from pathlib import Path

from ..config.model import Config
from ..workers import worker_count
from .findings import Finding, ok, problem, warning

__all__ = ["BYTES_PER_CLIENT", "available_memory", "check_memory"]

_CHECK = "memory"
#: Of an idle WebSocket client with one channel, without TLS: 3.8 kB of the process
#: (3,000 clients, Python 3.11) and 3.9 kB of the kernel.
BYTES_PER_CLIENT = 8192
_LOW = 256 * 1024 * 1024


def available_memory(root: Path) -> tuple[int, str] | None:
    """Return the free bytes and their limit; None where neither is known.

    :param root: the folder that contains ``proc`` and ``sys``.
    """
    found: list[tuple[int, str]] = []
    text = _read(root / "proc/meminfo")
    if free := re.search(r"(?m)^MemAvailable: +(\d+) kB", text):
        found.append((int(free[1]) * 1024, "the machine"))
    group = root / "sys/fs/cgroup"
    limit, used = _read(group / "memory.max"), _read(group / "memory.current")
    if limit.strip().isdigit() and used.strip().isdigit():
        found.append((max(0, int(limit) - int(used)), "the container"))
    return min(found, default=None)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def check_memory(config: Config, root: Path) -> list[Finding]:
    """Compare free memory with ``client.connection_limit`` of all processes."""
    found = available_memory(root)
    if found is None:
        return []
    free, source = found
    mib = free // 2**20
    said = (
        f"{mib} MiB free in {source}: room for {free // BYTES_PER_CLIENT} idle clients"
    )
    wanted = config.client.connection_limit * worker_count(config)
    needed = wanted * BYTES_PER_CLIENT
    if needed > free:
        return [
            problem(
                _CHECK,
                f"{said}, but client.connection_limit allows {wanted}",
                f"lower client.connection_limit, or give it {needed // 2**20} MiB",
            )
        ]
    if free < _LOW:
        return [warning(_CHECK, said, "free memory, or give the server more of it")]
    return [ok(_CHECK, said)]
