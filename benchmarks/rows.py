"""The rows of the side-by-side table: what a server does, and how it is measured.

A row measures one server; `side_by_side` runs it on two of them in turn.  Each measure
returns a value per figure of the row, mostly the CPU time of one operation.
"""

import json
from collections.abc import Callable
from http.client import HTTPConnection
from threading import Thread

from attrs import define, field

from .processes import Load, Program, Tools

__all__ = ["ROWS", "Figures", "Row", "Subject"]

_CONNECT = r'{"id":1,"connect":{}}\n'
_SUBSCRIBE = '{"id":2,"subscribe":{"channel":"%s"}}'
_PUBLISH = '{"id":3,"publish":{"channel":"void","data":{"a":1,"text":"hello world"}}}'
_PING = '{"id":3,"rpc":{"method":"ping","data":{"a":1}}}'
_PRESENCE = '{"id":3,"presence":{"channel":"pres:room"}}'
_DATA = '{"user":"alice","text":"hello world, this is a message","ts":1700000000000}'
_PUBLICATION = '{"channel":"%s","data":' + _DATA + "}"

_CPU = "µs CPU"
_AUTOBAHN, _WEB = "Autobahn", "Twisted Web"
_RECOVER = '{"id":2,"subscribe":{"channel":"hist:rec","recover":true,"offset":50}}'
#: The values of one round.
Figures = tuple[float, ...]


