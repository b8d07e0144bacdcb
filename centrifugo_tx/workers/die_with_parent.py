"""Becomes another program, one that ends when the process that asked for it does.

A script: ``python -I -S die_with_parent.py PARENT PROGRAM ARGUMENT…``.  The program
is away from the terminal, so that Ctrl-C does not meet it; where the system is not
Linux it outlives a parent that is killed.
"""

import ctypes
import os
import signal
import sys

__all__ = ["main"]

#: From ``linux/prctl.h``: the signal that comes when the parent is gone.
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the program, unless the parent is gone already."""
    parent, *command = sys.argv[1:]
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == int(parent):
        os.execv(command[0], command)


if __name__ == "__main__":
    main()
