"""The process entry, which ``twistd centrifugo`` starts.

Only this module and the console script import the reactor.
"""

import faulthandler
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from attrs import define, evolve, field
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from .certificate_renewal import (
    CertificateExpiry,
    ExpiryWarning,
    FileWatch,
    own_certificates,
    with_new_files,
)
from .config.check import check, warnings
from .config.check_channels import uses_maps
from .config.flags import FLAGS
from .config.load import Loaded, load, read_dotenv
from .config.model import Config
from .config.reloading import need_restart
from .config.unsupported import ignored, refused
from .configured_ports import addresses
from .errors import ConfigError
from .interpreter import interpreter_name
from .logs import console, observer, open_log
from .process import (
    RESERVED,
    PIDFile,
    Signals,
    check_pid_file,
    exit_with,
    raise_descriptor_limit,
)
from .service import Server, build
from .socket_activation import inherited_listeners
from .systemd import SystemdNotifier
from .workers import Supervisor, check_workers, worker_count

__all__ = ["Options", "makeService"]

#: The default log file of a daemon, as in ``twistd``.
DAEMON_LOG = "twistd.log"
#: The default PID file of ``twistd``.
TWISTD_PID_FILE = "twistd.pid"
#: A limit of open files up to this number causes a warning.
FEW_FILES = 1024


