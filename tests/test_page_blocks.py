"""Every block of code in the documents is checked; most are run, too.

Commands and Python must be on a page that a test runs: one that names the page to
``Page``, or reads it by the name of its file.  The module of the same name among the
integration tests checks shell and JavaScript.
"""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.check import problems
from centrifugo_tx.config.model import Config
from centrifugo_tx.console.arguments import parser

from .config.test_check import config_of
from .integration.page import DOCS, Block, blocks_of, commands_of

ROOT = DOCS.parent
PAGES = (*sorted(DOCS.rglob("*.rst")), *sorted(ROOT.glob("*.rst")))

#: Languages whose blocks must be on a page that a test runs.
RUN_LANGUAGES = {"bash", "console", "python", "sql"}
#: Languages whose blocks are checked here or beside the integration tests.
CHECKED = {"html", "javascript", "json", "sh", "yaml"}
#: How many blocks of plain text a page has: output, bytes on the wire, drawings.
TEXTS = {"docs/architecture.rst": 1, "docs/doctor.rst": 1}


def blocks() -> Iterator[tuple[str, Block]]:
    """Yield all blocks with the path of their page."""
    for page in PAGES:
        for block in blocks_of(page.read_text()):
            yield str(page.relative_to(ROOT)), block


def shell_lines() -> Iterator[tuple[str, str]]:
    """Yield each command in a block for a shell, with the path of its page."""
    for page, block in blocks():
        if block.language == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                yield page, line
        elif block.language == "console" and block.text.startswith("$ "):
            for command, _ in commands_of(block.text):
                yield page, command.replace("\\\n", " ")


def pages_that_run() -> set[str]:
    """Return the names of the pages that tests run or read."""
    names: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        text = path.read_text()
        names.update(re.findall(r'"([\w-]+)\.rst"', text))
        if "Page(" in text:
            names.update(re.findall(r'"([a-z][\w-]+)"', text))
    return names


class KindTests(SynchronousTestCase):
    """No block goes unchecked."""

    def test_literal_blocks(self) -> None:
        """A block of code is a directive that names its language."""
        for page in PAGES:
            for line in page.read_text().splitlines():
                loose = line.rstrip().endswith("::") and ".. " not in line
                self.assertFalse(loose, f"{page.name}: {line}")

    def test_found(self) -> None:
        """The function that finds blocks finds each of them."""
        for page in PAGES:
            text = page.read_text()
            count = len(re.findall(r"(?m)^ *\.\. code-block::", text))
            self.assertEqual(len(blocks_of(text)), count, page.name)

    def test_languages(self) -> None:
        """Something runs or checks each block."""
        texts: dict[str, int] = {}
        run = pages_that_run()
        for page, block in blocks():
            if block.language == "text":
                texts[page] = texts.get(page, 0) + 1
            elif block.language in RUN_LANGUAGES:
                found = Path(page).stem in run or page in NOT_RUN
                self.assertTrue(found, f"{page}: nothing runs {block}")
            else:
                self.assertIn(block.language, CHECKED, f"{page}: {block}")
        guides = {page: n for page, n in texts.items() if "/protocol/" not in page}
        self.assertEqual(guides, TEXTS)

    def test_included_files(self) -> None:
        """A file that a page includes is named by a test."""
        tests = "".join(p.read_text() for p in (ROOT / "tests").rglob("*.py"))
        for page in PAGES:
            for path in re.findall(r"literalinclude:: (\S+)", page.read_text()):
                self.assertTrue((page.parent / path).exists(), path)
                self.assertIn(Path(path).stem, tests, page.name)


class DataTests(SynchronousTestCase):
    """JSON and YAML."""

    def test_json(self) -> None:
        """JSON is JSON: one value, or one a line."""
        for page, block in blocks():
            if block.language == "json":
                try:
                    json.loads(block.text)
                except ValueError:
                    lines = [json.loads(line) for line in block.text.splitlines()]
                    self.assertGreater(len(lines), 1, page)

    def test_configurations(self) -> None:
        """What looks like a configuration has known options with good values."""
        options, count = set(Config.__struct_fields__), 0
        for page, block in blocks():
            if block.language == "json" and block.text.startswith("{"):
                tree = json.loads(block.text)
                if options.issuperset(tree) and not FILES.search(block.text):
                    count += 1
                    found = problems(config_of(tree))
                    self.assertEqual((page, found), (page, []))
        self.assertGreater(count, 50)

    def test_yaml(self) -> None:
        """YAML is YAML, and not just text."""
        for page, block in blocks():
            if block.language == "yaml":
                self.assertIsInstance(yaml.safe_load(block.text), dict | list, page)

    def test_python(self) -> None:
        """Python compiles, also where it is shown for comparison."""
        for page, block in blocks():
            if block.language == "python":
                flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                compile(block.text, page, "exec", flags)


class CommandTests(SynchronousTestCase):
    """The commands that pages tell readers to type."""

    def test_commands(self) -> None:
        """``centrifugo-tx`` has the command, with these flags and arguments."""
        count = 0
        for page, line in shell_lines():
            for words in _calls(line):
                count += 1
                with redirect_stderr(StringIO()) as printed:
                    try:
                        parser().parse_args(words)
                    except SystemExit:
                        self.fail(f"{page}: {line}\n{printed.getvalue()}")
        self.assertGreater(count, 50)

    def test_targets(self) -> None:
        """``make`` has the target."""
        makefile = (ROOT / "Makefile").read_text()
        for page, line in shell_lines():
            if found := re.match(r"make (\w+)", line):
                self.assertRegex(makefile, rf"(?m)^{found[1]}:", page)

    def test_files(self) -> None:
        """Files of the repository that are named in commands exist."""
        count = 0
        for page, line in shell_lines():
            for path in PATHS.findall(line):
                count += 1
                self.assertTrue((ROOT / path).exists(), f"{page}: {line}")
        self.assertGreater(count, 5)

    def test_extras(self) -> None:
        """Extras that are to be installed exist."""
        setup = ConfigParser()
        setup.read(ROOT / "setup.cfg")
        known = set(setup["options.extras_require"])
        count = 0
        for page, line in shell_lines():
            if found := re.search(r"pip install.*centrifugo-tx\[([\w,-]+)\]", line):
                count += 1
                self.assertLessEqual(set(found[1].split(",")), known, page)
        self.assertGreater(count, 4)


#: Pages with Python that is shown for comparison, or needs what is around it.
NOT_RUN = {"README.rst", "docs/index.rst"}
#: Files of the repository in a command.
PATHS = re.compile(r"(?<![\w/.])(?:config|deploy|tests)/[\w./-]+")
#: Configurations that name files; ``tests/test_docs.py`` checks those with files.
FILES = re.compile(r"\.pem\"")


def _calls(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of ``centrifugo-tx`` in a line."""
    # A command in the arguments of another stands for one word.
    inner = re.findall(r"\$\(centrifugo-tx ([^()]*)\)", line)
    outer = re.sub(r"\"?\$\([^()]*\)\"?", "VALUE", line)
    for text in inner:
        yield shlex.split(text)
    for part in re.split(r"\||&&|;", outer):
        words = shlex.split(part, comments=True)
        if words and words[0].endswith("centrifugo-tx") and words[1:]:
            if words[1].startswith("--"):
                continue  # the server itself
            yield words[1 : words.index(">") if ">" in words else None]
