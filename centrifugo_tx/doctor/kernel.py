"""Kernel settings that bound connections (sysctl)."""

from pathlib import Path

from ..config.model import Config
from ..web.site import BACKLOG
from ..workers import worker_count
from .findings import Finding, ok, warning

__all__ = ["check_kernel"]

_CHECK = "kernel"
#: Half-open connections, and outgoing ports, under which a burst may fail.
FEW_HALF_OPEN, FEW_PORTS = 1024, 20_000
#: Part of a kernel table beyond which it counts as nearly full.
NEARLY_FULL = 0.8


def check_kernel(config: Config, root: Path) -> list[Finding]:
    """Check the settings that can be read under ``root/proc/sys``."""
    settings = _Settings(root / "proc/sys")
    found = [
        *_check_queues(settings),
        *_check_ports(settings),
        *_check_tcp_memory(settings, config),
        *_check_tracking(settings, config),
    ]
    bad = [each for each in found if each.remedy]
    if bad:
        return bad
    if not found:
        return [ok(_CHECK, "settings are not readable here; look at them on the host")]
    return [ok(_CHECK, ", ".join(each.message for each in found))]


class _Settings:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def numbers(self, name: str) -> list[int]:
        """Return the numbers of a setting, none where it cannot be read."""
        try:
            text = (self._folder / name.replace(".", "/")).read_text()
            return [int(word) for word in text.split()]
        except (OSError, ValueError):
            return []


def _check_queues(settings: _Settings) -> list[Finding]:
    """Check how many new connections may wait until the server accepts them."""
    found = []
    for name, least in (
        ("net.core.somaxconn", BACKLOG),
        ("net.ipv4.tcp_max_syn_backlog", FEW_HALF_OPEN),
    ):
        for value in settings.numbers(name):
            said = f"{name} {value}"
            if value < least:
                said += " lets bursts of new connections wait or fail"
                found.append(warning(_CHECK, said, f"sysctl -w {name}={least}"))
            else:
                found.append(ok(_CHECK, said))
    return found


def _check_ports(settings: _Settings) -> list[Finding]:
    """Check how many connections a proxy on this machine can make to one port."""
    name = "net.ipv4.ip_local_port_range"
    bounds = settings.numbers(name)
    if len(bounds) != 2:
        return []
    ports = bounds[1] - bounds[0] + 1
    if ports >= FEW_PORTS:
        return [ok(_CHECK, f"{ports} local ports")]
    return [
        warning(
            _CHECK,
            f"{name}: a proxy on this machine can pass only {ports} clients to a port",
            f"sysctl -w {name}='1024 65535'",
        )
    ]


def _check_tcp_memory(settings: _Settings, config: Config) -> list[Finding]:
    """Check the memory of all sockets against one page for each client."""
    bounds = settings.numbers("net.ipv4.tcp_mem")
    if len(bounds) != 3:
        return []
    pages, wanted = bounds[2], _wanted(config)
    if wanted <= pages:
        return [ok(_CHECK, f"tcp_mem up to {pages * 4096 // 2**20} MiB")]
    return [
        warning(
            _CHECK,
            f"net.ipv4.tcp_mem allows {pages} pages, less than one for each of the"
            f" {wanted} clients of client.connection_limit",
            f"sysctl -w net.ipv4.tcp_mem='{wanted // 2} {wanted} {wanted * 2}'",
        )
    ]


def _check_tracking(settings: _Settings, config: Config) -> list[Finding]:
    """Check the table of connections that the packet filter keeps."""
    name = "net.netfilter.nf_conntrack_max"
    most = settings.numbers(name)
    used = settings.numbers("net.netfilter.nf_conntrack_count")
    if not most or not used or not most[0]:
        return []
    wanted = _wanted(config)
    if used[0] > NEARLY_FULL * most[0] or wanted > NEARLY_FULL * most[0]:
        clients = f"; client.connection_limit allows {wanted} clients" if wanted else ""
        return [
            warning(
                _CHECK,
                f"{name}: {used[0]} of {most[0]} connections are tracked{clients}",
                f"sysctl -w {name}={2 * max(most[0], wanted)}, or do not track it",
            )
        ]
    return [ok(_CHECK, f"{used[0]} of {most[0]} tracked connections")]


def _wanted(config: Config) -> int:
    return config.client.connection_limit * worker_count(config)
