"""The methods of the server API that publish into streams."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..core import run_or_defer
from ..errors import ReplyError
from ..options import ChannelOptions, PublishOptions
from ..protocol.codes import BAD_REQUEST
from ..protocol.messages import Payload
from ..protocol.payloads import matches_format
from . import api_messages as m
from .api import Api
from .api_json import payload
from .parallel import in_parallel

__all__ = ["broadcast", "publish"]


async def publish(api: Api, request: m.PublishRequest) -> m.PublishResult:
    """Publish into one channel (server API, "Publish")."""
    if not request.channel:
        raise ReplyError(BAD_REQUEST, "channel required for publish")
    data = payload(request.data, request.b64data)
    options = api.node.runtime.policy.channel(request.channel)
    if options.subscription_type not in ("", "stream"):
        raise ReplyError(BAD_REQUEST, "publish called on non-stream namespace")
    return await _publish(api, request.channel, data, options, request)


async def _publish(
    api: Api,
    channel: str,
    data: Payload,
    options: ChannelOptions,
    request: m.PublishRequest | m.BroadcastRequest,
) -> m.PublishResult:
    if not matches_format(data, options.publication_data_format):
        raise ReplyError(BAD_REQUEST, "publish data validation failed")
    published = await api.node.streams.publish(
        channel, data, _publish_options(options, request)
    )
    return m.PublishResult(published.position.offset, published.position.epoch)


async def broadcast(api: Api, request: m.BroadcastRequest) -> m.BroadcastResult:
    """Publish into several channels (server API, "Broadcast")."""
    if not request.channels:
        raise ReplyError(BAD_REQUEST, "channels required for broadcast")
    data = payload(request.data, request.b64data)

    async def publish_to(channel: str) -> m.PublishResponse:
        """Publish into one of the channels."""
        try:
            if not channel:
                raise ReplyError(BAD_REQUEST, "channel required for broadcast")
            options = api.node.runtime.policy.channel(channel)
            result = await _publish(api, channel, data, options, request)
        except Exception:
            error = api.error_of(Failure(), "broadcast_publish", channel)
            api.count_error("broadcast_publish", str(error.code))
            return m.PublishResponse(error=error)
        return m.PublishResponse(result=result)

    calls = [partial(_start, publish_to, channel) for channel in request.channels]
    return m.BroadcastResult(await in_parallel(calls, api.slices()))


def _start(
    publish_to: Callable[[str], Coroutine[Any, Any, m.PublishResponse]], channel: str
) -> "m.PublishResponse | Deferred[m.PublishResponse]":
    return run_or_defer(publish_to(channel))


def _publish_options(
    options: ChannelOptions, request: m.PublishRequest | m.BroadcastRequest
) -> PublishOptions:
    keep = not request.skip_history
    return PublishOptions(
        history_size=options.history_size if keep else 0,
        history_ttl=options.history_ttl if keep else 0.0,
        history_meta_ttl=options.history_meta_ttl,
        tags=request.tags or {},
        idempotency_key=request.idempotency_key,
        delta=request.delta or options.delta_publish,
        version=request.version,
        version_epoch=request.version_epoch,
    )
