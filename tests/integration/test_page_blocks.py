"""Shell commands and scripts in the documents have no errors of syntax."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from ..test_page_blocks import blocks, shell_lines
from .page import DOCS
from .server import PATIENCE


class SyntaxTests(SynchronousTestCase):
    """Checked by the programs that would run them."""

    def check(self, *command: str | Path) -> None:
        """Run a checker, which must succeed."""
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stderr}")

    def test_shell(self) -> None:
        """bash can read every command."""
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, "commands.sh")
            lines = [f"{line}  # {page}" for page, line in shell_lines()]
            texts = [each.text for _, each in blocks() if each.language == "bash"]
            script.write_text("\n".join((*lines, *texts)))
            self.check("bash", "-n", script)
        self.assertGreater(len(lines), 100)

    def test_javascript(self) -> None:
        """Node can read every script, those within pages included."""
        node = shutil.which("node")
        if node is None:
            raise SkipTest("Node.js is not installed")
        scripts = [each.text for _, each in blocks() if each.language == "javascript"]
        for path in (DOCS / "examples").rglob("*.html"):
            scripts += re.findall(r"(?s)<script>(.*?)</script>", path.read_text())
        self.assertGreater(len(scripts), 8)
        with tempfile.TemporaryDirectory() as folder:
            # Each as a function of its own, so that one process reads all.
            module = Path(folder, "all.mjs")
            functions = [f"async () => {{\n{script}\n}};\n" for script in scripts]
            module.write_text("\n".join(functions))
            self.check(node, "--check", module)
