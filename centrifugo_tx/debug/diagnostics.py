"""What a process tells of itself; nodes ask each other by surveys."""

import gc
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from heapq import nlargest
from sys import _current_frames  # documented, in spite of its name
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..core import Node, SurveyFailed
from ..core.time_slices import RoundRobin, Slices
from ..errors import CentrifugoError
from ..resident_memory import resident_memory
from .heap import count_objects
from .profile import LONGEST, Profile, Sampler

__all__ = ["REPORTS", "CannotReport", "Diagnostics", "Question"]

#: The survey by which nodes ask each other.
OPERATION = "debug"
#: Rows of a report.
ROWS = 100
#: Frames of a thread's stack.
FRAMES = 100
#: Seconds that another node's long report may take besides its profile.
PATIENCE = 60.0

#: The reports; the last two take long, and run one at a time.
REPORTS = ("threads", "reactor", "channels", "clients", "objects", "profile")
LONG = ("objects", "profile")

#: A report, ready to be written as JSON.
Report = dict[str, Any]


class Question(msgspec.Struct, frozen=True):
    """Which report is wanted.

    ``step`` is empty for a short report; a long one is begun by ``begin`` and fetched
    by ``fetch``.  ``latest`` asks for the last profile instead of a new one.
    """

    report: str
    seconds: float = 5.0
    latest: bool = False
    step: str = ""


