"""The pages about a process, and the same as JSON."""

import json
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.debug import Diagnostics, debug_handlers, diagnostics
from centrifugo_tx.debug.diagnostics import REPORTS
from centrifugo_tx.debug.profile import Profile
from centrifugo_tx.options import Answer
from centrifugo_tx.transports.overload import OverloadGuard

from ..support import World


class Reactor(Clock):
    """A clock with the rest of a reactor that reports ask for."""

    def getReaders(self) -> list[object]:
        return [object()]

    def getWriters(self) -> list[object]:
        return []

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        call(*arguments)


class Sampler:
    """Takes a profile when the test says so."""

    made: "list[Sampler]" = []  # noqa: RUF012  # the test reads it

    def __init__(self, seconds: float, done: Any) -> None:
        self.seconds, self.done = seconds, done
        self.made.append(self)

    def start(self) -> None:
        """Wait for the test."""

    def stop(self) -> None:
        """End early."""
        self.finish({})

    def finish(self, stacks: dict[str, int]) -> None:
        """Report."""
        self.done(Profile(self.seconds, 10, 10 - sum(stacks.values()), 0, stacks))


class Asked:
    """A request."""

    content = BytesIO()

    def __init__(self, uri: str, method: bytes = b"GET", accept: bytes = b"") -> None:
        self.uri, self.method, self.accept = uri.encode(), method, accept

    def getHeader(self, name: bytes) -> bytes | None:
        """Return a header."""
        return self.accept if name == b"accept" else None


