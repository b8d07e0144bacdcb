"""The limit of open files, against the clients that are to fit."""

import re
import resource
from pathlib import Path

from attrs import frozen

from ..config.model import Config
from ..process import RESERVED
from ..workers import worker_count
from .findings import Finding, ok, warning

__all__ = ["FileLimit", "check_open_files", "file_limit"]

_CHECK = "open files"
#: Clients per process under which the limit is called low.
FEW_CLIENTS = 10_000


@frozen
class FileLimit:
    """The limit of open files of a process; the server raises soft to hard."""

    soft: int
    hard: int
    #: Whose limit it is.
    source: str = "this shell"


def file_limit(root: Path, pid_file: str) -> FileLimit:
    """Return the limit of the running server, or else of this process.

    :param root: where ``proc`` is.
    :param pid_file: path of the server's PID file, empty for none.
    """
    try:
        pid = int(Path(pid_file).read_text()) if pid_file else 0
        text = (root / f"proc/{pid}/limits").read_text() if pid else ""
    except (OSError, ValueError):
        text = ""
    found = re.search(r"(?m)^Max open files +(\w+) +(\w+)", text)
    if found:
        return FileLimit(_number(found[1]), _number(found[2]), f"process {pid}")
    return FileLimit(*resource.getrlimit(resource.RLIMIT_NOFILE))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 2**31


def check_open_files(config: Config, limit: FileLimit) -> list[Finding]:
    """Compare the hard limit with ``client.connection_limit`` of each process."""
    room = max(0, limit.hard - RESERVED)
    wanted = config.client.connection_limit
    each = " in each worker" if worker_count(config) > 1 else ""
    said = (
        f"{limit.hard} for {limit.source} (soft limit {limit.soft}):"
        f" room for {room} clients{each}"
    )
    raise_it = "LimitNOFILE= of the systemd unit, or the hard limit of ulimit -n"
    if wanted and wanted > room:
        return [
            warning(
                _CHECK,
                f"{said}, but client.connection_limit is {wanted}",
                f"raise {raise_it} to at least {wanted + RESERVED}",
            )
        ]
    if not wanted and room < FEW_CLIENTS:
        return [warning(_CHECK, said, f"raise {raise_it}, for example to 1048576")]
    return [ok(_CHECK, said)]
