"""The server API: what a method is, and how it is called."""

from collections.abc import Callable, Coroutine
from time import perf_counter
from types import CoroutineType
from typing import Any, get_args, get_type_hints

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..bounded_log import BoundedLog
from ..core import Node, run_or_defer, waits
from ..core.node_metrics import Table
from ..core.time_slices import RoundRobin, Slices
from ..errors import BrokerUnavailable, CentrifugoError, ReplyError
from ..metrics import Histogram
from ..protocol.codes import INTERNAL
from ..protocol.messages import Raw
from . import api_messages as m
from .spans import Span, Tracer

__all__ = ["NOT_FOUND", "Api", "Extension", "Method"]

#: The API's counterpart of "method not found" (server API, "API errors").
NOT_FOUND = m.Error(104, "not found")

#: Answers an ``rpc`` call.
Extension = Callable[[Raw], "Deferred[Raw]"]


@frozen
class Method:
    """One method: its name, its request type, and its number in legacy requests."""

    name: str
    request: type[m.Request]
    code: int | None
    #: Returns the result, or a Deferred or a coroutine that waits for it.
    call: Callable[
        ["Api", Any],
        "m.Result | Deferred[Any] | Coroutine[Deferred[Any], Any, m.Result]",
    ]

    @property
    def result(self) -> type[m.Result]:
        """Return the type of the results."""
        returned = get_type_hints(self.call)["return"]
        result: type[m.Result] = next(iter(get_args(returned)), returned)
        return result

    @property
    def grpc_name(self) -> str:
        """Return the name over gRPC, which messages begin with, too."""
        if self.name == "rpc":
            return "RPC"
        return "".join(part.capitalize() for part in self.name.split("_"))


@define(eq=False)
class Api:
    """Runs methods for backends, to which permissions of clients do not apply.

    See server API, "Methods".
    """

    node: Node
    #: The label ``protocol`` of the metrics.
    protocol: str = "http"
    extensions: dict[str, Extension] = field(factory=dict)
    #: Traces requests; None does not.
    tracer: Tracer | None = None
    #: Whether a call outside any request has a span of its own.
    traces_calls: bool = False
    #: The span of the request whose call begins in this stack.
    span: Span | None = field(default=None, init=False)
    _log: BoundedLog = field(init=False)
    _robin: RoundRobin = field(init=False)
    _durations: Table[str, Histogram] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._log = BoundedLog(Logger(), self.node.clock)
        self._robin = RoundRobin(self.node.clock)
        self._durations = Table(self._duration)

    def slices(self) -> Slices:
        """Return slices that spread a long call over turns of the reactor."""
        return Slices(self._robin, self.node.clock)

    def call(
        self, method: Method, request: m.Request, counted: bool = True
    ) -> "m.Result | Deferred[m.Result]":
        """Run *method*; return its result or an `messages.Error`.

        A cancelled batch or broadcast starts no further command or channel, and those
        already running complete.  Other methods cannot be cancelled.

        :param counted: whether to count an error in the metrics.
        """
        if self.tracer is None:
            return self._call(method, request, counted)
        return self._trace(self.tracer, method, request, counted)

    def _trace(
        self, tracer: Tracer, method: Method, request: m.Request, counted: bool
    ) -> "m.Result | Deferred[m.Result]":
        span, own = self.span, self.span is None and self.traces_calls
        if own:
            span = tracer.begin(f"{self.protocol} {method.name}", {})
        outcome = self._call(method, request, counted)
        if span is None:
            return outcome
        span.watch(request, outcome)
        if not own:
            return outcome
        if isinstance(outcome, Deferred):
            return outcome.addCallback(_ended, span)
        return _ended(outcome, span)

    def _call(
        self, method: Method, request: m.Request, counted: bool
    ) -> "m.Result | Deferred[m.Result]":
        began = perf_counter()
        try:
            outcome: Any = method.call(self, request)
            if isinstance(outcome, CoroutineType):
                outcome = run_or_defer(outcome)
        except Exception:
            return self._finish(Failure(), method.name, request, counted, began)
        if waits(outcome):
            return outcome.addBoth(self._finish, method.name, request, counted, began)
        if method.name != "batch":  # its commands are observed themselves
            self._durations[method.name].observe(perf_counter() - began)
        result: m.Result = outcome
        return result

    def _finish(
        self,
        outcome: m.Result | Failure,
        name: str,
        request: m.Request,
        counted: bool,
        began: float,
    ) -> m.Result:
        if name != "batch":  # its commands are observed themselves
            self._durations[name].observe(perf_counter() - began)
        if not isinstance(outcome, Failure):
            return outcome
        error = self.error_of(outcome, name, getattr(request, "channel", ""))
        if counted:
            self.count_error(name, str(error.code))
        return error

    def _duration(self, name: str) -> Histogram:
        return self.node.metrics.histogram(
            "api_command_duration_seconds_histogram",
            protocol=self.protocol,
            method=name,
        )

    def count_error(self, method: str, error: str) -> None:
        """Count an error: a code, or ``read_body``, ``unmarshal``, ``marshal``."""
        self.node.metrics.counter(
            "api_command_errors_total",
            protocol=self.protocol,
            method=method,
            error=error,
        ).value += 1

    def error_of(self, failure: Failure, name: str, channel: str) -> m.Error:
        """Return the error that answers a call which ended in *failure*, and log it."""
        value = failure.value
        if isinstance(value, ReplyError):
            error = m.Error(value.error.code, value.error.message)
            self.log_error(name, error, channel=channel, cause=value.cause)
            return error
        if isinstance(value, CancelledError):
            pass  # the caller is gone
        elif isinstance(value, BrokerUnavailable):
            self.node.runtime.outage.failed(name, str(value))
        elif isinstance(value, CentrifugoError):
            self._log.warn(
                "API call failed", ("method",), method=name, cause=str(value)
            )
        else:
            self._log.failure("API call failed", failure, ("method",), method=name)
        return m.Error(INTERNAL.code, INTERNAL.message)

    def log_error(self, method: str, error: m.Error, **fields: str) -> None:
        """Log the error that a call returns, with its cause."""
        shown = {name: value for name, value in fields.items() if value}
        self._log.warn(
            "API command error",
            ("method", "code"),
            method=method,
            code=error.code,
            error=error.message,
            **shown,
        )


def _ended(result: m.Result, span: Span) -> m.Result:
    """End *span*, and return *result*."""
    span.end()
    return result
