"""The methods of the client protocol: how each is recognized, handled and answered."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, get_args

from attrs import define, field
from msgspec.structs import fields

from ...interfaces import ITransport
from ...protocol.messages import Command, Reply
from ..node_metrics import CommandCounters, NodeMetrics, Table
from .outcome import Answer

__all__ = ["CommandMethod", "MethodTables", "request_name"]

C = TypeVar("C")

#: Handles the requests of one method.
Handler = Callable[[C, Any], Answer]


def request_name(command: Command) -> str:
    """Return the name of the first request that is set, ``""`` if none is.

    Written out, because it is asked of every command: loading an attribute by its
    name takes ten times as long.
    """
    if command.connect is not None:
        return "connect"
    if command.ping is not None:
        return "ping"
    if command.subscribe is not None:
        return "subscribe"
    if command.unsubscribe is not None:
        return "unsubscribe"
    if command.publish is not None:
        return "publish"
    if command.presence is not None:
        return "presence"
    if command.presence_stats is not None:
        return "presence_stats"
    if command.history is not None:
        return "history"
    if command.rpc is not None:
        return "rpc"
    if command.send is not None:
        return "send"
    if command.refresh is not None:
        return "refresh"
    if command.sub_refresh is not None:
        return "sub_refresh"
    return ""


#: Makes a reply of an id and a result.
_REPLIES: dict[str, Callable[[int, Any], Reply]] = {
    "connect": lambda id, result: Reply(id, connect=result),
    "ping": lambda id, result: Reply(id, ping=result),
    "subscribe": lambda id, result: Reply(id, subscribe=result),
    "unsubscribe": lambda id, result: Reply(id, unsubscribe=result),
    "publish": lambda id, result: Reply(id, publish=result),
    "presence": lambda id, result: Reply(id, presence=result),
    "presence_stats": lambda id, result: Reply(id, presence_stats=result),
    "history": lambda id, result: Reply(id, history=result),
    "rpc": lambda id, result: Reply(id, rpc=result),
    "send": lambda id, result: Reply(id),  # never called: it has no reply
    "refresh": lambda id, result: Reply(id, refresh=result),
    "sub_refresh": lambda id, result: Reply(id, sub_refresh=result),
}
#: The type of the results of each method that has results.
_RESULTS: dict[str, type] = {
    each.name: get_args(each.type)[0] for each in fields(Reply) if each.name in _REPLIES
}


@define(eq=False)
class CommandMethod(Generic[C]):
    """A method over one transport: all that the execution of its commands needs."""

    name: str
    handle: Handler[C]
    #: The type of its results; None: it has none.
    result: type | None
    #: Makes a reply of an id and a result.
    reply: Callable[[int, Any], Reply]
    counters: CommandCounters


@define(eq=False)
class MethodTables(Generic[C]):
    """The methods of the clients of a node, by name, for each transport.

    :param handlers: the handler of each method.
    """

    _metrics: NodeMetrics
    handlers: Mapping[str, Handler[C]] = field(factory=dict)
    _tables: dict[tuple[str, bool], Table[str, CommandMethod[C]]] = field(
        factory=dict, init=False
    )

    def of(self, transport: ITransport) -> Table[str, CommandMethod[C]]:
        """Return the methods over *transport*, which the clients that use it share.

        The connect of a unidirectional client is not a command, so it is not counted.
        """
        key = name, uncounted = transport.wire.transport, transport.info.unidirectional
        table = self._tables.get(key)
        if table is None:
            count = self._metrics.command_counters

            def create(method: str) -> CommandMethod[C]:
                return CommandMethod(
                    method,
                    self.handlers[method],
                    _RESULTS.get(method),
                    _REPLIES[method],
                    CommandCounters() if uncounted else count(name, method),
                )

            table = self._tables[key] = Table(create)
        return table
