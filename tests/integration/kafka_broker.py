"""A broker of Kafka in one process (KRaft), as its own jars provide it."""

import asyncio
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from unittest import SkipTest

from attrs import define, field

from .certificates import Authority
from .redis_servers import free_port

__all__ = ["PASSWORD", "USER", "KafkaBroker"]

T = TypeVar("T")

JARS = Path(__file__).parent / "kafka" / "jars"
#: Seconds that the broker has for anything.
PATIENCE = 90.0
USER, PASSWORD = "centrifugo", "a-password"
#: Names of this cluster and of its storage; anything of this form would do.
_CLUSTER, _DIRECTORY = "MkU3OEVBNTcwNTJENDM2Qg", "MkU3OEVBNTcwNTJENDM2Qw"

_MODULES = "org.apache.kafka.common.security"
_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAIN://127.0.0.1:{port},SAFE://127.0.0.1:{safe},\
CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{port},SAFE://127.0.0.1:{safe}
listener.security.protocol.map=PLAIN:PLAINTEXT,SAFE:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.safe.plain.sasl.jaas.config=\
{modules}.plain.PlainLoginModule required user_{user}="{password}";
listener.name.safe.scram-sha-512.sasl.jaas.config=\
{modules}.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={folder}/keystore.pem
log.dirs={folder}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
num.network.threads=1
num.io.threads=2
log.cleaner.enable=false
"""


@define(eq=False)
class KafkaBroker:
    """One broker, which is also its own controller."""

    port: int = field(factory=free_port)
    #: The port with TLS and logins.
    safe_port: int = field(factory=free_port)
    authority: Authority = field(factory=Authority)
    _folder: Path = field(init=False)
    _java: str = field(init=False)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        java = shutil.which("java")
        if java is None:
            raise SkipTest("Java is not installed")
        if not JARS.is_dir():
            raise SkipTest("Kafka is not there; Maven installs it by 'make test'")
        if find_spec("aiokafka") is None:
            raise SkipTest("aiokafka is not installed")
        self._java = java
        self._folder = Path(tempfile.mkdtemp(prefix="kafka-test-"))
        certificate, key = self.authority.issue("127.0.0.1")
        (self._folder / "keystore.pem").write_text(f"{key}{certificate}")
        properties = _PROPERTIES.format(
            port=self.port,
            safe=self.safe_port,
            controller=free_port(),
            folder=self._folder,
            user=USER,
            password=PASSWORD,
            modules=_MODULES,
        )
        (self._folder / "server.properties").write_text(properties)
        data = self._folder / "data"
        data.mkdir()
        (data / "meta.properties").write_text(
            f"version=1\ncluster.id={_CLUSTER}\nnode.id=1\ndirectory.id={_DIRECTORY}\n"
        )

    def _command(self, main: str, *arguments: str) -> list[str]:
        return [
            *(self._java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
            *("-cp", f"{JARS}/*", main, *arguments),
        ]

    @property
    def address(self) -> str:
        """Return where it is."""
        return f"127.0.0.1:{self.port}"

    @property
    def safe_address(self) -> str:
        """Return where it is with TLS and logins."""
        return f"127.0.0.1:{self.safe_port}"

    def start(self) -> "KafkaBroker":
        """Start, and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("kafka.Kafka", str(self._folder / "server.properties")),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            text = (self._folder / "log").read_text()
            assert self._process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
        return self

    def _answers(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        try:
            self.run(_look)
        except Exception:
            return False
        return True

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, work: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
        """Run a coroutine function with an admin client, and return its result."""

        async def run() -> T:
            from aiokafka.admin import AIOKafkaAdminClient

            admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
            try:
                await admin.start()
                return await work(admin, *arguments)
            finally:
                await admin.close()

        return asyncio.run(run())

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic."""
        self.run(_create, name, partitions)

    def produce(
        self,
        topic: str,
        *records: tuple[int, bytes],
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Append records, each with the number of its partition, in order."""

        async def produce() -> None:
            from aiokafka import AIOKafkaProducer

            producer = AIOKafkaProducer(bootstrap_servers=self.address)
            await producer.start()
            try:
                sent = [
                    await producer.send(
                        topic, value=body, partition=partition, headers=list(headers)
                    )
                    for partition, body in records
                ]
                await asyncio.gather(*sent)
            finally:
                await producer.stop()

        asyncio.run(produce())

    def committed(self, group: str) -> dict[int, int]:
        """Return the offset of each partition that *group* has committed."""
        found: dict[int, int] = self.run(_offsets, group)
        return found

    def add_scram_user(self) -> None:
        """Let `USER` log in by SCRAM."""
        command = self._command(
            *("kafka.admin.ConfigCommand", "--bootstrap-server", self.address),
            *("--alter", "--entity-type", "users", "--entity-name", USER),
            *("--add-config", f"SCRAM-SHA-512=[password={PASSWORD}]"),
        )
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)


async def _look(admin: Any) -> None:
    await admin.list_topics()


async def _create(admin: Any, name: str, partitions: int) -> None:
    from aiokafka.admin import NewTopic

    await admin.create_topics([NewTopic(name, partitions, 1)])


async def _offsets(admin: Any, group: str) -> dict[int, int]:
    found = await admin.list_consumer_group_offsets(group)
    return {where.partition: given.offset for where, given in found.items()}
