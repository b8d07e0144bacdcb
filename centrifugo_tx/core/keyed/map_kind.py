"""Subscriptions and publications of clients in map channels.

See client protocol, "Maps".
"""

from typing import Any

import msgspec
from attrs import define
from twisted.internet.defer import Deferred

from ...errors import DisconnectClient, ReplyError
from ...options import MapChange, SubscribeOptions
from ...protocol.codes import (
    ALREADY_SUBSCRIBED,
    BAD_REQUEST,
    CONCURRENT_PAGINATION,
    MALFORMED,
    NOT_AVAILABLE,
    PERMISSION_DENIED,
    SLOW,
)
from ...protocol.messages import (
    PublishRequest,
    PublishResult,
    SubscribeRequest,
    checked_info,
)
from ...protocol.payloads import checked, detached
from ..run_or_defer import run_or_defer
from ..runtime import Runtime
from ..session.client import Client
from ..session.outcome import Outcome
from ..session.subscription import Subscriber, Subscription
from .map_presence import MapPresence
from .map_reader import STATE, MapReader
from .maps import Maps

__all__ = ["MapKind"]


@define(eq=False)
class MapKind:
    """Handles subscriptions to maps, page by page, and changes by clients."""

    _runtime: Runtime
    _maps: Maps
    _presence: MapPresence

    # --- Subscribing -----------------------------------------------------------

    def open(self, client: Subscriber, request: SubscribeRequest) -> Subscription:
        """Return a new subscription that has not started.

        :raises ReplyError: 103, the request continues a subscription that is unknown.
        """
        if request.cursor:
            raise ReplyError(PERMISSION_DENIED)
        reader = MapReader(self._runtime, self._maps, self._presence)
        return Subscription(client, request.channel, reader)

    def admit(
        self,
        subscription: Subscription,
        options: SubscribeOptions,
        request: SubscribeRequest,
    ) -> "Outcome | Deferred[Any]":
        """Return the first page, or make a subscription live that needs none."""
        rules = self._runtime.policy.channel(subscription.name).map
        if rules is None:
            raise ReplyError(NOT_AVAILABLE)
        reader = _reader(subscription)
        reader.admit(subscription, options, rules, request)
        return run_or_defer(reader.proceed(subscription, request))

    def resumes(self, known: Subscription, request: SubscribeRequest) -> bool:
        """Whether *request* asks for the next page of *known*."""
        kind = known.kind
        continues = bool(request.cursor) or request.phase != STATE
        return isinstance(kind, MapReader) and kind.loading and continues

    async def resume(self, known: Subscription, request: SubscribeRequest) -> Outcome:
        """Return the next page; the policy has permitted all of them at the first.

        :raises DisconnectClient: 3008, the client took too long.
        """
        reader, client = _reader(known), known.client
        if reader.busy:
            raise ReplyError(CONCURRENT_PAGINATION)
        if reader.late:
            client.forget(known)
            raise DisconnectClient(SLOW)
        try:
            return await reader.proceed(known, request)
        except BaseException:
            client.forget(known)
            raise

    # --- Publishing ------------------------------------------------------------

    async def publish(self, client: Client, request: PublishRequest) -> PublishResult:
        """Set or remove a key for the client, if the policy permits it."""
        name = request.channel
        if not name:
            raise DisconnectClient(MALFORMED)
        granted: tuple[str, MapChange]
        granted = await self._runtime.policy.change_map(client, request)
        key, change = granted
        if not key:
            raise ReplyError(BAD_REQUEST)
        if request.removed:
            await self._maps.remove(name, key, change)
            return PublishResult()
        if change.info is None:
            info = client.info_in(name)
        else:
            info = checked_info(change.info)
        given = change.data
        data = detached(request.data) if given is None else checked(given)
        change = msgspec.structs.replace(change, info=info)
        await self._maps.publish(name, key, data, change)
        return PublishResult()


def _reader(subscription: Subscription) -> MapReader:
    reader = subscription.kind
    if not isinstance(reader, MapReader):
        raise ReplyError(ALREADY_SUBSCRIBED)
    return reader
