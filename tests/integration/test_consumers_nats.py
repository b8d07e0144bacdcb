"""A stream of JetStream, in Debian's nats-server."""

import asyncio
import json
import shutil
import socket
import subprocess
import tempfile
from importlib.util import find_spec
from typing import Any
from unittest import SkipTest

from .consumer_case import ConsumerCase, blocks, lines_of, until
from .ports import free_port
from .server import Server


class JetStreamTests(ConsumerCase):
    """One node and its stream."""

    def setUp(self) -> None:
        program = shutil.which("nats-server")
        if program is None:
            raise SkipTest("nats-server is not installed")
        if find_spec("nats") is None:
            raise SkipTest("nats-py is not installed")
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="nats-test-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.command = [
            *(program, "-js", "-sd", self.folder),
            *("-a", "127.0.0.1", "-p", str(self.port)),
        ]
        self.start_nats()
        self.addCleanup(self.kill_nats)
        self.url = f"nats://127.0.0.1:{self.port}"
        self.run_commands(("add_stream", {"name": "events", "subjects": ["events.*"]}))

    def start_nats(self) -> None:
        """Start, and wait until it listens."""
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._listens, "NATS listens")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill_nats(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait()

    def run_commands(self, *commands: tuple[str, dict[str, Any]]) -> list[Any]:
        """Call methods of a JetStream context; return what they return."""

        async def run() -> list[Any]:
            import nats  # type: ignore[import-untyped]

            connection = await nats.connect(self.url)
            stream = connection.jetstream()
            found = [await getattr(stream, name)(**given) for name, given in commands]
            await connection.close()
            return found

        return asyncio.run(run())

    def publish(self, *bodies: Any, **headers: str) -> None:
        """Publish messages with these bodies and headers."""
        commands = [
            (
                "publish",
                {
                    "subject": "events.x",
                    "payload": each if isinstance(each, bytes) else _json(each),
                    "headers": headers or None,
                },
            )
            for each in bodies
        ]
        self.run_commands(*commands)

    def pending(self) -> int:
        """Return how many messages are not acknowledged yet."""
        given = {"stream": "events", "consumer": "centrifugo"}
        [info] = self.run_commands(("consumer_info", given))
        return int(info.num_pending + info.num_ack_pending)

    def stream_node(self, **more: Any) -> Server:
        """Return a node that is not started."""
        options = {
            "url": self.url,
            "stream_name": "events",
            "durable_consumer_name": "centrifugo",
            "subjects": ["events.*"],
            **more,
        }
        return self.node({"type": "nats_jetstream", "nats_jetstream": options})

    def test_commands(self) -> None:
        """Messages run in order, and are acknowledged; bad ones are skipped."""
        node = self.stream_node().start()
        requests = [{"channel": "c", "data": number} for number in range(250)]
        self.publish(*requests, **{"centrifugo-method": "publish"})
        self.publish(b"{", {"method": "publish", "payload": requests[0]})
        until(lambda: not self.pending(), "all are acknowledged")
        self.assertEqual(self.published(node, "c"), [*range(250), 0])
        self.assertEqual(len(lines_of(node, "skip malformed consumed message")), 1)
        self.assertEqual(node.stop(), 0)
        self.publish({"method": "publish", "payload": {"channel": "c", "data": "then"}})
        node.start()
        until(lambda: self.published(node, "c") == ["then"], "it goes on from there")

    def test_killed(self) -> None:
        """After a crash of NATS, and after its consumer was deleted, it goes on."""
        node = self.stream_node(deliver_policy="all").start()
        publish = {"centrifugo-channels": "c"}
        numbers = [
            {"method": "publish", "payload": {"channel": "c", "data": number}}
            for number in range(200)
        ]
        self.publish(*numbers[:100], **publish)
        self.kill_nats()
        self.start_nats()
        self.publish(*numbers[100:])
        until(
            lambda: set(self.published(node, "c")) == set(range(200)), "all have come"
        )
        given = {"stream": "events", "consumer": "centrifugo"}
        self.run_commands(("delete_consumer", given))
        until(lambda: lines_of(node, "consumer works again"), "there is one again")
        self.assertLess(len(lines_of(node, "consumer failed, trying again")), 6)

    def test_page(self) -> None:
        """The example of the page on consumers."""
        [config] = blocks("NATS JetStream", "json")
        [consumer] = json.loads(config)["consumers"]
        consumer["nats_jetstream"]["url"] = self.url
        node = self.node(consumer).start()
        [send] = blocks("NATS JetStream", "python")
        body = send[send.index("b'") : send.index("'", send.index("b'") + 2) + 1]
        self.publish(body[2:-1].encode(), **{"centrifugo-channels": "news"})
        until(
            lambda: self.published(node, "news") == [{"text": "Hello"}], "it is there"
        )

    def test_unreachable(self) -> None:
        """A stream that is not there keeps the server from starting, in one line."""
        said = self.stream_node(stream_name="other").refusal()
        [line] = [each for each in said.splitlines() if "cannot start" in each]
        self.assertIn("consumer 'source' cannot reach its source", line)
        self.assertIn("stream not found", line)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
