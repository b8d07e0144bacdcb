"""A typed program of a user passes mypy and pyright, without plugins."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "embedding" / "typed_program.py"
MISTAKE = """
node.publish(1, {})
"""


class TypedProgramTests(SynchronousTestCase):
    """The program, beside no configuration of this project."""

    def check(self, *command: str) -> None:
        """Run a type checker: it accepts the program, and sees a mistake in it."""
        with tempfile.TemporaryDirectory() as place:
            program, wrong = Path(place, "program.py"), Path(place, "wrong.py")
            program.write_text(PROGRAM.read_text())
            wrong.write_text(PROGRAM.read_text() + MISTAKE)
            done = subprocess.run(
                [*command, str(program), str(wrong)],
                cwd=place,
                capture_output=True,
                text=True,
                timeout=300,
            )
        said = done.stdout + done.stderr
        lines = [line for line in said.splitlines() if " error" in line]
        errors = [line for line in lines if ".py:" in line]
        self.assertEqual(len(errors), 1, said)
        self.assertIn("wrong.py", errors[0])

    def test_mypy(self) -> None:
        """``mypy --strict`` needs no plugin."""
        self.check(
            *(sys.executable, "-m", "mypy", "--strict", "--config-file="),
            f"--cache-dir={ROOT / '.mypy_cache' / 'typed_program'}",
        )

    def test_pyright(self) -> None:
        """pyright does not either."""
        tool = shutil.which("pyright", path=str(Path(sys.executable).parent))
        if tool is None or shutil.which("node") is None:
            raise SkipTest("pyright needs its package and node")
        works = subprocess.run([tool, "--version"], capture_output=True, text=True)
        if works.returncode:
            raise SkipTest(f"pyright does not start: {works.stderr[-200:]}")
        self.check(tool, "--pythonpath", sys.executable)