@define(eq=False)
class Subject:
    """A server that is measured, and its load clients."""

    name: str
    server: Program
    load: Load
    _tools: Tools
    #: What a row keeps between rounds.
    kept: dict[str, object] = field(factory=dict, init=False)
    _others: list[Load] = field(factory=list, init=False)

    def another_load(self) -> Load:
        """Return a second load client."""
        self._others.append(Load(self._tools, self.server))
        return self._others[-1]

    def cost(self, command: str) -> float:
        """Return the CPU time of a command of the load client, in µs."""
        return self.load.run(command)["cpu"] * 1e6

    def call(self, method: str, parameters: dict[str, object]) -> dict[str, object]:
        """Call a method of the server API; return its result."""
        port = self.server.api_port or self.server.port
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            body = json.dumps(parameters)
            connection.request("POST", f"/api/{method}", body, {"X-API-Key": "key"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        result: dict[str, object] = answer["result"]
        return result

    def close(self) -> None:
        """End the load clients."""
        for load in (self.load, *self._others):
            load.close()


@define(frozen=True)
class Row:
    """One kind of work; a row with several figures measures them at once."""

    name: str
    #: The title and the unit of each figure.
    figures: tuple[tuple[str, str], ...]
    prepare: Callable[[Subject], object]
    measure: Callable[[Subject], Figures]
    #: The configuration of the servers, a key of `side_by_side.SETTINGS`.
    setting: str = "memory"
    #: "tls" or "resume", if clients use it.
    security: str = ""
    #: A fresh server for each round, because memory that was freed stays resident.
    fresh: bool = False
    #: The baseline that can do the same, a key of `settings.BASELINES`; "" if none can.
    baseline: str = ""


def _nothing(subject: Subject) -> None:
    """Prepare nothing."""


def _row(
    name: str,
    title: str,
    prepare: Callable[[Subject], object],
    measure: Callable[[Subject], float],
    setting: str = "memory",
    security: str = "",
    baseline: str = "",
) -> Row:
    """Return a row with the CPU time of one operation."""
    return Row(
        name,
        ((title, _CPU),),
        prepare,
        lambda subject: (measure(subject),),
        setting,
        security,
        baseline=baseline,
    )


def _subscribers(count: int) -> Callable[[Subject], object]:
    said = f"open {count} 2 {_CONNECT}{_SUBSCRIBE % 'news'}"
    return lambda subject: subject.load.run(said)


def _fan_out(count: int, publications: int) -> Callable[[Subject], float]:
    """One publication at a time; the next one follows when all have got it."""
    command = f"fanout http /api/publish {_PUBLICATION % 'news'}"

    def measure(subject: Subject) -> float:
        used = sum(subject.cost(command) for _ in range(publications))
        return used / publications / count

    return measure


def _burst(publications: int) -> Callable[[Subject], float]:
    """Publications of 16 connections, each of which waits for its answers only."""
    command = f"burst {publications} 16 /api/publish {_PUBLICATION % 'news'}"

    def measure(subject: Subject) -> float:
        got = subject.load.run(command)
        return got["cpu"] * 1e6 / got["messages"]

    return measure


def _clients(count: int) -> Callable[[Subject], object]:
    return lambda subject: subject.load.run(f"open {count} 1 {_CONNECT}")


def _inbound(command: str, per_read: int, times: int) -> Callable[[Subject], float]:
    said = f"inbound {per_read} {command}"

    def measure(subject: Subject) -> float:
        used = sum(subject.cost(said) for _ in range(times))
        return used / times / per_read / 1000

    return measure


def _with_presence(subject: Subject) -> None:
    room = subject.another_load()
    room.run(f"open 10 2 {_CONNECT}{_SUBSCRIBE % 'pres:room'}")
    _clients(1000)(subject)


def _subscribe(subject: Subject) -> float:
    """Many channels on one client, which leaves them all at its end."""
    count = 10_000
    subject.load.run(f"open 1 1 {_CONNECT}")
    subscribe = '{"id":%d,"subscribe":{"channel":"many%d"}}'
    used = subject.cost(f"sequence {count} 200 {subscribe}")
    subject.load.run("close")
    return used / count


def _connects(channel: str, count: int = 2_000) -> Callable[[Subject], float]:
    said = f"connect {count} 2 {_CONNECT}{_SUBSCRIBE % channel}"
    return lambda subject: subject.cost(said) / count


def _posts(
    path: str, body: str, count: int, connections: int, each: int = 1
) -> Callable[[Subject], float]:
    command = f"post {count} {connections} /api/{path} {body}"
    return lambda subject: subject.cost(command) / count / each


def _batch_body() -> str:
    data = json.loads(_DATA)
    commands = [{"publish": {"channel": f"b{i}", "data": data}} for i in range(100)]
    return json.dumps({"commands": commands}, separators=(",", ":"))


def _broadcast_body() -> str:
    channels = [f"b{i}" for i in range(1000)]
    body = {"channels": channels, "data": json.loads(_DATA)}
    return json.dumps(body, separators=(",", ":"))


def _recovering(missed: int) -> Callable[[Subject], None]:
    """Publish, and keep the command of a client that has missed some of it."""

    def prepare(subject: Subject) -> None:
        if subject.name == _AUTOBAHN:  # it answers any position alike
            subject.kept["recover"] = _RECOVER
            return
        publication = {"channel": "hist:rec", "data": json.loads(_DATA)}
        for _ in range(missed + 50):
            position = subject.call("publish", publication)
        offset = int(str(position["offset"])) - missed
        subscribe = {
            "channel": "hist:rec",
            "recover": True,
            "epoch": position["epoch"],
            "offset": offset,
        }
        command = {"id": 2, "subscribe": subscribe}
        subject.kept["recover"] = json.dumps(command, separators=(",", ":"))

    return prepare


def _recover(subject: Subject, way: str, clients: int, missed: int) -> dict[str, float]:
    """Let clients come back; return the load client's measurement.

    :raises RuntimeError: if they have not got what they had missed.
    """
    got = subject.load.run(f"{way} {clients} 2 {_CONNECT}{subject.kept['recover']}")
    subject.load.run("close")
    subject.load.run("idle 1")
    if got["bytes"] < clients * missed * len(_DATA):
        raise RuntimeError(f"{subject.name} has not recovered all messages")
    return got


def _recovery(subject: Subject) -> float:
    clients, missed = 1_000, 100
    used = _recover(subject, "open", clients, missed)["cpu"]
    return used * 1e6 / clients / missed


def _return(subject: Subject) -> Figures:
    clients = 10_000
    got = _recover(subject, "together", clients, 10)
    return got["seconds"], got["cpu"] * 1e6 / clients


def _idle(count: int) -> Callable[[Subject], Figures]:
    """Memory of idle connections, after others have come and gone."""

    def measure(subject: Subject) -> Figures:
        said = f"2 {_CONNECT}{_SUBSCRIBE % 'news'}"
        subject.load.run(f"open 500 {said}")
        subject.load.run("close")
        subject.load.run("idle 1")
        return (subject.load.run(f"open {count} {said}")["memory"] / count,)

    return measure


def _with_neighbor(subject: Subject) -> None:
    _subscribers(10_000)(subject)
    subject.kept["neighbor"] = neighbor = subject.another_load()
    neighbor.run(f"open 1 1 {_CONNECT}")


def _latency(subject: Subject) -> Figures:
    """Publications to 10,000, and a client that sends a command every 5 ms."""
    neighbor = subject.kept["neighbor"]
    assert isinstance(neighbor, Load)
    pings: dict[str, float] = {}
    thread = Thread(target=lambda: pings.update(neighbor.run(f"pace 400 5 {_PING}")))
    thread.start()
    publish = f"fanout http /api/publish {_PUBLICATION % 'news'}"
    p50, p99 = [], []
    while thread.is_alive():
        got = subject.load.run(publish)
        p50.append(got["p50"] * 1e3)
        p99.append(got["p99"] * 1e3)
    thread.join()
    middle = len(p50) // 2
    return (
        sorted(p50)[middle],
        sorted(p99)[middle],
        pings["p50"] * 1e3,
        pings["p99"] * 1e3,
    )


_POST = _PUBLICATION % "void%c"
_POST_HISTORY = _PUBLICATION % "hist:h%c"

_ALL = (
    _row(
        "fanout1k",
        "Fan-out to 1,000, per delivery",
        _subscribers(1_000),
        _fan_out(1_000, 20),
    ),
    _row(
        "fanout10k",
        "Fan-out to 10,000, per delivery",
        _subscribers(10_000),
        _fan_out(10_000, 5),
    ),
    _row(
        "burst1k",
        "Burst to 1,001, 16 outstanding, per delivery",
        _subscribers(1_001),
        _burst(240),
    ),
    _row(
        "burst5k",
        "Burst to 5,000, 16 outstanding, per delivery",
        _subscribers(5_000),
        _burst(64),
    ),
    _row(
        "publish10",
        "Client publish, 10 per read",
        _clients(1_000),
        _inbound(_PUBLISH, 10, 2),
        baseline=_AUTOBAHN,
    ),
    _row(
        "publish1",
        "Client publish, 1 per read",
        _clients(1_000),
        _inbound(_PUBLISH, 1, 10),
        baseline=_AUTOBAHN,
    ),
    _row(
        "ping10",
        "RPC ping, 10 per read",
        _clients(1_000),
        _inbound(_PING, 10, 2),
        baseline=_AUTOBAHN,
    ),
    _row(
        "presence10",
        "Presence command, 10 per read",
        _with_presence,
        _inbound(_PRESENCE, 10, 2),
        baseline=_AUTOBAHN,
    ),
    _row(
        "subscribe",
        "Subscribe, 10,000 channels on one client",
        _nothing,
        _subscribe,
        baseline=_AUTOBAHN,
    ),
    _row(
        "connect",
        "Handshake + connect + subscribe",
        _nothing,
        _connects("news"),
        baseline=_AUTOBAHN,
    ),
    _row(
        "batch",
        "API batch of 100 publishes, each",
        _nothing,
        _posts("batch", _batch_body(), 150, 1, 100),
        baseline=_WEB,
    ),
    _row(
        "broadcast",
        "API broadcast to 1,000 channels, each",
        _nothing,
        _posts("broadcast", _broadcast_body(), 50, 1, 1000),
        baseline=_WEB,
    ),
    _row(
        "api",
        "API publish, 64 connections",
        _nothing,
        _posts("publish", _POST, 10_000, 64),
        baseline=_WEB,
    ),
    _row(
        "history",
        "API publish with history, 64 connections",
        _nothing,
        _posts("publish", _POST_HISTORY, 10_000, 64),
        baseline=_WEB,
    ),
    _row(
        "recovery",
        "Recovery of 100 messages by 1,000 clients, per message",
        _recovering(100),
        _recovery,
        baseline=_AUTOBAHN,
    ),
    _row(
        "redis-history",
        "Redis: publish with history",
        _nothing,
        _posts("publish", _POST_HISTORY, 6_000, 64),
        "redis",
    ),
    _row(
        "redis-publish",
        "Redis: publish",
        _nothing,
        _posts("publish", _POST, 6_000, 64),
        "redis",
    ),
    _row(
        "redis-connect",
        "Redis: connect + subscribe with presence",
        _nothing,
        _connects("pres:room", 1_500),
        "redis",
    ),
    _row(
        "workers-batch",
        "Two workers: API batch of 100 publishes, each",
        _nothing,
        _posts("batch", _batch_body(), 60, 1, 100),
        "workers",
    ),
    _row(
        "workers-recovery",
        "Two workers: recovery, per message",
        _recovering(100),
        _recovery,
        "workers",
    ),
    _row(
        "tls-connect",
        "TLS: handshakes + connect + subscribe",
        _nothing,
        _connects("news", 1_000),
        "tls",
        "tls",
    ),
    _row(
        "tls-resume",
        "TLS: the same with a resumed session",
        _nothing,
        _connects("news", 1_000),
        "tls",
        "resume",
    ),
    _row(
        "tls-fanout",
        "TLS: fan-out to 1,000, per delivery",
        _subscribers(1_000),
        _fan_out(1_000, 20),
        "tls",
        "tls",
    ),
    Row(
        "memory",
        (("Idle connection with one subscription", "bytes"),),
        _nothing,
        _idle(10_000),
        fresh=True,
    ),
    Row(
        "tls-memory",
        (("TLS: idle connection with one subscription", "bytes"),),
        _nothing,
        _idle(5_000),
        "tls",
        "tls",
        fresh=True,
    ),
    Row(
        "return",
        (
            ("Return of 10,000 clients, 10 messages missed", "s"),
            ("The same, per client", _CPU),
        ),
        _recovering(10),
        _return,
    ),
    Row(
        "latency",
        (
            ("Publication to 10,000, median", "ms"),
            ("Publication to 10,000, 99th percentile", "ms"),
            ("RPC ping beside it, median", "ms"),
            ("RPC ping beside it, 99th percentile", "ms"),
        ),
        _with_neighbor,
        _latency,
    ),
)

#: The rows in the order of the table, by name.
ROWS: dict[str, Row] = {row.name: row for row in _ALL}
