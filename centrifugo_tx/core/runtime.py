"""What all parts of a node share; each part receives it instead of the node."""

from uuid import uuid4

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import BrokerUnavailable
from ..interfaces import IPolicy
from ..options import NodeOptions
from .command_scheduler import CommandScheduler
from .node_metrics import NodeMetrics
from .outage import Outage
from .timer_wheel import TimerWheel
from .write_order import WriteOrder

__all__ = ["Runtime"]


@define(eq=False)
class Runtime:
    """The clock, options, policy and metrics of one node.

    ``id`` is the node's own id, a UUID.
    """

    clock: IReactorTime
    policy: IPolicy
    options: NodeOptions
    metrics: NodeMetrics
    id: str = field(factory=lambda: str(uuid4()), init=False)
    wheel: TimerWheel = field(init=False)
    scheduler: CommandScheduler = field(init=False)
    outage: Outage = field(init=False)
    writes: WriteOrder = field(factory=WriteOrder, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self.wheel = TimerWheel(self.clock)
        self.scheduler = CommandScheduler(self.clock)
        self.outage = Outage(self.clock, self.wheel)

    def log_failure(self, failure: Failure, doing: str, about: str) -> None:
        """Log the failure of a call whose result no caller awaits."""
        if failure.check(BrokerUnavailable):
            self.outage.failed(doing, failure.getErrorMessage())
        else:
            self._log.failure(
                "{doing} failed for {about}", failure, doing=doing, about=about
            )
