"""What the system tells about processes, read from /proc."""

from pathlib import Path

__all__ = ["children", "is_gone"]


def children(parent: int) -> dict[int, str]:
    """Return the processes that a process has started, with their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == parent and stat[0] != "Z":
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(folder.name)] = line.decode()
        except OSError:
            continue
    return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        )
    except OSError:
        return True
