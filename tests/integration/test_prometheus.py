"""A real Prometheus scrapes a busy server, and has an answer to every question."""

import json
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import yaml
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.web.metric_help import HELP

from .board_queries import BOARD
from .prometheus import Prometheus, program
from .redis_servers import shared, valkey
from .server import Server, connection_token
from .websocket import WebSocket

CONFIG = Path(__file__).parents[2] / "config"
#: Metrics without samples in a healthy server without TLS and with one node.
SILENT = ("tls_certificate_days_left",)


class _Backend(BaseHTTPRequestHandler):
    """Answers the events of clients, except those whose data say "fail"."""

    def do_POST(self) -> None:
        """Answer one event."""
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = b'{"result":{}}'
        self.send_response(500 if event.get("data") == "fail" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class PrometheusTests(SynchronousTestCase):
    """One server, one Prometheus, and everything that can be counted."""

    server: Server
    prometheus: Prometheus

    @classmethod
    def setUpClass(cls) -> None:
        program("prometheus")
        cls.redis = shared(valkey())
        backend = ThreadingHTTPServer(("127.0.0.1", 0), _Backend)
        backend.daemon_threads = True
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        cls.addClassCleanup(backend.server_close)
        cls.addClassCleanup(backend.shutdown)
        endpoint = f"http://127.0.0.1:{backend.server_address[1]}/rpc"
        cls.server = Server(
            {
                "prometheus": {
                    **{"enabled": True, "instrument_http_handlers": True},
                    "recovered_publications_histogram": True,
                },
                "engine": {
                    "type": "redis",
                    "redis": {"address": cls.redis.address, "prefix": "prometheus"},
                },
                "client": {"ping_interval": "2s", "pong_timeout": "1s"},
                "channel": {
                    "without_namespace": {
                        **{"history_size": 10, "history_ttl": "1h"},
                        **{"force_recovery": True, "presence": True},
                        **{"allow_subscribe_for_client": True, "join_leave": True},
                    }
                },
                "rpc": {
                    "proxy": {"endpoint": endpoint, "timeout": "5s"},
                    "without_namespace": {"proxy_enabled": True},
                },
                "consumers": [
                    {
                        **{"name": "queue", "enabled": True, "type": "redis_stream"},
                        "redis_stream": {
                            "address": cls.redis.address,
                            "streams": ["prometheus_stream"],
                            "consumer_group": "group",
                        },
                    }
                ],
            }
        )
        cls.addClassCleanup(cls.server.close)
        cls.server.start()
        cls.prometheus = Prometheus(cls.server.port).start()
        cls.addClassCleanup(cls.prometheus.close)
        for _ in range(2):
            cls.be_busy()
            cls.prometheus.wait_for_scrapes(3)

    @classmethod
    def be_busy(cls) -> None:
        """Perform each counted operation once."""
        server = cls.server
        client = WebSocket(server.port)
        token = connection_token("ada")
        client.ask({"id": 1, "connect": {"token": token}})
        client.ask({"id": 2, "subscribe": {"channel": "news"}})
        client.ask({"id": 3, "publish": {"channel": "news", "data": 1}})  # refused
        client.ask({"id": 4, "rpc": {"method": "work", "data": "fine"}})
        client.ask({"id": 5, "rpc": {"method": "work", "data": "fail"}})
        for number in range(3):
            server.api("publish", channel="news", data=number)
        server.api("channels")
        server.request(
            *("POST", "/api/publish", b'{"data":1}'),
            {"X-API-Key": "the-key-of-the-api"},
        )
        server.api("unsubscribe", user="ada", channel="news")
        other = WebSocket(server.port)
        other.ask({"id": 1, "connect": {"token": token}})
        since = {"recover": True, "offset": 1, "epoch": cls.epoch()}
        other.ask({"id": 2, "subscribe": {"channel": "news", **since}})
        # A pong, and a malformed message from Redis.
        ping = client.receive()
        while ping != {}:
            ping = client.receive()
        client.send({})
        cls.redis.call("PUBLISH", "prometheus.client.news", b"\xff not a message")
        command = json.dumps({"method": "publish", "payload": {"channel": "c"}})
        cls.redis.call("XADD", "prometheus_stream", "*", "data", command)
        cls.open = (client, other)
        server.api("disconnect", user="ada")
        # Some stay, so that there is something to see.
        last = WebSocket(server.port)
        last.ask({"id": 1, "connect": {"token": token}})
        last.ask({"id": 2, "subscribe": {"channel": "news"}})
        for each in (*cls.open, last):
            cls.addClassCleanup(each.close)

    @classmethod
    def epoch(cls) -> str:
        """Return the epoch of the channel."""
        found: str = cls.server.api("history", channel="news")["epoch"]
        return found

    def assert_answered(self, expressions: dict[str, str]) -> None:
        """Fail with all questions without an answer."""
        unanswered = []
        for about, expression in expressions.items():
            try:
                if not self.prometheus.query(expression):
                    unanswered.append(f"{about}: {expression}")
            except HTTPError as error:
                unanswered.append(f"{about}: {expression}: {error.read()!r}")
        self.assertEqual(unanswered, [], "\n".join(unanswered))

    def test_public_board(self) -> None:
        """Every question of the public board has an answer."""
        self.assert_answered({query: query for query in BOARD})

    def test_own_board(self) -> None:
        """Every panel of our own board shows something."""
        board = json.loads((CONFIG / "grafana-dashboard.json").read_text())
        questions = {}
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                if not any(name in target["expr"] for name in SILENT):
                    questions[f"{panel['title']} {target['refId']}"] = target["expr"]
        self.assertGreater(len(questions), 40)
        self.assert_answered({t: _bound(each) for t, each in questions.items()})

    def test_alerts(self) -> None:
        """The rules are well-formed, and their metrics exist."""
        path = CONFIG / "prometheus-alerts.yml"
        checked = subprocess.run(
            [program("promtool"), "check", "rules", str(path)],
            capture_output=True,
            text=True,
        )
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        [group] = yaml.safe_load(path.read_text())["groups"]
        questions = {}
        for rule in group["rules"]:
            expression = rule["expr"].replace("5m", "1m")
            if not any(name in expression for name in SILENT):
                # Whether they fire or not: every side must have values.
                for side in re.split(r"==|[<>]=?", expression):
                    if "centrifugo" in side:
                        questions[f"{rule['alert']} {side}"] = side
        self.assertGreater(len(questions), 10)
        self.assert_answered(_measurable(questions))

    def test_reference(self) -> None:
        """The page on monitoring has each metric, with its type and its labels."""
        page = (CONFIG.parent / "docs/monitoring.rst").read_text()
        rows = re.findall(r"\* - ``(\w+)``\n +- (\w+)\n +- ([^\n]+)\n", page)
        known = {
            name: (kind, frozenset(re.findall(r"``(\w+)``", labels)))
            for name, kind, labels in rows
        }
        self.assertEqual(set(known), set(HELP))
        kinds, labels = self._served()
        self.assertGreater(len(kinds), 40)
        for name, kind in kinds.items():
            self.assertEqual(known[name], (kind, frozenset(labels[name])), name)

    def _served(self) -> tuple[dict[str, str], dict[str, set[str]]]:
        """Return the types and the labels of the server's metrics, by name."""
        text = self.server.request("GET", "/metrics")[1].decode()
        kinds = dict(re.findall(r"# TYPE centrifugo_(\w+) (\w+)", text))
        labels: dict[str, set[str]] = {name: set() for name in kinds}
        for sample, given in re.findall(r"(?m)^centrifugo_(\w+)(?:\{(.*)\})? ", text):
            name = sample
            if name not in kinds:
                name = re.sub("_(bucket|sum|count)$", "", sample)
            labels[name] |= set(re.findall(r'(\w+)="', given)) - {"le", "quantile"}
        return kinds, labels

    def test_firing(self) -> None:
        """Of a server that is well, no rule without a cause fires."""
        [group] = yaml.safe_load((CONFIG / "prometheus-alerts.yml").read_text())[
            "groups"
        ]
        expected = {"CentrifugoAPIErrors", "CentrifugoProxyErrors"}
        firing = {
            rule["alert"]
            for rule in group["rules"]
            if self.prometheus.query(rule["expr"].replace("5m", "1m"))
        }
        self.assertEqual(firing - {"CentrifugoReactorLate"}, expected)


def _bound(expression: str) -> str:
    """Return a panel's expression as Grafana sends it."""
    return (
        expression.replace("$__rate_interval", "1m")
        .replace("$job", ".+")
        .replace("$instance", ".+")
    )


def _measurable(questions: dict[str, str]) -> dict[str, str]:
    """Leave out what only a server in trouble counts: codes of its disconnects."""
    return {
        about: each
        for about, each in questions.items()
        if not re.search("30[01]", each)
    }
