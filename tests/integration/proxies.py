"""nginx, HAProxy and Caddy with the files under ``config/``, as processes of a test."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from unittest import SkipTest

from attrs import define, field

from .certificates import Authority
from .ports import free_port

__all__ = ["BLOCKED", "Proxy", "caddy", "haproxy", "nginx"]

CONFIG = Path(__file__).parents[2] / "config"
#: Seconds in which a proxy has to start, and to stop.
PATIENCE = 60.0

Changes = Iterable[tuple[str, str]]

#: For nginx: no WebSocket passes.
BLOCKED = [
    ("proxy_buffering off;", "proxy_buffering off; if ($http_upgrade) { return 403; }")
]


def program(name: str) -> str:
    """Return the path of a proxy; not every user has it in the search path."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        raise SkipTest(f"{name} is not installed")
    return found


def changed(text: str, changes: Changes) -> str:
    """Return *text* with each first replaced by its second, which must be there."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def enabled(text: str, part: str) -> str:
    """Return *text* with the part that begins so no longer commented out."""
    whole = re.compile(
        rf"(?m)^(\s*)#({re.escape(part)}.*)((?:\n\s*#(?:(?:  |\t).*|\}}))*)"
    )
    assert len(whole.findall(text)) == 1, part
    return whole.sub(lambda found: re.sub(r"(?m)^(\s*)#", r"\1", found[0]), text)


@define(eq=False)
class Proxy:
    """A proxy on free ports of the loopback.

    ``configure`` makes the text of its file from that under ``config/``.
    """

    name: str
    configure: Callable[["Proxy"], str]
    arguments: Callable[[str, str], Sequence[str]]
    #: HTTP/1.1 without TLS; for clients that are simple.
    port: int = field(factory=free_port, init=False)
    #: As browsers find it.
    tls_port: int = field(factory=free_port, init=False)
    #: HTTP/2 without TLS.
    h2c_port: int = field(factory=free_port, init=False)
    #: The port that redirects HTTP to HTTPS.
    plain_port: int = field(factory=free_port, init=False)
    authority: Authority = field(factory=Authority, init=False)
    folder: Path = field(init=False)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="proxy-test-"))
        cert, key, _ = self.authority.files(self.folder, "localhost", "127.0.0.1")
        (self.folder / "both.pem").write_text(cert.read_text() + key.read_text())
        (self.folder / "config").write_text(self.configure(self))

    def _command(self) -> list[str]:
        folder = str(self.folder)
        path = str(self.folder / "config")
        return [program(self.name), *self.arguments(folder, path)]

    def check(self) -> str:
        """Return the proxy's complaints about its file."""
        flag = {"nginx": "-t", "haproxy": "-c"}.get(self.name)
        command = [*self._command(), flag] if flag else self._command()
        if self.name == "caddy":
            command[1] = "validate"
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        return done.stderr if done.returncode else ""

    def start(self) -> "Proxy":
        """Start, and wait until it listens."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    said = self.log()
                    self.close()
                    raise AssertionError(f"the proxy did not start:\n{said}") from None
            time.sleep(0.02)

    def log(self) -> str:
        """Return the log of the proxy."""
        return (self.folder / "log").read_text(errors="replace")

    def close(self) -> None:
        """Leave nothing behind."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _configured(name: str, changes: Changes, parts: Iterable[str], own: Changes) -> str:
    text = (CONFIG / name).read_text()
    for part in parts:
        text = enabled(text, part)
    return changed(changed(text, own), changes)