class CannotReport(CentrifugoError):
    """There is no such report now; ``status`` is the HTTP status that says so."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@define(eq=False)
class Diagnostics:
    """Makes the reports of this node, and fetches those of others."""

    _reactor: Any
    _node: Node
    _robin: RoundRobin = field(init=False)
    _results: dict[str, Report] = field(factory=dict, init=False)
    _running: set[str] = field(factory=set, init=False)
    _sampler: Sampler | None = field(default=None, init=False)
    _reports: dict[str, Callable[[Question], Any]] = field(init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._robin = RoundRobin(self._reactor)
        self._reports = {
            "threads": self._threads,
            "reactor": self._turns,
            "channels": self._channels,
            "clients": self._clients,
            "objects": self._objects,
            "profile": self._profile,
        }
        self._node.answer_survey(OPERATION, self._answer_survey)

    def stop(self) -> None:
        """End a profile that is being taken."""
        if self._sampler is not None:
            self._sampler.stop()

    # --- Asking ----------------------------------------------------------------

    async def nodes(self) -> list[dict[str, str]]:
        """Return the ids and names of all nodes, this one first."""
        return [
            {"uid": info.uid, "name": info.name} for info in await self._node.info()
        ]

    async def ask(self, question: Question, node: str = "") -> Report:
        """Return a report of the node with this id; of this one if it is empty.

        :raises CannotReport: the report, or the node, is not there.
        """
        if question.report not in REPORTS:
            raise CannotReport(404, "there is no such report")
        if node in ("", self._node.id):
            return await self._own(question)
        if question.report not in LONG or question.latest:
            return await self._ask_other(question, node)
        await self._ask_other(msgspec.structs.replace(question, step="begin"), node)
        fetch = msgspec.structs.replace(question, step="fetch")
        limit = self._reactor.seconds() + PATIENCE + question.seconds
        while self._reactor.seconds() < limit:
            await deferLater(self._reactor, 0.5)
            report = await self._ask_other(fetch, node)
            if report:
                return report
        raise CannotReport(504, "the node has not finished in time")

    async def _ask_other(self, question: Question, node: str) -> Report:
        if node not in {each["uid"] for each in await self.nodes()}:
            raise CannotReport(404, "there is no such node")
        data = msgspec.json.encode(question)
        try:
            answers = await self._node.survey(OPERATION, data, node)
        except SurveyFailed:
            raise CannotReport(
                504, "the node does not answer; is debug.enabled set there?"
            ) from None
        code, answer = answers.get(node, (404, b'"the node has gone"'))
        found: Any = msgspec.json.decode(answer) if answer else "it gives no reports"
        if code:
            raise CannotReport(code if 400 <= code < 600 else 502, str(found))
        report: Report = found
        return report

    def _answer_survey(self, data: bytes) -> "Deferred[tuple[int, bytes]]":
        return Deferred.fromCoroutine(self._answer(data))

    async def _answer(self, data: bytes) -> tuple[int, bytes]:
        try:
            question = msgspec.json.decode(data, type=Question)
            if question.step == "begin":
                self._begin(question)
                return 0, b"{}"
            if question.step == "fetch":
                return 0, msgspec.json.encode(self._fetched(question))
            return 0, msgspec.json.encode(await self._own(question))
        except CannotReport as error:
            return error.status, msgspec.json.encode(str(error))
        except Exception:
            self._log.failure("a report on the process failed")
            return 500, b'"the report failed"'

    def _begin(self, question: Question) -> None:
        """Begin a long report for another node, which fetches it."""
        name = question.report
        if name in self._running:
            raise CannotReport(409, f"another {name} report is being made")
        self._results.pop(name, None)
        making = Deferred.fromCoroutine(self._own(question))
        making.addErrback(
            lambda failure: self._log.failure("a report on the process failed", failure)
        )

    def _fetched(self, question: Question) -> Report:
        name = question.report
        return {} if name in self._running else self._results.get(name, {})

    # --- This node -------------------------------------------------------------

    async def _own(self, question: Question) -> Report:
        name = question.report
        if question.latest:
            if name not in self._results:
                raise CannotReport(404, f"no {name} report has been made yet")
            return self._results[name]
        if name in self._running:
            raise CannotReport(409, f"another {name} report is being made")
        if name in LONG:
            self._running.add(name)
        try:
            report: Report = await self._reports[name](question)
        finally:
            self._running.discard(name)
        report["node"] = self._node.options.name
        if name in LONG:
            self._results[name] = report
        return report

    def _slices(self, limit: int = 256) -> Slices:
        return Slices(self._robin, self._reactor, limit)

    async def _threads(self, question: Question) -> Report:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        threads = []
        for ident, frame in _current_frames().items():
            stack = traceback.extract_stack(frame, FRAMES)
            threads.append(
                {
                    "name": names.get(ident, "unknown"),
                    "stack": [
                        {"file": each.filename, "line": each.lineno, "name": each.name}
                        for each in reversed(stack)
                    ],
                }
            )
        threads.sort(key=lambda thread: thread["name"] != "MainThread")
        return {"threads": threads}

    async def _turns(self, question: Question) -> Report:
        lags = self._node.metrics.histogram("node_reactor_lag_seconds")
        slices, waiting = self._slices(), Counter[str]()
        for call in self._reactor.getDelayedCalls():
            if slices.over():
                await slices.next()
            function = getattr(call, "func", None)
            waiting[getattr(function, "__qualname__", repr(type(function)))] += 1
        return {
            "lag": {
                "bounds": [*lags.bounds, None],
                "counts": list(lags.counts),
                "sum": lags.sum,
            },
            "timers": [
                {"function": name, "count": count}
                for name, count in waiting.most_common(20)
            ],
            "num_readers": len(self._reactor.getReaders()),
            "num_writers": len(self._reactor.getWriters()),
            "num_threads": threading.active_count(),
            "resident_memory": resident_memory(),
            "gc": {
                "thresholds": gc.get_threshold(),
                "counts": gc.get_count(),
                "frozen": gc.get_freeze_count(),
                "generations": gc.get_stats(),
            },
        }

    async def _channels(self, question: Question) -> Report:
        hub, slices = self._node.hub, self._slices()
        rows = []
        for kind, channels in (("stream", hub.channels), ("map", hub.maps)):
            for channel in list(channels.values()):
                if slices.over():
                    await slices.next()
                rows.append((channel.num_subscribers, channel.name, kind))
        return {
            "total": len(rows),
            "channels": [
                {"channel": name, "subscribers": number, "kind": kind}
                for number, name, kind in nlargest(ROWS, rows)
            ],
        }

    async def _clients(self, question: Question) -> Report:
        slices, rows, total = self._slices(), [], 0
        waiting_bytes = 0
        for client in list(self._node.connections.open):
            if slices.over():
                await slices.next()
            total += 1
            waiting = getattr(client.transport, "waiting_bytes", 0)
            waiting_bytes += waiting
            rows.append((waiting, len(client.subscriptions), client.id, client))
        return {
            "total": total,
            "waiting_bytes": waiting_bytes,
            "limit": self._node.options.queue_max_size,
            "clients": [
                {
                    "client": client.id,
                    "user": client.user,
                    "transport": client.transport.info.name,
                    "waiting_bytes": waiting,
                    "subscriptions": subscriptions,
                }
                for waiting, subscriptions, _, client in nlargest(ROWS, rows)
            ],
        }

    async def _objects(self, question: Question) -> Report:
        roots = [sys.modules, self._node, self._reactor]
        census = await count_objects(roots, self._slices(10**9))
        report: Report = msgspec.to_builtins(census)
        return {**report, "resident_memory": resident_memory()}

    async def _profile(self, question: Question) -> Report:
        taken: Deferred[Profile] = Deferred()
        call = self._reactor.callFromThread
        seconds = min(LONGEST, max(0.1, question.seconds))
        self._sampler = Sampler(seconds, lambda profile: call(taken.callback, profile))
        self._sampler.start()
        try:
            profile = await taken
        finally:
            self._sampler = None
        report: Report = msgspec.to_builtins(profile)
        return report
