"""The installed package, in a clean environment."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from shutil import copytree, ignore_patterns, which
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from zipfile import ZipFile

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).parents[2]


#: Builds the wheel and the source archive of the current folder into another folder.
BUILD = """
import sys
from setuptools.build_meta import build_sdist, build_wheel
folder = sys.argv.pop()
build_sdist(folder)
build_wheel(folder)
"""


def run(*command: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, **options
    )


class WheelTests(SynchronousTestCase):
    """A machine needs only the wheel and its dependencies."""

    scratch: TemporaryDirectory[str]
    #: The folders of two builds of the same files.
    builds: ClassVar[list[Path]] = []

    @classmethod
    def setUpClass(cls) -> None:
        """Build the wheel and the source archive twice, from files of other times."""
        cls.scratch = TemporaryDirectory()
        cls.builds = [Path(cls.scratch.name) / name for name in ("one", "two")]
        skipped = ignore_patterns(
            *(".git", ".venv", ".*_cache", ".hypothesis", ".tox", "_trial_temp*"),
            *("build", "dist", "_build", "*.egg-info", "node_modules", "jars"),
            *("__pycache__", "dropin.cache"),
        )
        for number, folder in enumerate(cls.builds):
            source = folder / "source"
            copytree(ROOT, source, ignore=skipped)
            for path in source.rglob("*"):
                os.utime(path, (number * 86400 + 1e9,) * 2)
            run(
                *(sys.executable, "-c", BUILD, folder),
                cwd=source,
                env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
            ).check_returncode()

    @classmethod
    def tearDownClass(cls) -> None:
        """Remove the builds."""
        cls.scratch.cleanup()

    def built(self, pattern: str) -> list[Path]:
        """Return a file of each build."""
        return [path for folder in self.builds for path in folder.glob(pattern)]

    def test_reproducible(self) -> None:
        """Equal files make equal archives, at any time."""
        for pattern in "*.whl", "*.tar.gz":
            one, two = self.built(pattern)
            self.assertEqual(one.read_bytes(), two.read_bytes(), pattern)

    def test_wheel(self) -> None:
        """The wheel contains the files for deployment, and the metadata of an index."""
        with ZipFile(self.built("*.whl")[0]) as wheel:
            names = wheel.namelist()
            (metadata,) = (name for name in names if name.endswith("/METADATA"))
            head = wheel.read(metadata).decode().partition("\n\n")[0].split("\n")
        for path in (ROOT / "config").iterdir():
            self.assertIn(f"centrifugo_tx/files/{path.name}", names)
        for name in (
            "centrifugo_tx/py.typed",
            "centrifugo_tx/development_page/index.html",
        ):
            self.assertIn(name, names)
        self.assertIn("License-Expression: MIT", head)
        for minor in 11, 12, 13:
            line = f"Classifier: Programming Language :: Python :: 3.{minor}"
            self.assertIn(line, head)

    def test_source(self) -> None:
        """The source archive contains every file of the repository."""
        listed = run("git", "-C", ROOT, "ls-files")
        if listed.returncode:
            raise SkipTest("not a git repository")
        with tarfile.open(self.built("*.tar.gz")[0]) as archive:
            packed = {name.partition("/")[2] for name in archive.getnames()}
        hidden = re.compile(r"(.*/)?\.")
        tracked = {each for each in listed.stdout.split() if not hidden.match(each)}
        self.assertEqual({x for x in tracked if (ROOT / x).is_file()} - packed, set())

    def test_plugin(self) -> None:
        """Installed into a clean environment, ``twistd`` knows the server."""
        scratch = Path(self.mktemp()).absolute()
        pip = sys.executable, "-m", "pip", "--disable-pip-version-check"
        wheel = self.built("*.whl")[0]
        clean = scratch / "clean"
        venv.create(clean, symlinks=True)
        python = clean / "bin" / "python"
        installed = run(
            *pip, "--python", python, "install", "--no-deps", "--no-index", wheel
        )
        self.assertEqual(installed.returncode, 0, installed.stderr)
        # The dependencies come from this environment, by path only; entries of its .pth
        # files, such as this checkout, do not count.
        (packages,) = clean.glob("lib/python*/site-packages")
        (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        code = "from twisted.scripts.twistd import run; run()"
        helped = subprocess.run(
            [python, "-c", code, "centrifugo", "--help"],
            capture_output=True,
            text=True,
            cwd=scratch,
        )
        self.assertEqual(helped.returncode, 0, helped.stderr)
        self.assertIn("--http_server.port=", helped.stdout)
        where = run(python, "-c", "import centrifugo_tx; print(centrifugo_tx.__file__)")
        self.assertTrue(where.stdout.startswith(str(packages)), where.stdout)
        said = run(clean / "bin" / "centrifugo-tx", "version")
        self.assertTrue(said.stdout.startswith("centrifugo-tx v"), said.stderr)


class UnitTests(SynchronousTestCase):
    """The unit for systemd."""

    def setUp(self) -> None:
        if which("systemd-analyze") is None:
            raise SkipTest("systemd-analyze is not installed")

    def test_unit(self) -> None:
        """systemd accepts the unit."""
        bin = Path(sys.executable).parent
        if not (bin / "centrifugo-tx").exists():
            raise SkipTest("the package is not installed")
        unit = Path(self.mktemp()).absolute() / "centrifugo-tx.service"
        unit.parent.mkdir()
        text = (ROOT / "config" / unit.name).read_text()
        self.assertIn("/opt/centrifugo-tx/bin/", text)
        unit.write_text(text.replace("/opt/centrifugo-tx/bin", str(bin)))
        verified = run("systemd-analyze", "verify", unit)
        self.assertEqual((verified.returncode, verified.stderr), (0, ""))

    def test_socket(self) -> None:
        """systemd accepts the unit of the port, which belongs to the server's."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for suffix in "service", "socket":
            name = f"centrifugo-tx.{suffix}"
            text = (ROOT / "config" / name).read_text()
            (folder / name).write_text(re.sub("/opt/[^ ]*", "/bin/true", text))
        unit = folder / "centrifugo-tx.socket"
        verified = run("systemd-analyze", "verify", unit)
        self.assertEqual((verified.returncode, verified.stderr), (0, ""))

    def test_exposure(self) -> None:
        """Of the machine the server can reach little: below 2.5 of 10 points."""
        unit = ROOT / "config" / "centrifugo-tx.service"
        rated = run(
            *("systemd-analyze", "security", "--offline=true", "--threshold=24"), unit
        )
        self.assertEqual(rated.returncode, 0, rated.stdout + rated.stderr)
