"""The name of the Python that runs the server, and whether its build is optimized."""

import sysconfig
from pathlib import Path
from platform import python_implementation, python_version

__all__ = ["interpreter_name"]

_OPTIMIZED, _SHARED = "--enable-optimizations", "--enable-shared"
_LIBRARY = "/libpython"


def interpreter_name() -> str:
    """Return the name and version; a build without optimizations is named as such.

    CPython that was built without ``--enable-optimizations`` takes 15 to 40 % more CPU
    time.  Packages of distributions have it, pyenv's default lacks it.
    """
    implementation = python_implementation()
    name = "Python" if implementation == "CPython" else implementation
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    suffix = ", a build without optimizations" if _lacks(arguments, _maps()) else ""
    return f"{name} {python_version()}{suffix}"


def _lacks(arguments: str, maps: str) -> bool:
    """Whether this build lacks optimizations; false if that is unknown.

    Debian describes its shared library in `sysconfig`, while its programs contain the
    interpreter, which was built with other arguments.  So the arguments count only if
    they agree with what is loaded.

    :param arguments: those of ``configure``; "" if unknown.
    :param maps: the files that this process has mapped; "" if unknown.
    """
    if not arguments or not maps:
        return False
    is_this_build = (_SHARED in arguments) == (_LIBRARY in maps)
    return is_this_build and _OPTIMIZED not in arguments


def _maps() -> str:
    try:
        return Path("/proc/self/maps").read_text()
    except OSError:
        return ""
