"""Open files, memory and kernel settings, read from files of the test."""

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.model import Config
from centrifugo_tx.doctor.findings import Finding, Level
from centrifugo_tx.doctor.kernel import check_kernel
from centrifugo_tx.doctor.memory import BYTES_PER_CLIENT, check_memory
from centrifugo_tx.doctor.open_files import FileLimit, check_open_files, file_limit

from ..config.test_check import config_of


class MachineCase(SynchronousTestCase):
    """Has a root with the files that a test writes."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()

    def write(self, path: str, text: str) -> None:
        """Write a file below the root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def config(self, limit: int = 0, **more: Any) -> Config:
        """Return a configuration with a limit of connections."""
        return config_of({"client": {"connection_limit": limit}, **more})

    def assertOne(self, found: list[Finding], level: Level, text: str) -> None:
        """Check that there is one finding with this level and text."""
        self.assertEqual([each.level for each in found], [level], found)
        self.assertIn(text, found[0].message)
        self.assertEqual(bool(found[0].remedy), level is not Level.OK)


class OpenFilesTests(MachineCase):
    """The limit of open files."""

    def test_enough(self) -> None:
        """Reserved descriptors are not for clients."""
        found = check_open_files(self.config(20000), FileLimit(1024, 20064))
        self.assertOne(found, Level.OK, "room for 20000 clients")

    def test_too_few(self) -> None:
        """A limit below that of connections says how high it must be."""
        found = check_open_files(self.config(20001), FileLimit(1024, 20064))
        self.assertOne(found, Level.WARNING, "connection_limit is 20001")
        self.assertIn("at least 20065", found[0].remedy)

    def test_few(self) -> None:
        """Without a limit of connections few files are a warning."""
        found = check_open_files(self.config(), FileLimit(1024, 4096))
        self.assertOne(found, Level.WARNING, "room for 4032 clients")

    def test_workers(self) -> None:
        """Each worker has the limit for itself."""
        found = check_open_files(self.config(workers=2), FileLimit(1024, 20064))
        self.assertOne(found, Level.OK, "clients in each worker")

    def test_running_server(self) -> None:
        """The limit is that of the process in the PID file, if it runs."""
        self.write("pid", "77\n")
        pid_file = str(self.root / "pid")
        self.assertEqual(file_limit(self.root, pid_file).source, "this shell")
        line = "Max open files            1024                 unlimited     files\n"
        self.write("proc/77/limits", f"Max cpu time  1  2  s\n{line}")
        limit = file_limit(self.root, pid_file)
        self.assertEqual((limit.soft, limit.source), (1024, "process 77"))
        self.assertGreater(limit.hard, 10**9)


class MemoryTests(MachineCase):
    """Free memory."""

    def test_machine(self) -> None:
        """The machine's, where no container has less."""
        self.write("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:  1048576 kB\n")
        self.write("sys/fs/cgroup/memory.max", "max\n")
        found = check_memory(self.config(), self.root)
        self.assertOne(found, Level.OK, "1024 MiB free in the machine")

    def test_container(self) -> None:
        """The container's, if that is less."""
        self.write("proc/meminfo", "MemAvailable:  1048576 kB\n")
        self.write("sys/fs/cgroup/memory.max", str(300 * 2**20))
        self.write("sys/fs/cgroup/memory.current", str(200 * 2**20))
        found = check_memory(self.config(), self.root)
        self.assertOne(found, Level.WARNING, "100 MiB free in the container")

    def test_too_little(self) -> None:
        """More clients are allowed than have room."""
        self.write("proc/meminfo", "MemAvailable:  1048576 kB\n")
        most = 2**30 // BYTES_PER_CLIENT
        self.assertOne(check_memory(self.config(most), self.root), Level.OK, "")
        found = check_memory(self.config(most + 1), self.root)
        self.assertOne(found, Level.PROBLEM, f"allows {most + 1}")

    def test_unknown(self) -> None:
        """Where nothing says how much there is nothing is found."""
        self.assertEqual(check_memory(self.config(), self.root), [])


class KernelTests(MachineCase):
    """Settings under ``/proc/sys``."""

    def set(self, **settings: str) -> None:
        """Write settings, named without their folders."""
        folders = {"somaxconn": "net/core", "nf": "net/netfilter"}
        for name, text in settings.items():
            folder = folders.get(name, folders.get(name[:2], "net/ipv4"))
            self.write(f"proc/sys/{folder}/{name}", text)

    def good(self) -> None:
        """Write settings with which all is well."""
        self.set(somaxconn="4096\n", tcp_max_syn_backlog="2048\n")
        self.set(ip_local_port_range="32768\t60999\n", tcp_mem="100 200 1000\n")
        self.set(nf_conntrack_max="1000\n", nf_conntrack_count="10\n")

    def test_good(self) -> None:
        """One line has all of them."""
        self.good()
        found = check_kernel(self.config(800), self.root)
        self.assertOne(found, Level.OK, "net.core.somaxconn 4096, net.ipv4.tcp_max")
        self.assertIn("28232 local ports", found[0].message)

    def test_shipped_file(self) -> None:
        """The file for ``sysctl`` has settings that exist, with good values."""
        text = (
            Path(__file__).parents[2] / "config/centrifugo-tx.sysctl.conf"
        ).read_text()
        lines = [line for line in text.splitlines() if line and line[0] != "#"]
        self.assertEqual(len(lines), 4)
        for line in lines:
            name, value = line.split(" = ")
            path = "proc/sys/" + name.replace(".", "/")
            if Path("/proc/sys/net/ipv4").exists():
                self.assertTrue(Path("/", path).exists(), name)
            self.write(path, value)
        found = check_kernel(self.config(), self.root)
        self.assertOne(found, Level.OK, "net.core.somaxconn 4096")

    def test_unreadable(self) -> None:
        """A container may hide them."""
        found = check_kernel(self.config(), self.root)
        self.assertOne(found, Level.OK, "not readable")

    def test_bad(self) -> None:
        """Each bad setting is a warning with the command that mends it."""
        for name, text, said, remedy in (
            ("somaxconn", "128", "net.core.somaxconn 128", "somaxconn=4096"),
            ("tcp_max_syn_backlog", "128", "backlog 128", "tcp_max_syn_backlog=1024"),
            ("ip_local_port_range", "60000 60999", "only 1000", "range='1024 65535'"),
            ("tcp_mem", "1 2 799", "799 pages", "tcp_mem='400 800 1600'"),
            ("nf_conntrack_count", "801", "801 of 1000", "nf_conntrack_max=2000"),
            ("nf_conntrack_max", "999", "10 of 999", "nf_conntrack_max=1998"),
        ):
            self.good()
            self.set(**{name: text})
            found = check_kernel(self.config(800), self.root)
            self.assertOne(found, Level.WARNING, said)
            self.assertIn(remedy, found[0].remedy)