class Options(UsageOptions):
    """The flags of configuration 3, as ``--name value`` and ``--name=value``."""

    synopsis = "[options]"
    optParameters = (
        ["config", "c", "config.json", "The configuration file."],
        *([flag.path, flag.short, None, ""] for flag in FLAGS),
    )

    def getUsage(self, width: int | None = None) -> str:
        """Return the help; the meanings of the flags are read only for it."""
        self.docs.update({flag.path: flag.help for flag in FLAGS})
        return str(UsageOptions.getUsage(self, width))

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the flags; exit with code 1 if they are invalid.

        ``twistd`` itself would print its help and exit with 0.
        """
        switches = {f"--{flag.path}" for flag in FLAGS if flag.is_switch}
        given = [f"{word}=true" if word in switches else word for word in options or ()]
        try:
            UsageOptions.parseOptions(self, given)
        except UsageError as error:
            sys.exit(f"error: {error}")
        if self.parent is not None:
            _choose_pid_file(self.parent)

    def flags(self) -> dict[str, str]:
        """Return the flags that were given, by path."""
        return {
            flag.path: self[flag.path] for flag in FLAGS if self[flag.path] is not None
        }


def _choose_pid_file(twistd: Any) -> None:
    """Disable the PID file of ``twistd`` in the foreground, unless one is named.

    The default needs a writable folder for each server.  A PID file that is named is
    checked here, because ``twistd`` would print a traceback if it cannot write it.
    """
    path = twistd["pidfile"]
    foreground = twistd["nodaemon"] or twistd["debug"]
    if foreground and path == TWISTD_PID_FILE:
        twistd["pidfile"] = ""
    elif path and not twistd["chroot"]:
        try:
            check_pid_file(os.path.normpath(os.path.join(twistd["rundir"], path)))
        except ConfigError as error:
            sys.exit(f"error: --pidfile: {error}")


def makeService(options: Options) -> MultiService:
    """Return the service for ``twistd``; exit if the configuration is invalid."""
    from twisted.internet import reactor

    try:
        for name, value in read_dotenv(".env").items():
            os.environ.setdefault(name, value)
        path, flags = os.path.abspath(options["config"]), options.flags()
        loaded = _load_checked(path, flags)
        log_observer = _observer(loaded.config, options.parent or {})
        return Launch(
            *(reactor, loaded, lambda: _load_checked(path, flags)),
            *(log_observer, inherited_listeners(reactor, addresses(loaded.config))),
        )
    except ConfigError as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).split("\n")))


def _load_checked(path: str, flags: Mapping[str, str]) -> Loaded:
    loaded = load(path, os.environ, flags)
    check(loaded.config)
    if lines := refused(loaded.config) + check_workers(loaded.config):
        raise ConfigError("\n".join(lines))
    return loaded


def _observer(config: Config, twistd: Mapping[str, Any]) -> ILogObserver | None:
    """Return the observer for log lines; None leaves logging to ``twistd``.

    ``log.file`` takes precedence over ``twistd --logfile``; both receive this server's
    format.  With ``--logger`` or ``--syslog`` and no ``log.file``, ``twistd`` logs in
    its own format.
    """
    path = config.log.file
    if not path:
        if twistd.get("logger") or twistd.get("syslog"):
            return None
        path = twistd.get("logfile") or ""
        if not path and not twistd.get("nodaemon", True):
            path = DAEMON_LOG
    if path and path != "-":
        try:
            return observer(config.log.level, open_log(path), colored=False)
        except OSError as error:
            raise ConfigError(
                f"log.file: {path!r} cannot be opened: {error.strerror}"
            ) from None
    stream, colored = console()
    return observer(config.log.level, stream, colored)


@define(eq=False, slots=False)
class Launch(MultiService):
    """The server as a process: log lines, PID file, signals, exit code."""

    _reactor: Any
    _loaded: Loaded
    _reload_config: Callable[[], Loaded]
    _observer: ILogObserver | None
    _inherited: Mapping[tuple[str, int], int]
    _server: Server | Supervisor = field(init=False)
    _pid_file: PIDFile = field(init=False)
    _systemd: SystemdNotifier = field(init=False)
    #: The configuration that holds, after reloads.
    _current: Loaded = field(init=False)
    _files: FileWatch = field(init=False)
    _expiry: CertificateExpiry = field(init=False)
    _ended: bool = field(default=False, init=False)
    _broken: bool = field(default=False, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        MultiService.__init__(self)
        config = self._loaded.config
        self._pid_file = PIDFile(config.pid_file)
        if worker_count(config) > 1:
            self._server = Supervisor(self._reactor, config, inherited=self._inherited)
        else:
            self._server = build(self._reactor, config, None, self._inherited)
        MultiService.addService(self, self._server)
        self._current = self._loaded
        self._files = FileWatch(self._reactor, self._reload_files)
        self._files.watch(self._loaded.pem_files.values())
        MultiService.addService(self, self._files)
        self._expiry = CertificateExpiry(self._reactor, ExpiryWarning())
        self._expiry.watch(own_certificates(config))
        MultiService.addService(self, self._expiry)
        self._systemd = SystemdNotifier(
            self._reactor, self._server.status, self._server.confirm_alive
        )

    def setServiceParent(self, parent: Any) -> None:
        """Add the log observer to ``twistd``'s application."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        MultiService.setServiceParent(self, parent)

    def startService(self) -> None:
        """Start the server, and log its configuration."""
        self._systemd.starting()
        if self._systemd.has_watchdog:
            # The watchdog ends a hanging process by SIGABRT: say where it hangs.
            faulthandler.enable(2)
        self._log_environment()
        try:
            self._pid_file.write()
        except ConfigError as error:
            self._log.critical("cannot start: {reason}", reason=str(error))
            sys.exit(1)
        self._raise_limit()
        signals = Signals(self._reactor, self._stop_reactor, self._reload)
        self._reactor.callWhenRunning(signals.install)
        MultiService.startService(self)
        self._server.started.addCallbacks(self._started, self._failed)
        if self._broken:
            sys.exit(1)

    def _log_environment(self) -> None:
        loaded, config = self._loaded, self._loaded.config
        if loaded.found:
            self._log.info("using config file", path=loaded.path)
        else:
            self._log.warn(
                "config file not found, continue using environment and flag options",
                path=loaded.path,
            )
        backends: dict[str, str] = {}
        if not (config.broker.enabled and config.presence_manager.enabled):
            backends["engine"] = config.engine.type
        if config.broker.enabled:
            backends["broker"] = config.broker.type
        if config.presence_manager.enabled:
            backends["presence_manager"] = config.presence_manager.type
        if uses_maps(config):
            backends["map_broker"] = config.map_broker.type
        self._log.info(
            "starting Centrifugo",
            version=version("centrifugo-tx"),
            runtime=interpreter_name(),
            pid=os.getpid(),
            **backends,
        )

    def _raise_limit(self) -> None:
        files = raise_descriptor_limit()
        clients = max(0, files - RESERVED)
        say = self._log.warn if files <= FEW_FILES else self._log.info
        say(
            "the limit of open files allows {clients} clients",
            clients=clients,
            files=files,
        )

    def _started(self, _: object) -> None:
        """Notify systemd; warn of unsafe, unknown, outdated and ineffective options."""
        self._systemd.ready()
        loaded = self._loaded
        for key in loaded.unknown_keys:
            self._log.warn("unknown key in configuration file", key=key)
        for name in loaded.unknown_variables:
            self._log.warn("unknown var in environment", var=name)
        for line in (
            *loaded.renamed,
            *loaded.converted,
            *ignored(loaded.config),
            *warnings(loaded.config),
        ):
            self._log.warn("{line}", line=line)

    def _failed(self, failure: Failure) -> None:
        self._log.critical("cannot start: {reason}", reason=failure.getErrorMessage())
        self._pid_file.remove()
        self._broken = True
        if self._reactor.running:
            exit_with(1)
            self._stop_reactor()

    def _reload(self) -> None:
        """Apply the options of the configuration that can change.

        See configuration rules, "Reload".
        """
        self._systemd.reloading()
        try:
            loaded = self._reload_config()
            self._server.reload(loaded.config)
        except ConfigError as error:
            self._log.error("configuration not reloaded: {reason}", reason=str(error))
        else:
            self._log.info("configuration reloaded")
            for key in need_restart(self._loaded.config, loaded.config):
                self._log.warn("changed option needs a restart", key=key)
            self._current = loaded
            self._files.watch(loaded.pem_files.values())
            self._expiry.watch(own_certificates(loaded.config))
        self._systemd.reloaded()

    def _reload_files(self) -> None:
        """Take over PEM files that have changed, and nothing else."""
        loaded = self._current
        try:
            config = with_new_files(loaded.config, loaded.pem_files)
            check(config)
        except ConfigError as error:
            reason = str(error).replace("\n", "; ")
            self._log.error("certificates not reloaded: {reason}", reason=reason)
            return
        self._current = evolve(loaded, config=config)
        self._server.reload(config)
        self._expiry.watch(own_certificates(config))
        self._log.info("certificates reloaded")

    def _stop_reactor(self) -> None:
        if not self._ended:
            self._ended = True
            self._log.info("shutting down")
            self._systemd.stopping(self._loaded.config.shutdown.timeout)
            self._reactor.stop()

    def stopService(self) -> "Deferred[None]":
        """Stop gracefully, within ``shutdown.timeout``.

        See operations, "Signals and shutdown".
        """
        self._ended = True
        stopped: Deferred[None] = maybeDeferred(MultiService.stopService, self)
        stopped.addErrback(self._log_failure)
        stopped.addTimeout(
            self._loaded.config.shutdown.timeout,
            self._reactor,
            self._exit_after_timeout,
        )
        return stopped.addCallback(lambda _: self._clean_up())

    def _clean_up(self) -> None:
        self._systemd.stop()
        self._pid_file.remove()

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure("error while stopping", failure)

    def _exit_after_timeout(self, _: object, timeout: float) -> None:
        self._log.critical("shutdown timeout reached", timeout=timeout)
        exit_with(1)