def nginx(
    nodes: Sequence[int],
    changes: Changes = (),
    parts: Iterable[str] = (),
    grpc: int = 11000,
) -> Proxy:
    """Return an nginx in front of nodes that listen on these ports.

    :param changes: further replacements in the file.
    :param parts: commented lines to enable.
    :param grpc: the port of ``uni_grpc``.
    """

    def configure(proxy: Proxy) -> str:
        here, servers = "127.0.0.1", (f"server 127.0.0.1:{each};" for each in nodes)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = [f"{kind}_temp_path {proxy.folder}/{kind};" for kind in kinds]
        listen = (
            f"listen {here}:{proxy.tls_port} ssl http2; listen {here}:{proxy.port}; "
            f"listen {here}:{proxy.h2c_port} http2;"
        )
        own = (
            ("user www-data;", "user root;" if os.getuid() == 0 else ""),
            ("worker_processes auto;", "worker_processes 2;"),
            ("worker_rlimit_nofile 65536;", ""),
            ("worker_connections 32768;", "worker_connections 500;"),
            ("/var/log/nginx/error.log", f"{proxy.folder}/log"),
            ("/var/log/nginx/access.log", f"{proxy.folder}/log"),
            ("http {", " ".join(("http {", *folders))),
            ("server 127.0.0.1:8000;", " ".join(servers)),
            ("listen 80;", f"listen {here}:{proxy.plain_port};"),
            ("listen 443 ssl http2;", listen),
            ("/etc/ssl/certs/example.com.pem", f"{proxy.folder}/cert.pem"),
            ("/etc/ssl/private/example.com.key", f"{proxy.folder}/key.pem"),
            ("127.0.0.1:11000", f"127.0.0.1:{grpc}"),
        )
        return _configured("nginx.conf", changes, parts, own)

    def arguments(folder: str, path: str) -> Sequence[str]:
        return "-p", folder, "-c", path, "-g", f"daemon off; pid {folder}/pid;"

    program("nginx")
    return Proxy("nginx", configure, arguments)


def haproxy(
    nodes: Sequence[int],
    changes: Changes = (),
    parts: Iterable[str] = (),
    grpc: int = 11000,
) -> Proxy:
    """Return a HAProxy in front of nodes; as `nginx` does."""

    def configure(proxy: Proxy) -> str:
        here = "bind 127.0.0.1"
        servers = (f"server node{p} 127.0.0.1:{p} check" for p in nodes)
        listen = (
            f"{here}:{proxy.port}\n    {here}:{proxy.h2c_port} proto h2\n"
            f"    {here}:{proxy.tls_port}"
        )
        own = (
            ("    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n", ""),
            ("log /dev/log local0", "log stdout format raw local0"),
            ("maxconn 30000", "maxconn 200"),
            ("bind :80", f"{here}:{proxy.plain_port}"),
            ("bind :443", listen),
            ("/etc/haproxy/certs/example.com.pem", f"{proxy.folder}/both.pem"),
            ("server node1 127.0.0.1:8000 check", "\n    ".join(servers)),
            ("127.0.0.1:11000", f"127.0.0.1:{grpc}"),
        )
        return _configured("haproxy.cfg", changes, parts, own)

    def arguments(folder: str, path: str) -> Sequence[str]:
        return "-db", "-f", path

    program("haproxy")
    return Proxy("haproxy", configure, arguments)


def caddy(
    nodes: Sequence[int],
    changes: Changes = (),
    parts: Iterable[str] = (),
) -> Proxy:
    """Return a Caddy in front of nodes; as `nginx` does."""

    def configure(proxy: Proxy) -> str:
        options = (
            "{\n\tadmin off\n\tskip_install_trust\n"
            f"\tstorage file_system {proxy.folder}/storage\n"
            f"\thttp_port {proxy.plain_port}\n\thttps_port {proxy.tls_port}\n}}\n\n"
        )
        own = (
            ("\nexample.com {\n", f"\n{options}(site) {{\n"),
            ("127.0.0.1:8000", " ".join(f"127.0.0.1:{each}" for each in nodes)),
        )
        text = _configured("Caddyfile", changes, parts, own)
        files = f"{proxy.folder}/cert.pem {proxy.folder}/key.pem"
        tls = proxy.tls_port
        for address, own_lines in (
            (f"http://:{proxy.port}", ""),
            (f"https://localhost:{tls}, https://127.0.0.1:{tls}", f"\ttls {files}\n"),
        ):
            text += f"\n{address} {{\n\tbind 127.0.0.1\n{own_lines}\timport site\n}}\n"
        return text

    def arguments(folder: str, path: str) -> Sequence[str]:
        return "run", "--config", path, "--adapter", "caddyfile"

    program("caddy")
    return Proxy("caddy", configure, arguments)
