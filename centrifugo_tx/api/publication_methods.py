"""The methods of the server API that publish into streams."""

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..core import Node, when_known
from ..errors import ReplyError
from ..options import ChannelOptions, Published, PublishOptions
from ..protocol.codes import BAD_REQUEST, NOT_AVAILABLE
from ..protocol.messages import Payload
from ..protocol.payloads import matches_format
from . import api_messages as m
from .api import Api
from .api_json import payload
from .parallel import in_parallel

__all__ = ["broadcast", "publish"]

#: The results of publications into channels without history.
_NOT_STORED = m.PublishResult()
_NOT_STORED_RESPONSE = m.PublishResponse(result=_NOT_STORED)


def publish(
    api: Api, request: m.PublishRequest
) -> m.PublishResult | Deferred[m.PublishResult]:
    """Publish into one channel (server API, "Publish")."""
    channel = request.channel
    if not channel:
        raise ReplyError(BAD_REQUEST, "channel required for publish")
    data = payload(request.data, request.b64data)
    options = api.node.runtime.policy.channel(channel)
    if options.subscription_type not in ("", "stream"):
        raise ReplyError(BAD_REQUEST, "publish called on non-stream namespace")
    _check(data, options, request)
    published = api.node.streams.publish(
        channel, data, _publish_options(options, request)
    )
    if request.confirm:
        published = when_known(published, _ask_for_receipts, api.node, channel)
    return when_known(published, _result)


async def broadcast(api: Api, request: m.BroadcastRequest) -> m.BroadcastResult:
    """Publish into several channels (server API, "Broadcast")."""
    if not request.channels:
        raise ReplyError(BAD_REQUEST, "channels required for broadcast")
    data = payload(request.data, request.b64data)
    publish_into = _Broadcast(api, request, data).publish_into
    return m.BroadcastResult(
        await in_parallel(publish_into, request.channels, api.slices())
    )


@define(eq=False)
class _Broadcast:
    """Publishes the payload of one request into channels."""

    _api: Api
    _request: m.BroadcastRequest
    _data: Payload
    #: The options of the last channel, which most others share.
    _channel_options: ChannelOptions | None = field(default=None, init=False)
    #: The options of publications into such channels.
    _publish_options: PublishOptions = field(factory=PublishOptions, init=False)

    def publish_into(
        self, channel: str
    ) -> m.PublishResponse | Deferred[m.PublishResponse]:
        """Publish into one of the channels; the response may be an error."""
        node = self._api.node
        try:
            if not channel:
                raise ReplyError(BAD_REQUEST, "channel required for broadcast")
            options = node.runtime.policy.channel(channel)
            if options is not self._channel_options:
                _check(self._data, options, self._request)
                self._publish_options = _publish_options(options, self._request)
                self._channel_options = options
            published = node.streams.publish(channel, self._data, self._publish_options)
            if self._request.confirm:
                published = when_known(published, _ask_for_receipts, node, channel)
        except Exception:
            return self._failed(Failure(), channel)
        if isinstance(published, Published):
            return _response(published)
        return published.addCallbacks(_response, self._failed, errbackArgs=(channel,))

    def _failed(self, failure: Failure, channel: str) -> m.PublishResponse:
        error = self._api.error_of(failure, "broadcast_publish", channel)
        self._api.count_error("broadcast_publish", str(error.code))
        return m.PublishResponse(error=error)


def _check(
    data: Payload,
    options: ChannelOptions,
    request: m.PublishRequest | m.BroadcastRequest,
) -> None:
    """Refuse a publication that does not fit the channel.

    :raises ReplyError: 107, the payload does not have the format of the channel; 107 or
        108, there can be no receipts.
    """
    if not matches_format(data, options.publication_data_format):
        raise ReplyError(BAD_REQUEST, "publish data validation failed")
    if request.confirm and not options.receipts:
        raise ReplyError(NOT_AVAILABLE, "receipts are not enabled for channel")
    if request.confirm and request.skip_history:
        raise ReplyError(BAD_REQUEST, "receipts need history")


def _ask_for_receipts(published: Published, node: Node, channel: str) -> Published:
    node.ask_for_receipts(channel, published.position.offset)
    return published


def _result(published: Published) -> m.PublishResult:
    position = published.position
    if not position.offset and not position.epoch:
        return _NOT_STORED
    return m.PublishResult(position.offset, position.epoch)


def _response(published: Published) -> m.PublishResponse:
    result = _result(published)
    if result is _NOT_STORED:
        return _NOT_STORED_RESPONSE
    return m.PublishResponse(result=result)


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
