"""Files of certificates that change, and certificates that expire."""

import datetime
import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.certificate_renewal import (
    DAY,
    EXPIRY_INTERVAL,
    WATCH_INTERVAL,
    CertificateExpiry,
    ExpiryWarning,
    FileWatch,
    own_certificates,
    with_new_files,
)
from centrifugo_tx.config.load import load
from centrifugo_tx.config.model import Config
from centrifugo_tx.errors import ConfigError
from centrifugo_tx.tls import expires_at

from .config.test_check import config_of
from .integration.certificates import Authority


class WatchTests(SynchronousTestCase):
    """Which changes of files count, and when."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.changes = 0
        self.paths = [self.mktemp(), self.mktemp()]
        for path in self.paths:
            Path(path).write_text("a")
        self.watch = FileWatch(self.clock, self.count)
        self.watch.watch(self.paths)
        self.watch.startService()
        self.addCleanup(self.watch.stopService)

    def count(self) -> None:
        """Count the changes."""
        self.changes += 1

    def look(self, changes: int) -> None:
        """Let the watch check again; assert how many changes it has reported."""
        self.clock.advance(WATCH_INTERVAL)
        self.assertEqual(self.changes, changes)

    def test_both(self) -> None:
        """Files that are written one after the other are one change."""
        first, second = map(Path, self.paths)
        self.look(0)
        self.look(0)
        first.write_text("bc")
        self.look(0)
        second.write_text("de")
        self.look(0)
        self.look(1)
        self.look(1)

    def test_same_size(self) -> None:
        """A new time is a change, and so is another file behind a link."""
        first, second = map(Path, self.paths)
        os.utime(first, ns=(0, 0))
        self.look(0)
        self.look(1)
        link = Path(self.mktemp())
        link.symlink_to(first.absolute())
        self.watch.watch([str(link)])
        self.look(1)
        self.look(1)
        link.unlink()
        link.symlink_to(second.absolute())
        self.look(1)
        self.look(2)

    def test_gone(self) -> None:
        """A file that goes away is a change, and its return is the next."""
        first = Path(self.paths[0])
        first.unlink()
        self.look(0)
        self.look(1)
        first.write_text("a")
        self.look(1)
        self.look(2)


class NewFilesTests(SynchronousTestCase):
    """The configuration, with files that have changed."""

    def setUp(self) -> None:
        authority = Authority()
        folder = Path(self.mktemp())
        folder.mkdir()
        paths = authority.files(folder, "localhost")
        self.cert, self.key, _ = map(str, paths)
        tls = {"enabled": True, "cert_pem": self.cert, "key_pem": self.key}
        file = folder / "config.yaml"
        file.write_text(f"http_server: {{tls: {tls}}}".replace("True", "true"))
        self.loaded = load(str(file), {})
        self.renewed = authority.issue("localhost")

    def test_paths(self) -> None:
        """Loading records which options are files; inline PEM is not."""
        self.assertEqual(
            self.loaded.pem_files,
            {
                "http_server.tls.cert_pem": self.cert,
                "http_server.tls.key_pem": self.key,
            },
        )
        inline = {"CENTRIFUGO_HTTP_SERVER_TLS_CERT_PEM": self.renewed[0]}
        self.assertEqual(load("", inline).pem_files, {})

    def test_renewed(self) -> None:
        """The new contents of files replace the old, and only these."""
        for path, text in zip((self.cert, self.key), self.renewed, strict=True):
            Path(path).write_text(text)
        config = with_new_files(self.loaded.config, self.loaded.pem_files)
        tls = config.http_server.tls
        self.assertEqual((tls.cert_pem, tls.key_pem), self.renewed)
        self.assertEqual(config.client, self.loaded.config.client)

    def test_lists(self) -> None:
        """Options inside lists are replaced at their place."""
        proxies = [
            {"name": "a", "endpoint": "http://a"},
            {"name": "b", "endpoint": "http://b"},
        ]
        config = config_of({"proxies": proxies})
        files = {"proxies.[1].http.tls.server_ca_pem": self.cert}
        changed = with_new_files(config, files)
        self.assertEqual(changed.proxies[0], config.proxies[0])
        self.assertEqual(
            changed.proxies[1].http.tls.server_ca_pem, Path(self.cert).read_text()
        )

    def test_broken(self) -> None:
        """A file that is gone or holds no PEM is named with its option."""
        Path(self.cert).unlink()
        Path(self.key).write_text("nothing")
        error = self.assertRaises(
            ConfigError, with_new_files, self.loaded.config, self.loaded.pem_files
        )
        first, second = str(error).split("\n")
        self.assertIn(f"http_server.tls.cert_pem: '{self.cert}' must be PEM", first)
        self.assertIn(f"http_server.tls.key_pem: '{self.key}' is the path", second)


class ExpiryTests(SynchronousTestCase):
    """Days to the end of a certificate, and warnings before."""

    def setUp(self) -> None:
        self.pem, self.key = Authority().issue("localhost")
        self.end = expires_at(self.pem)
        self.clock = Clock()

    def test_end(self) -> None:
        """The first certificate of a chain to expire counts."""
        left = self.end - datetime.datetime.now(datetime.UTC).timestamp()
        self.assertTrue(3500 < left < 3700, left)
        self.assertEqual(expires_at(self.pem + Authority().pem), self.end)

    def test_sections(self) -> None:
        """Sections that serve TLS have certificates that count."""
        tls = {"enabled": True, "cert_pem": self.pem, "key_pem": self.key}
        config = config_of({"http_server": {"tls": tls}, "uni_grpc": {"tls": tls}})
        self.assertEqual(own_certificates(config), {"http_server.tls": self.pem})
        self.assertEqual(own_certificates(Config()), {})

    def test_told(self) -> None:
        """The days are reported at the start, every hour, and for a new certificate."""
        told: list[tuple[str, float]] = []
        expiry = CertificateExpiry(self.clock, lambda *told_of: told.append(told_of))
        expiry.watch({"a": self.pem})
        self.clock.advance(self.end - 2 * DAY)
        expiry.startService()
        self.clock.advance(EXPIRY_INTERVAL)
        expiry.watch({"b": self.pem})
        expiry.stopService()
        self.assertEqual([name for name, _ in told], ["a", "a", "b"])
        self.assertAlmostEqual(told[0][1], 2.0)
        self.assertAlmostEqual(told[1][1], 2.0 - 1 / 24)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_warnings(self) -> None:
        """One line a day from 14 days before the end, errors after it."""
        logged: list[LogEvent] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        warning = ExpiryWarning()
        for days in (30, 14.0, 13.9, 13.5, 13.0, 12.9, 0.5, -0.1, -0.5, 90, 13.9):
            warning("http_server.tls", days)
        self.assertEqual(
            [formatEvent(event).rpartition(" of ")[2] for event in logged],
            [
                *(f"http_server.tls expires in {days} days" for days in (13, 12, 0)),
                "http_server.tls has expired",
                "http_server.tls expires in 13 days",
            ],
        )
        levels = [event["log_level"] for event in logged]
        self.assertEqual(levels[2:4], [LogLevel.warn, LogLevel.error])
