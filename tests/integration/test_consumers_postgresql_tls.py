"""Encrypted connections to a real PostgreSQL, which demands certificates."""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.consumers.postgresql_address import Database
from centrifugo_tx.options import TLSOptions

from .certificates import Authority
from .postgres import PostgreSQL, debian_programs


class TLSTests(SynchronousTestCase):
    """The options of ``tls``."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.server = PostgreSQL(user="checker", programs=debian_programs())
        self.addCleanup(self.server.stop)
        owner = self.server.data.stat()
        for path in self.authority.files(self.server.folder, "127.0.0.1", "db.example"):
            path.chmod(0o600)
            os.chown(path, owner.st_uid, owner.st_gid)
        folder = self.server.folder
        self.server.settings = {
            "ssl": "on",
            "ssl_cert_file": str(folder / "cert.pem"),
            "ssl_key_file": str(folder / "key.pem"),
            "ssl_ca_file": str(folder / "ca.pem"),
            "hba_file": str(folder / "hba"),
        }
        # The test itself comes without a certificate, as another user.
        (folder / "hba").write_text(
            "hostssl postgres centrifugo 127.0.0.1/32 cert map=m\n"
            "host all checker 127.0.0.1/32 trust\n"
        )
        (folder / "ident").write_text("m reader centrifugo\n")
        self.server.settings["ident_file"] = str(folder / "ident")
        self.server.start()
        self.server.execute("CREATE ROLE centrifugo LOGIN")
        certificate, key = self.authority.issue("reader")
        self.own = {"enabled": True, "cert_pem": certificate, "key_pem": key}
        self.dsn = self.server.dsn.replace("checker@", "centrifugo@")

    def connect(self, dsn: str = "", **tls: Any) -> tuple[bool, str]:
        """Return whether a connection is encrypted, and its user."""
        database = Database(dsn or self.dsn, TLSOptions(**tls))

        async def ask() -> Any:
            connection = await database.connect()
            found = await connection.execute(
                "SELECT ssl, current_user FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            )
            row = await found.fetchone()
            await connection.close()
            return row

        try:
            encrypted, user = asyncio.run(ask())
        finally:
            database.forget()
        return encrypted, user

    def test_all(self) -> None:
        """Authority, name and own certificate count, as each option says."""
        trusted = {**self.own, "server_ca_pem": self.authority.pem}
        stranger = {**self.own, "server_ca_pem": Authority().pem}
        there = (True, "centrifugo")
        self.assertEqual(self.connect(**trusted), there)
        self.assertEqual(self.connect(**trusted, server_name="db.example"), there)
        self.assertEqual(self.connect(**stranger, insecure_skip_verify=True), there)
        for given, said in (
            (stranger, "SSL error"),
            (self.own, "SSL error"),
            ({**trusted, "server_name": "other.example"}, "does not match host name"),
            ({"enabled": True, "server_ca_pem": self.authority.pem}, "certificate"),
            ({}, ""),
        ):
            with self.assertRaises(psycopg.OperationalError) as caught:
                self.connect(**given)
            self.assertIn(said, str(caught.exception))

    def test_files(self) -> None:
        """The key is in a file that only this user can read, while it is needed."""
        database = Database(self.dsn, TLSOptions(**self.own, server_ca_pem="x"))
        made: list[str] = []

        def make(prefix: str) -> str:
            made.append(tempfile.mkdtemp(prefix=prefix, dir=self.server.folder))
            return made[-1]

        with (
            patch("centrifugo_tx.consumers.postgresql_address.mkdtemp", make),
            self.assertRaises(psycopg.OperationalError),
        ):
            asyncio.run(database.connect())
        self.assertEqual(len(made), 1)
        folder = Path(made[0])
        (key,) = folder.glob("*-key.pem")
        for path in (folder, key):
            self.assertEqual(path.stat().st_mode & 0o77, 0)
        database.forget()
        self.assertFalse(folder.exists())
