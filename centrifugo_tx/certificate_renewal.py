"""Certificates that change while the server runs: files to watch, days to expiry."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from attrs import define, field
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from .config.model import Config
from .config.tls_sections import tls_sections
from .config.values import read_pem
from .errors import ConfigError
from .tls import expires_at

__all__ = [
    "CertificateExpiry",
    "ExpiryWarning",
    "FileWatch",
    "own_certificates",
    "renewed_ports",
    "with_new_files",
]

#: Seconds between two looks at the files.
WATCH_INTERVAL = 2.0
#: Seconds between two measurements of the days that are left.
EXPIRY_INTERVAL = 3600.0
#: Days before the end of a certificate from which on the log warns.
WARNING_DAYS = 14
DAY = 86400.0

#: The version of a file, by its metadata; None: the file does not exist.
Stamp = tuple[int, int, int] | None


def own_certificates(config: Config) -> dict[str, str]:
    """Return the certificates (PEM) that the server shows, by section.

    Those that it shows as a client of other services are among them.
    """
    return {
        path: tls.cert_pem
        for path, tls in tls_sections(config)
        if tls.enabled and tls.cert_pem
    }


def renewed_ports(start: Config, new: Config) -> Config:
    """Return *start* with the certificates that *new* has for the server's ports.

    Which ports are encrypted stays as it was at the start.
    """
    http = start.http_server
    for name in ("tls", "internal_tls"):
        tls = getattr(new.http_server, name)
        if tls.enabled and (name == "tls" or http.internal_tls.enabled):
            http = msgspec.structs.replace(http, **{name: tls})
    changed: dict[str, Any] = {"http_server": http}
    for name in ("grpc_api", "uni_grpc"):
        section, tls = getattr(start, name), getattr(new, name).tls
        if section.tls.enabled and tls.enabled:
            changed[name] = msgspec.structs.replace(section, tls=tls)
    return msgspec.structs.replace(start, **changed)


def with_new_files(config: Config, files: Mapping[str, str]) -> Config:
    """Return *config* with the present content of its PEM files.

    :param files: the path of each file, by the option that names it.
    :raises ConfigError: a file cannot be read, or holds no PEM.
    """
    problems = []
    for option, path in files.items():
        try:
            config = _replaced(config, option.split("."), read_pem(path))
        except ValueError as error:
            problems.append(f"{option}: {path!r} {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _replaced(part: Any, path: list[str], text: str) -> Any:
    """Return *part* of a configuration with another text at *path* inside it."""
    if not path:
        return text
    first, *rest = path
    if first.startswith("["):
        items = list(part)
        index = int(first[1:-1])
        items[index] = _replaced(items[index], rest, text)
        return type(part)(items)
    inner = _replaced(getattr(part, first), rest, text)
    return msgspec.structs.replace(part, **{first: inner})


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


@define(eq=False, slots=False)
class FileWatch(Service):
    """Calls *changed* when files have changed, and have been left alone since.

    They are looked at every `WATCH_INTERVAL` seconds, links followed.  A change counts
    when the next look finds the same, so that a certificate and its key, which are
    written one after the other, are read together.
    """

    _clock: IReactorTime
    _changed: Callable[[], object]
    _known: dict[str, Stamp] = field(factory=dict, init=False)
    _last: dict[str, Stamp] = field(factory=dict, init=False)
    _loop: LoopingCall | None = field(default=None, init=False)

    def watch(self, paths: Iterable[str]) -> None:
        """Watch these files from now on; their content has just been read."""
        self._known = self._last = {path: _stamp(path) for path in paths}

    def startService(self) -> None:
        """Begin to watch."""
        Service.startService(self)
        self._loop = LoopingCall(self._check_files)
        self._loop.clock = self._clock
        self._loop.start(WATCH_INTERVAL, now=False)

    def stopService(self) -> None:
        """Watch no more."""
        Service.stopService(self)
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    def _check_files(self) -> None:
        current = {path: _stamp(path) for path in self._known}
        is_settled, self._last = current == self._last, current
        if is_settled and current != self._known:
            self._known = current
            self._changed()


@define(eq=False, slots=False)
class CertificateExpiry(Service):
    """Tells every hour in how many days each certificate expires."""

    _clock: IReactorTime
    #: Receives the section of a certificate, and the days, negative once it is over.
    _tell: Callable[[str, float], object]
    _ends: dict[str, float] = field(factory=dict, init=False)
    _loop: LoopingCall | None = field(default=None, init=False)

    def watch(self, certificates: Mapping[str, str]) -> None:
        """Watch these certificates (PEM, by section) in place of others."""
        self._ends = {name: expires_at(pem) for name, pem in certificates.items()}
        if self.running:
            self._measure()

    def startService(self) -> None:
        """Begin to tell."""
        Service.startService(self)
        self._loop = LoopingCall(self._measure)
        self._loop.clock = self._clock
        self._loop.start(EXPIRY_INTERVAL)

    def stopService(self) -> None:
        """Tell no more."""
        Service.stopService(self)
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    def _measure(self) -> None:
        for name, end in self._ends.items():
            self._tell(name, (end - self._clock.seconds()) / DAY)


@define(eq=False)
class ExpiryWarning:
    """Warns in the log, once a day, from two weeks before a certificate expires."""

    _told: dict[str, int] = field(factory=dict, init=False)
    _log = Logger()

    def __call__(self, section: str, days: float) -> None:
        left = int(days // 1)
        if left >= WARNING_DAYS:
            self._told.pop(section, None)
        elif self._told.get(section) != left:
            self._told[section] = left
            if left >= 0:
                self._log.warn(
                    "the certificate of {section} expires in {days} days",
                    section=section,
                    days=left,
                )
            else:
                self._log.error(
                    "the certificate of {section} has expired", section=section
                )
