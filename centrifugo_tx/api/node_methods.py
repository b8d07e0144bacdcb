"""The methods of the server API that concern no channel and no client."""

from ..errors import ReplyError
from ..protocol.codes import BAD_REQUEST, Error
from ..protocol.payloads import checked
from . import api_messages as m
from .api import NOT_FOUND, Api

__all__ = ["info", "rpc"]


async def info(api: Api, request: m.InfoRequest) -> m.InfoResult:
    """Return the nodes (server API, "Info")."""
    nodes = await api.node.info()
    return m.InfoResult(
        [
            m.NodeResult(
                **node.without_metrics(),
                metrics=None
                if node.metrics is None
                else m.Metrics(api.node.options.metrics_interval, dict(node.metrics)),
            )
            for node in nodes
        ]
    )


async def rpc(api: Api, request: m.RPCRequest) -> m.RPCResult:
    """Call an extension (server API, "RPC")."""
    if not request.method:
        raise ReplyError(BAD_REQUEST, "rpc method required")
    extension = api.extensions.get(request.method)
    if extension is None:
        error = Error(NOT_FOUND.code, NOT_FOUND.message)
        raise ReplyError(error, "unknown rpc method")
    return m.RPCResult(checked(await extension(request.params)))
