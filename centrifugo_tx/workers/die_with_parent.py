"""Replaces itself by a program that the kernel kills when the parent ends.

A script: ``python -I -S die_with_parent.py PARENT PROGRAM ARGUMENT…``.  The program
runs in a session of its own, so that Ctrl-C does not reach it.  On systems other than
Linux it outlives a parent that is killed.
"""

import ctypes
import os
import signal
import sys

__all__ = ["main"]

#: From ``linux/prctl.h``: sets the signal to receive when the parent ends.
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Execute the program, unless the parent has already ended."""
    parent, *command = sys.argv[1:]
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == int(parent):
        os.execv(command[0], command)


if __name__ == "__main__":
    main()