class DebugCase(SynchronousTestCase):
    """One node with the pages."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.world = World(clock=self.reactor)
        node = self.world.node
        OverloadGuard(self.reactor, node.metrics)
        Sampler.made = []
        self.patch(diagnostics, "Sampler", Sampler)
        self.diagnostics = Diagnostics(self.reactor, node)
        self.handlers = debug_handlers(self.diagnostics, node.id, "/debug/pprof/")

    def begin(self, path: str, **request: Any) -> "Deferred[Answer]":
        """Send a request; return the coming answer."""
        handler = self.handlers[f"/debug/pprof{path.partition('?')[0]}".encode()]
        answer = handler(Asked(path, **request))
        assert isinstance(answer, Deferred)
        return answer

    def ask(self, path: str, **request: Any) -> Answer:
        """Return the answer to a request."""
        answer = self.begin(path, **request)
        self.reactor.pump([0] * 20000 if "objects" in path else [0])
        return self.successResultOf(answer)

    def json(self, report: str, status: int = 200, **query: str) -> Any:
        """Return a report as JSON."""
        asked = "".join(f"&{name}={value}" for name, value in query.items())
        answer = self.ask(f"/{report}?format=json{asked}")
        self.assertEqual(
            (answer.status, answer.content_type), (status, "application/json")
        )
        return json.loads(answer.body)


class ReportTests(DebugCase):
    """What the reports say."""

    def test_index(self) -> None:
        """The first page has all reports, and the nodes."""
        body = self.ask("/").body.decode()
        for report in REPORTS:
            self.assertIn(f'href="{report}?node=', body)
        self.assertEqual(len(self.json("")["nodes"]), 1)

    def test_threads(self) -> None:
        """Each thread is there with its stack, the innermost function first."""
        first = self.json("threads")["threads"][0]
        self.assertEqual(first["name"], "MainThread")
        self.assertIn("_threads", [each["name"] for each in first["stack"]])

    def test_reactor(self) -> None:
        """The lag is a histogram; timers are counted by function."""
        self.world.node.metrics.histogram("node_reactor_lag_seconds").observe(0.3)
        self.reactor.callLater(5, self.json, "never")
        report = self.json("reactor")
        self.assertEqual(sum(report["lag"]["counts"]), 1)
        self.assertIn({"function": "DebugCase.json", "count": 1}, report["timers"])
        self.assertGreater(report["resident_memory"], 1000)

    def test_channels(self) -> None:
        """The biggest channels come first."""
        self.world.subscribed("small", "u")
        for user in ("v", "w"):
            self.world.subscribed("big", user)
        channels = self.json("channels")["channels"]
        self.assertEqual(
            [(each["channel"], each["subscribers"]) for each in channels],
            [("big", 2), ("small", 1)],
        )

    def test_clients(self) -> None:
        """The slowest clients come first."""
        quick, slow = self.world.subscribed("a", "q"), self.world.subscribed("a", "s")
        quick.transport.waiting_bytes = 10
        slow.transport.waiting_bytes = 5000
        report = self.json("clients")
        self.assertEqual([each["user"] for each in report["clients"]], ["s", "q"])
        self.assertEqual(report["waiting_bytes"], 5010)

    def test_pages(self) -> None:
        """Each report is a page, too, in which names are escaped."""
        self.world.subscribed("<b>", "<i>")
        for report in ("threads", "reactor", "channels", "clients"):
            answer = self.ask(f"/{report}")
            self.assertEqual(answer.content_type, "text/html; charset=utf-8")
            body = answer.body.decode()
            self.assertIn("</html>", body)
            self.assertNotIn("<b>", body)
            self.assertNotIn("<i>", body)

    def test_accept(self) -> None:
        """Scripts can ask for JSON by a header."""
        answer = self.ask("/channels", accept=b"application/json")
        self.assertEqual(json.loads(answer.body)["total"], 0)

    def test_methods(self) -> None:
        """Other methods are refused."""
        handler = self.handlers[b"/debug/pprof/threads"]
        self.assertEqual(handler(Asked("/threads", b"POST")), Answer(405))

    def test_redirect(self) -> None:
        """Without the slash the page redirects."""
        answer = self.handlers[b"/debug/pprof"](Asked(""))
        assert isinstance(answer, Answer)
        self.assertEqual(answer.headers, ((b"location", b"/debug/pprof/"),))

    def test_unknown_node(self) -> None:
        """A node that is not there is a 404."""
        self.assertIn("no such node", self.json("threads", 404, node="x")["error"])


class ProfileTests(DebugCase):
    """Profiles, one at a time."""

    def test_profile(self) -> None:
        """A profile takes its time; afterwards it can be looked at again."""
        taking = self.begin("/profile?format=json&seconds=2")
        self.assertNoResult(taking)
        [sampler] = Sampler.made
        self.assertEqual(sampler.seconds, 2)
        sampler.finish({"a;b": 3})
        report = json.loads(self.successResultOf(taking).body)
        self.assertEqual((report["stacks"], report["waiting"]), ({"a;b": 3}, 7))
        page = self.ask("/profile?latest=1&focus=0").body.decode()
        self.assertIn("<title>a: 100.0 % (3 samples)</title>", page)
        self.assertNotIn("<title>all", page)

    def test_one_at_a_time(self) -> None:
        """A second profile is refused while one is taken."""
        taking = self.begin("/profile")
        self.assertIn("another profile", self.json("profile", 409)["error"])
        Sampler.made[0].finish({})
        self.assertEqual(self.successResultOf(taking).status, 200)

    def test_seconds(self) -> None:
        """Its length is bounded, and must be a number."""
        for seconds in ("0", "61", "-1", "nan", "x"):
            self.assertIn(
                "seconds must", self.json("profile", 400, seconds=seconds)["error"]
            )
        self.assertEqual(Sampler.made, [])

    def test_none_yet(self) -> None:
        """Without a profile there is no last one; the page offers to take one."""
        answer = self.ask("/profile?latest=1")
        self.assertEqual(answer.status, 404)
        self.assertIn(b"Take a profile", answer.body)

    def test_stop(self) -> None:
        """Stopping the server ends a profile."""
        taking = self.begin("/profile")
        self.diagnostics.stop()
        self.assertEqual(self.successResultOf(taking).status, 200)
