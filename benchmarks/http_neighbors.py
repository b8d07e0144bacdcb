"""The duration of one client's requests while another connection attacks.

``python -m benchmarks.http_neighbors ATTACK PORT FOLDER`` is the attacker: it runs
until it is killed, and reconnects when it is disconnected.
"""

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from threading import Thread

from .measures import Bench, Comparison, Figure
from .processes import Program, free_port

__all__ = ["http_neighbors"]

#: Seconds of one round, and the target of the 99th percentile in milliseconds.
SECONDS, LIMIT = 4.0, 100
COUNT = 100_000
QUIET = "nobody else"

_HEAD = (
    "POST /api/%s HTTP/1.1\r\nHost: h\r\nX-API-Key: key\r\nContent-Length: %d\r\n\r\n"
)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_PING = b"\0\0\x08\x06\0\0\0\0\0" + b"12345678"


def http_neighbors(bench: Bench) -> Iterator[Figure]:
    """Measure publish requests during each attack."""
    _write_certificate(bench.folder)
    rounds: dict[str, list[float]] = {QUIET: []} | {name: [] for name in ATTACKS}
    for secure in (False, True):
        port = free_port()
        with Program("server", _command(bench.folder, port, secure), port):
            _percentile(port, bench.folder, secure)  # the first does not count
            for _ in range(bench.rounds):
                if not secure:
                    rounds[QUIET].append(_percentile(port, bench.folder, secure))
                for name, (_, encrypted) in ATTACKS.items():
                    if encrypted == secure:
                        with _attacker(name, port, bench.folder):
                            time.sleep(0.5)
                            taken = _percentile(port, bench.folder, secure)
                        rounds[name].append(taken)
    yield Figure(
        "Publish requests beside another connection, 99th percentile",
        "ms",
        rounds,
        [Comparison(name, "", LIMIT, at_most=True) for name in ATTACKS],
    )


def _command(folder: Path, port: int, secure: bool) -> list[str]:
    config: dict[str, object] = {
        "http_api": {"key": "key"},
        "prometheus": {"enabled": True},
        "channel": {"without_namespace": {"history_size": 10, "history_ttl": "60s"}},
    }
    pem = str(folder / "server.pem")
    tls = {"enabled": secure, "cert_pem": pem, "key_pem": pem}
    config["http_server"] = {"address": "127.0.0.1", "port": port, "tls": tls}
    path = folder / f"{port}.json"
    path.write_text(json.dumps(config))
    twistd = str(Path(sys.executable).with_name("twistd"))
    return [twistd, "-n", "--pidfile=", "centrifugo", "--config", str(path)]


def _write_certificate(folder: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "benchmark")])
    now = datetime.now(UTC).replace(tzinfo=None)
    day = timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day)
    signed = builder.not_valid_after(now + day).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    text = signed.public_bytes(pem) + key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(text)


class _attacker:
    """The attacker, in a separate process."""

    def __init__(self, name: str, port: int, folder: Path) -> None:
        module = [sys.executable, "-m", "benchmarks.http_neighbors"]
        self._process = subprocess.Popen([*module, name, str(port), str(folder)])

    def __enter__(self) -> None:
        """Start the attacker."""

    def __exit__(self, *error: object) -> None:
        """Stop the attacker; fail if it has stopped by itself."""
        assert self._process.poll() is None, "the attack has ended by itself"
        self._process.kill()
        self._process.wait()


def _dial(port: int, folder: Path, secure: bool, protocol: str) -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", port), 30)
    if not secure:
        return plain
    context = ssl.create_default_context(cafile=str(folder / "server.pem"))
    context.check_hostname = False
    context.set_alpn_protocols([protocol])
    return context.wrap_socket(plain)


def _percentile(port: int, folder: Path, secure: bool) -> float:
    """Publish for a while; return the 99th percentile in milliseconds."""
    connection = _dial(port, folder, secure, "http/1.1")
    request = _post("publish", {"channel": "a", "data": {}})
    taken = []
    end = time.perf_counter() + SECONDS
    while (began := time.perf_counter()) < end:
        connection.sendall(request)
        answer = connection.recv(65536)
        assert b" 200 OK" in answer, answer
        taken.append((time.perf_counter() - began) * 1000)
        time.sleep(0.002)
    connection.close()
    return quantiles(taken, n=100)[98] if len(taken) > 1 else taken[0]


def _post(method: str, body: object) -> bytes:
    text = json.dumps(body).encode()
    return (_HEAD % (method, len(text))).encode() + text


def _metrics() -> bytes:
    return b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n" * 2000


def _batch() -> bytes:
    publish = {"publish": {"channel": "b", "data": {"number": 1}}}
    return _post("batch", {"commands": [publish] * COUNT})


def _broadcast() -> bytes:
    channels = [f"channel:{number}" for number in range(COUNT)]
    return _post("broadcast", {"channels": [each[8:] for each in channels], "data": {}})


def _pings() -> bytes:
    return _PREFACE + _PING * 5000


def _requests() -> bytes:
    """Requests for the metrics, abandoned at once."""
    head = b"\x82\x87\x04\x08/metrics\x01\x01h"
    frames = [_PREFACE]
    for id in range(1, 2001, 2):
        stream = id.to_bytes(4, "big")
        frames.append(len(head).to_bytes(3, "big") + b"\x01\x05" + stream + head)
        frames.append(b"\0\0\4\3\0" + stream + b"\0\0\0\x08")
    return b"".join(frames)


#: The repeated bytes of each attack, and whether it uses TLS, as HTTP/2 does.
ATTACKS: dict[str, tuple[Callable[[], bytes], bool]] = {
    "metrics": (_metrics, False),
    "batch": (_batch, False),
    "broadcast": (_broadcast, False),
    "HTTP/2 pings": (_pings, True),
    "HTTP/2 resets": (_requests, True),
}


def _read(connection: socket.socket) -> None:
    with suppress(OSError):
        while connection.recv(1 << 20):
            pass


def _attack(name: str, port: int, folder: Path) -> None:
    made, secure = ATTACKS[name]
    data = made()
    while True:
        with suppress(OSError), _dial(port, folder, secure, "h2") as connection:
            reader = Thread(target=_read, args=[connection], daemon=True)
            reader.start()
            while True:
                connection.sendall(data)
                if secure:
                    break
            reader.join()


if __name__ == "__main__":
    _attack(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
