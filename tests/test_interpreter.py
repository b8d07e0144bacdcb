"""The name of the interpreter."""

import platform
import sysconfig
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx import interpreter
from centrifugo_tx.interpreter import interpreter_name

NAME = f"Python {platform.python_version()}"
SLOW = f"{NAME}, a build without optimizations"
LIBRARY = "7f00-7f01 r-xp 0 fd:00 1 /opt/lib/libpython3.11.so.1.0\n"
PROGRAM = "5500-5501 r-xp 0 fd:00 2 /usr/bin/python3.11\n"


class InterpreterNameTests(SynchronousTestCase):
    """The version, and a build that is slow."""

    def name(self, arguments: str | None, maps: str) -> str:
        """Return the name of a build with these arguments and mapped files."""
        with (
            patch.object(sysconfig, "get_config_var", lambda name: arguments),
            patch.object(interpreter, "_maps", lambda: maps),
        ):
            return interpreter_name()

    def test_optimized(self) -> None:
        """A build with optimizations has the plain name."""
        self.assertEqual(self.name("'--enable-optimizations'", PROGRAM), NAME)
        shared = "'--enable-shared' '--enable-optimizations'"
        self.assertEqual(self.name(shared, PROGRAM + LIBRARY), NAME)

    def test_not_optimized(self) -> None:
        """A build without optimizations is named as such."""
        self.assertEqual(self.name("'--prefix=/opt'", PROGRAM), SLOW)
        self.assertEqual(self.name("'--enable-shared'", PROGRAM + LIBRARY), SLOW)

    def test_another_build(self) -> None:
        """Debian describes its library, which its program does not use."""
        self.assertEqual(self.name("'--enable-shared'", PROGRAM), NAME)

    def test_unknown(self) -> None:
        """Where the build is unknown, the name is plain."""
        self.assertEqual(self.name(None, PROGRAM), NAME)
        self.assertEqual(self.name("'--prefix=/opt'", ""), NAME)

    def test_this_interpreter(self) -> None:
        """The interpreter of this test has a name."""
        self.assertIn(interpreter_name(), (NAME, SLOW))
