"""The doctor's findings about a real server, real proxies and a real Redis."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from centrifugo_tx.config.model import Config
from centrifugo_tx.doctor import Examination, Finding, site_of

from ..config.test_check import config_of
from .proxies import Changes, Proxy, nginx
from .redis_servers import Server as Redis
from .redis_servers import any_server, free_port, shared, valkey
from .server import SECRET, shared_server

SCRIPT = [sys.executable, "-m", "centrifugo_tx"]
PAGE = Path(__file__).parents[2] / "docs" / "doctor.rst"
#: Seconds that each answer may take.
TIMEOUT = 30.0
#: The same where an answer is held back, so that a test waits that long.
HELD_BACK = 5.0

_OPTIONS: dict[str, Any] = {
    "client": {
        "allowed_origins": ["https://*.example.com"],
        "ping_interval": "25s",
        "token": {"hmac_secret_key": SECRET},
    },
    "sse": {"enabled": True},
    "http_stream": {"enabled": True},
    "prometheus": {"enabled": True},
    "swagger": {"enabled": True},
    "debug": {"enabled": True},
    "admin": {"enabled": True, "password": SECRET, "secret": SECRET},
}
_NO_UPGRADE = [
    ("proxy_set_header Upgrade $http_upgrade;", ""),
    ("proxy_set_header Connection $connection_upgrade;", ""),
]
#: nginx passes each chunk on, and so buffers only where there are none.
_BUFFERING = [
    (
        "proxy_buffering off;",
        "proxy_buffering on; proxy_http_version 1.0;"
        " proxy_ignore_headers X-Accel-Buffering;",
    )
]


class DoctorCase(TestCase):
    """Examines with a machine about which nothing can be read."""

    timeout = 240

    async def examine(self, config: Config, url: str = "", **how: Any) -> list[Finding]:
        """Return what is not right with the server at a URL, and with Redis."""
        from twisted.internet import reactor

        found: list[Finding] = []
        root = Path(self.mktemp())
        site = site_of(url, config, how.pop("ca", ""), TIMEOUT)
        examination = Examination(reactor, config, site, root=root, **how)
        await examination.run(found.append)
        self.good = [each for each in found if each.level == "ok"]
        return [
            each for each in found if each.level != "ok" and each.check != "open files"
        ]


class ServerTests(DoctorCase):
    """A server, alone and behind nginx."""

    def setUp(self) -> None:
        self.server = shared_server("doctor", _OPTIONS)
        own = {"http_server": {"address": "127.0.0.1", "port": self.server.port}}
        self.config = config_of({**_OPTIONS, **own})

    def proxy(self, changes: Changes = ()) -> Proxy:
        """Return a running nginx, with the file under ``config/`` and these changes."""
        proxy = nginx([self.server.port], changes)
        self.addCleanup(proxy.close)
        return proxy.start()

    async def behind(self, changes: Changes, **how: Any) -> list[Finding]:
        """Return the findings through an nginx, over HTTP without TLS."""
        url = f"http://127.0.0.1:{self.proxy(changes).port}"
        return await self.examine(self.config, url, **how)

    async def test_direct(self) -> None:
        """Nothing is wrong with a server on the address of its configuration."""
        self.assertEqual(await self.examine(self.config), [])
        checked = {each.check for each in self.good}
        self.assertLessEqual({"websocket", "token", "origin", "sse"}, checked)
        self.assertIn("http_stream", checked)
        self.assertEqual(self.server.complaints(), [])

    async def test_nginx(self) -> None:
        """Nothing is wrong behind nginx with the file that the project ships."""
        self.assertEqual(await self.behind([]), [])
        self.assertIn("exposure", {each.check for each in self.good})

    async def test_compression(self) -> None:
        """An nginx that compresses streams is found, since it may hold them back."""
        changes = [("gzip off;", "gzip on; gzip_proxied any; gzip_types *;")]
        found = await self.behind(changes)
        self.assertEqual([each.check for each in found], ["sse", "http_stream"])
        for each in found:
            self.assertIn("gzip off", each.remedy)

    async def test_no_upgrade(self) -> None:
        """An nginx without the headers of the upgrade is found."""
        [found] = await self.behind(_NO_UPGRADE)
        self.assertEqual((found.check, found.level), ("websocket", "problem"))
        self.assertIn("HTTP 426 instead of WebSocket", found.message)
        self.assertIn("proxy_set_header Upgrade", found.remedy)

    async def test_no_path(self) -> None:
        """An nginx that does not pass the emulation endpoint is found."""
        found = await self.behind([("location = /emulation", "location = /other")])
        self.assertEqual([each.check for each in found], ["sse", "http_stream"])
        self.assertIn("/emulation: HTTP 404", found[0].message)

    async def test_origin(self) -> None:
        """An nginx that does not pass the origin lets every page in."""
        changes = [
            ("proxy_set_header Host $host;", 'proxy_set_header Origin "";'),
        ]
        [found] = await self.behind(changes)
        self.assertEqual((found.check, found.level), ("origin", "problem"))
        self.assertIn("Origin header", found.remedy)

    async def test_other_origin(self) -> None:
        """A page of an origin that no pattern allows cannot connect."""
        [found] = await self.behind([], origin="https://example.org")
        self.assertIn("pages of https://example.org cannot connect", found.message)
        self.assertIn("client.allowed_origins", found.remedy)

    async def test_idle_timeout(self) -> None:
        """An nginx with an idle timeout below the ping interval is found."""
        changes = [("proxy_read_timeout 60s;", "proxy_read_timeout 1s;")]
        [found] = await self.behind(changes, slow=True)
        self.assertEqual((found.check, found.level), ("idle timeout", "problem"))
        self.assertIn("proxy_read_timeout", found.remedy)

    async def test_certificate(self) -> None:
        """One that ends soon is a warning; one that nobody trusts ends the checks."""
        proxy = self.proxy()
        url = f"https://localhost:{proxy.tls_port}"
        ca = str(proxy.folder / "ca.pem")
        [found] = await self.examine(self.config, url, ca=ca)
        self.assertEqual((found.check, found.level), ("certificate", "warning"))
        self.assertIn("expires in 0 days", found.message)
        [found] = await self.examine(self.config, url)
        self.assertEqual((found.check, found.level), ("certificate", "problem"))
        self.assertIn("--ca", found.remedy)
        self.assertNotIn("token", {each.check for each in self.good})
        url = f"https://127.0.0.2:{proxy.tls_port}"
        [found] = await self.examine(self.config, url, ca=ca)
        self.assertEqual(found.check, "server")

    async def test_exposed(self) -> None:
        """Internal endpoints on the public port are found, by how open they are."""
        url = f"http://127.0.0.1:{self.server.port}"
        found = await self.examine(self.config, url)
        self.assertEqual({each.check for each in found}, {"exposure"})
        self.assertEqual(
            [(each.level, each.message.split(url)[0]) for each in found],
            [
                ("warning", "the server API is at "),
                ("warning", "everybody can read the metrics at "),
                ("warning", "the admin page is at "),
                ("problem", "everybody can inspect the process at "),
                ("warning", "everybody can read the description of the API at "),
            ],
        )

    async def test_other_key(self) -> None:
        """A server that runs with another key does not accept the token."""
        config = config_of({"client": {"token": {"hmac_secret_key": "x" * 40}}})
        url = f"http://127.0.0.1:{self.proxy().port}"
        found = await self.examine(config, url)
        self.assertEqual(found[0].check, "token")
        self.assertIn("3500: invalid token", found[0].message)

    async def test_no_server(self) -> None:
        """Nobody listens: one problem."""
        [found] = await self.examine(self.config, f"http://127.0.0.1:{free_port()}")
        self.assertEqual((found.check, found.level), ("server", "problem"))
        self.assertIn("connection refused", found.message)

    def test_page(self) -> None:
        """The commands of the page run, with the shown findings."""
        text = PAGE.read_text()
        commands = re.findall(r"(?m)^   (centrifugo-tx doctor .*)$", text)
        self.assertEqual(len(commands), 2)
        proxy = self.proxy([*_NO_UPGRADE, *_BUFFERING])
        url = f"http://127.0.0.1:{proxy.port}"
        tree = json.loads(self.server._path("config.json").read_text())
        del tree["debug"]  # of which there is a warning
        config = self.mktemp() + ".json"
        Path(config).write_text(json.dumps(tree))
        done = []
        for command in commands:
            words = shlex.split(command)[1:]
            shown = {"config.json": config, "https://example.com": url}
            words = [shown.get(word, word) for word in words]
            done.append(
                subprocess.run(
                    [*SCRIPT, *words, "--timeout", str(HELD_BACK)],
                    capture_output=True,
                    text=True,
                    timeout=120,
                )
            )
        first, second = done
        self.assertEqual((first.returncode, first.stderr), (2, ""))
        for level, check in (
            ("ok", "configuration"),
            ("ok", "clock"),
            ("problem", "websocket"),
            ("problem", "sse"),
        ):
            line = rf"(?m)^ *{level} +{check}: "
            self.assertRegex(text, line)
            self.assertRegex(first.stdout, line)
        for remedy in re.findall(r"(?m)^ +(remedy: .*)$", text):
            self.assertIn(remedy, first.stdout)
        self.assertRegex(first.stdout, r"(?m)^problem +http_stream: .* held back")
        self.assertRegex(first.stdout, r"3 problems, \d warnings?, \d+ ok\n$")
        said = json.loads(second.stdout)
        self.assertEqual((said.keys(), second.stderr), ({"level", "findings"}, ""))
        self.assertEqual(
            set(said["findings"][0]), {"check", "level", "message", "remedy"}
        )
        self.assertEqual(second.returncode, 2 if said["level"] == "problem" else 0)


class RedisTests(DoctorCase):
    """Redis of every kind; no server runs."""

    async def redis(self, **options: Any) -> list[Finding]:
        """Return what is not right with Redis."""
        space = {"history_size": 10, "history_ttl": "60s"}
        config = config_of(
            {
                "engine": {"type": "redis", "redis": options},
                "channel": {"without_namespace": space},
                "http_server": {"address": "127.0.0.1", "port": free_port()},
            }
        )
        found = await self.examine(config)
        self.assertEqual(found.pop().check, "server")
        return found

    async def test_good(self) -> None:
        """Round trip, version, memory and clock of a Redis are told."""
        server = shared(valkey())
        self.assertEqual(await self.redis(address=[server.address]), [])
        text = "\n".join(each.message for each in self.good)
        self.assertRegex(text, r"Valkey [\d.]+, [\d.]+ ms a round trip")
        self.assertIn("may lose history", text)
        self.assertIn(f"Redis at {server.address} has the same time", text)

    async def test_down(self) -> None:
        """One of two is down, the other is still examined."""
        dead = f"127.0.0.1:{free_port()}"
        found = await self.redis(address=[dead, shared(valkey()).address])
        self.assertEqual([(e.check, e.level) for e in found], [("redis", "problem")])
        self.assertIn(dead, found[0].message)
        self.assertIn("refused", found[0].message)
        self.assertIn("Valkey", "\n".join(each.message for each in self.good))

    async def test_mistakes(self) -> None:
        """Eviction, a replica and a wrong password are each found."""
        settings = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
        server = Redis(valkey(), settings).start()
        self.addCleanup(server.stop)
        [found] = await self.redis(address=[server.address])
        self.assertIn("allkeys-lru removes the history", found.message)
        server.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        server.call("REPLICAOF", "127.0.0.1", free_port())
        [found] = await self.redis(address=[server.address])
        self.assertIn("is a replica", found.message)
        server.call("CONFIG", "SET", "requirepass", "secret")
        [found] = await self.redis(address=[server.address], password="other")
        self.assertIn("WRONGPASS", found.message)

    async def test_sentinel(self) -> None:
        """Sentinels that are down, or do not agree, are found."""
        masters = [shared(valkey()), Redis(any_server()).start()]
        self.addCleanup(masters[1].stop)
        sentinels = [
            Redis(
                any_server(), sentinel=f"sentinel monitor m 127.0.0.1 {each.port} 1\n"
            ).start()
            for each in masters
        ]
        for each in sentinels:
            self.addCleanup(each.stop)
        first, second = (each.address for each in sentinels)

        async def check(*addresses: str, name: str = "m") -> list[str]:
            found = await self.redis(
                sentinel_address=[",".join(addresses)], sentinel_master_name=name
            )
            return [each.message for each in found]

        self.assertEqual(await check(first), [])
        self.assertIn(
            f"1 of 1 Sentinels name the master {masters[0].address}",
            [each.message for each in self.good],
        )
        [different] = await check(first, second)
        self.assertIn("name different masters", different)
        [down] = await check(first, f"127.0.0.1:{free_port()}")
        self.assertIn("refused", down)
        unknown, nobody = await check(first, name="other")
        self.assertIn("does not know the master 'other'", unknown)
        self.assertIn("no Sentinel of other at", nobody)

    async def test_cluster(self) -> None:
        """A Cluster with all slots is well; one without some is not."""
        node = Redis(any_server(), {"cluster-enabled": "yes"}).start()
        self.addCleanup(node.stop)
        node.call("CLUSTER", "ADDSLOTSRANGE", 0, 16382)
        found = await self.redis(cluster_address=[node.address])
        self.assertIn("16383 of 16384 slots", found[0].message)
        node.call("CLUSTER", "ADDSLOTSRANGE", 16383, 16383)
        while "cluster_state:ok" not in node.call("CLUSTER", "INFO").decode():
            pass
        # An address that only turns out to be that of a Cluster.
        for options in ({"cluster_address": [node.address]}, {"address": node.address}):
            self.assertEqual(await self.redis(**options), [])
            said = f"Cluster of 1 masters at {node.address}"
            self.assertIn(said, [each.message for each in self.good])


class CommandTests(TestCase):
    """The process, as scripts call it."""

    timeout = 240

    def run_doctor(self, tree: dict[str, Any], *arguments: str) -> Any:
        """Return a process that has ended."""
        path = Path(self.mktemp()).absolute().with_suffix(".json")
        path.write_text(json.dumps(tree))
        return subprocess.run(
            [*SCRIPT, "doctor", "-c", str(path), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
        )

    def test_codes(self) -> None:
        """A wrong file and a wrong URL; neither needs a server."""
        done = self.run_doctor({"engine": {"type": "x"}}, "--json")
        said = json.loads(done.stdout)
        self.assertEqual((done.returncode, said["level"]), (2, "problem"))
        self.assertIn("engine.type", said["findings"][0]["message"])
        done = self.run_doctor({}, "--url", "example.com")
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, "^centrifugo-tx: --url: 'example.com' must be")
        self.assertEqual(done.stderr.count("\n"), 1)
