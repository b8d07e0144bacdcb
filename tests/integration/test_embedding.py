"""The examples of embedding in the documentation, as an application runs them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from twisted.trial.unittest import SynchronousTestCase

from .ports import free_port, is_listening
from .redis_servers import any_server, shared
from .sdk import SDK, shared_sdk
from .test_python_sdk import PYTHON_SDK
from .websocket import WebSocket

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "embedding"
#: Seconds that anything may take.
PATIENCE = 60.0


class Example:
    """A running example, which serves WebSockets on a port of its own."""

    def __init__(self, port: int, *command: str, **environment: str) -> None:
        self.port, self.url = port, f"ws://127.0.0.1:{port}/connection"
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, "PORT": str(port), **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_listening(self) -> None:
        """Wait until the port answers, or the example has ended."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and not is_listening(self.port):
            assert time.monotonic() < end, "the example does not listen"
            time.sleep(0.05)

    def end(self) -> tuple[int, str]:
        """Wait for its end; return its code, and what it complained of."""
        _, complaints = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, complaints

    def __enter__(self) -> "Example":
        self.wait_until_listening()
        return self

    def __exit__(self, *reason: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        assert self.process.stderr is not None
        if not self.process.stderr.closed:
            self.process.communicate()


class ExampleCase(SynchronousTestCase):
    """Leads centrifuge-python."""

    def setUp(self) -> None:
        self.sdk: SDK = shared_sdk(PYTHON_SDK)
        self.addCleanup(self.sdk.reset)

    def connect(self, example: Example, client: str = "a", token: str = "") -> None:
        """Connect a client."""
        self.sdk.order("connect", client=client, url=example.url, token=token)
        self.sdk.expect("connected", client=client)

    def subscribe(self, channel: str, client: str = "a") -> None:
        """Subscribe a client."""
        self.sdk.order("subscribe", client=client, channel=channel)
        self.sdk.expect("subscribed", client=client, channel=channel)

    def heard(self, client: str = "a") -> Any:
        """Return the data of the next publication."""
        return self.sdk.expect("publication", client=client)["data"]


class ExampleTests(ExampleCase):
    """Subscribers of the examples receive publications, and a stop is clean."""

    def listen_and_stop(self, *command: str, port: int, path: str = "") -> None:
        """Listen to an example; then stop it as an operator would."""
        with Example(port, *command) as example:
            example.url += path
            self.connect(example)
            self.subscribe("news")
            self.assertEqual(self.heard(), {"text": "hello"})
            example.process.send_signal(signal.SIGTERM)
            # The node says goodbye before the process ends.
            again = self.sdk.expect("connecting", client="a", code=3001)
            self.assertEqual(again["reason"], "shutdown")
            self.sdk.order("disconnect", client="a")
            code, complaints = example.end()
        # twistd ends by the signal that it has received.
        self.assertIn(code, (0, -signal.SIGTERM), complaints)
        self.assertNotIn("Traceback", complaints)

    def test_plain(self) -> None:
        """A node in memory."""
        port = free_port()
        self.listen_and_stop(str(EXAMPLES / "plain.py"), str(port), port=port)

    def test_twistd(self) -> None:
        """A service of twistd."""
        twistd = str(Path(sys.executable).with_name("twistd"))
        options = "--nodaemon", "--pidfile=", "--python"
        command: Sequence[str] = twistd, *options, str(EXAMPLES / "service.tac")
        self.listen_and_stop(*command, port=free_port())

    def test_asyncio_reactor(self) -> None:
        """Tasks of asyncio await a node on the loop that Twisted's reactor runs."""
        port = free_port()
        program = str(EXAMPLES / "asyncio_reactor.py")
        self.listen_and_stop(program, str(port), port=port)

    def test_whole_server(self) -> None:
        """The server of a configuration file, whose node the application uses."""
        port = free_port()
        config = {
            "http_server": {"address": "127.0.0.1", "port": port},
            "client": {"allow_anonymous_connect_without_token": True},
            "channel": {
                "without_namespace": {
                    "allow_subscribe_for_client": True,
                    "allow_subscribe_for_anonymous": True,
                }
            },
        }
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(config, file)
            file.flush()
            program = str(EXAMPLES / "whole_server.py")
            self.listen_and_stop(program, file.name, port=port, path="/websocket")

    def test_klein(self) -> None:
        """A view of Klein publishes, and a route of Klein serves clients."""
        program, port = str(EXAMPLES / "klein_app.py"), free_port()
        with Example(port, program, str(port)) as example:
            self.connect(example)
            self.subscribe("news")
            address = f"http://127.0.0.1:{port}/messages"
            with urlopen(address, b'{"text": "hi"}', timeout=PATIENCE) as response:
                self.assertEqual(response.read(), b"published\n")
            self.assertEqual(self.heard(), {"text": "hi"})
            self.sdk.order("disconnect", client="a")

    def test_redis(self) -> None:
        """Two processes share Redis: each sends the messages of the other."""
        address = shared(any_server()).address
        program, first, second = (
            str(EXAMPLES / "with_redis.py"),
            free_port(),
            free_port(),
        )
        with (
            Example(first, program, str(first), address),
            Example(second, program, str(second), address) as other,
        ):
            self.connect(other)
            self.subscribe("news")
            texts: set[str] = set()
            while len(texts) < 2:
                texts.add(self.heard()["text"])
            self.sdk.order("disconnect", client="a")
        wanted = {f"hello from port {each}" for each in (first, second)}
        self.assertEqual(texts, wanted)

    def test_redis_away(self) -> None:
        """Without Redis the example ends, and says why."""
        program, port = str(EXAMPLES / "with_redis.py"), free_port()
        nobody = f"redis://127.0.0.1:{free_port()}"
        with Example(port, program, str(port), nobody) as example:
            code, complaints = example.end()
        self.assertEqual(code, 1)
        self.assertIn("Redis is away", complaints)
        self.assertNotIn("Traceback", complaints)


class AuthenticationTests(ExampleCase):
    """The example with users."""

    def test_users(self) -> None:
        """Only sessions connect; a user writes into the room of the user alone."""
        program, port = str(EXAMPLES / "with_authentication.py"), free_port()
        with Example(port, program, str(port)) as example:
            self.connect(example, token="secret-of-ann")
            self.subscribe("room:ann")
            self.sdk.ask("publish", client="a", channel="room:ann", data={"n": 1})
            self.assertEqual(self.heard(), {"n": 1})
            refused = self.sdk.ask(
                "publish", client="a", channel="room:bob", data={"n": 2}
            )
            self.assertEqual(refused, 1001)
            answer = self.sdk.ask("rpc", client="a", method="shout", data="hi")
            self.assertEqual(answer, "HI")
            self.sdk.order("connect", client="b", url=example.url, token="guessed")
            ended = self.sdk.expect("disconnected", client="b")
            self.assertEqual(ended["code"], 4501)


class ASGIExampleTests(ExampleCase):
    """The examples with asyncio, under uvicorn."""

    def example(self, name: str, **environment: str) -> Example:
        """Return a running example."""
        port = free_port()
        uvicorn = "-m", "uvicorn", f"--app-dir={EXAMPLES}", f"--port={port}"
        example = Example(port, *uvicorn, f"{name}:app", **environment)
        example.url = f"ws://127.0.0.1:{port}/connection/websocket"
        return example

    def request(self, example: Example, path: str, data: Any = None) -> Any:
        """Send a request to the application; return its JSON."""
        body = None if data is None else json.dumps(data).encode()
        request = Request(
            f"http://127.0.0.1:{example.port}{path}",
            body,
            {"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)

    def test_fastapi(self) -> None:
        """Views publish and read; a client hears, and is told of the end."""
        with self.example("fastapi_app") as example:
            self.connect(example)
            self.subscribe("news")
            answer = self.request(example, "/messages", {"text": "hi"})
            self.assertEqual(answer, {"offset": 1})
            self.assertEqual(self.heard(), {"text": "hi"})
            self.assertEqual(self.request(example, "/messages"), [{"text": "hi"}])
            example.process.send_signal(signal.SIGTERM)
            self.sdk.expect("connecting", client="a")
            self.sdk.order("disconnect", client="a")
            code, complaints = example.end()
        self.assertIn(code, (0, -signal.SIGTERM), complaints)
        self.assertNotIn("Traceback", complaints)

    def test_redis(self) -> None:
        """A message of one process reaches the clients of the other."""
        redis = shared(any_server()).address
        with (
            self.example("fastapi_redis", REDIS=redis) as first,
            self.example("fastapi_redis", REDIS=redis) as second,
        ):
            self.connect(second)
            self.subscribe("news")
            self.request(first, "/messages", {"text": "from the other"})
            self.assertEqual(self.heard(), {"text": "from the other"})
            self.sdk.order("disconnect", client="a")

    def test_redis_away(self) -> None:
        """Without Redis the application does not start."""
        nobody = f"redis://127.0.0.1:{free_port()}"
        with self.example("fastapi_redis", REDIS=nobody) as example:
            code, complaints = example.end()
        self.assertEqual(code, 3, complaints)
        self.assertIn("Application startup failed", complaints)

    def test_django(self) -> None:
        """The users of Django's sessions are the users of the connections."""
        with self.example("django_app") as example:
            with urlopen(f"http://127.0.0.1:{example.port}/login/ann") as response:
                cookie = response.headers["Set-Cookie"].partition(";")[0]
            socket = WebSocket(example.port, {"Cookie": cookie})
            connected = socket.ask({"id": 1, "connect": {}})
            self.assertIn("client", connected["connect"])
            socket.ask({"id": 2, "subscribe": {"channel": "news"}})
            self.assertEqual(self.request(example, "/greet"), {"clients": 1})
            push = socket.receive()["push"]
            self.assertEqual(push["pub"]["data"], {"text": "hello"})
            socket.close()
            stranger = WebSocket(example.port)
            stranger.send({"id": 1, "connect": {}})
            self.assertEqual(stranger.closing(), (4501, "not logged in"))
