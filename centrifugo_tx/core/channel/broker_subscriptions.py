"""The broker channels this node is subscribed to (engines, "Node subscriptions")."""

from collections.abc import Sized
from typing import Generic, Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...interfaces import IBroker, IMapBroker
from ..runtime import Runtime

__all__ = ["BrokerSubscriptions", "Listened"]

#: Seconds before a failed unsubscribe is repeated.
RETRY = 0.5


class Listened(Protocol):
    """A channel that the broker delivers, with its subscribers on this node."""

    subscribed: bool

    @property
    def name(self) -> str:
        """The broker's name of the channel."""

    @property
    def subscribers(self) -> Sized:
        """Its subscribers on this node."""

    def forget_position(self) -> object:
        """Forget the position: the broker has stopped delivering."""


C = TypeVar("C", bound=Listened)


@define(eq=False)
class BrokerSubscriptions(Generic[C]):
    """Subscribes the node to a channel for the channel's first subscriber.

    After the last subscriber has left, the node stays subscribed for ``linger``
    seconds, for clients that reconnect; then it unsubscribes and removes the channel.
    """

    _runtime: Runtime
    _broker: IBroker | IMapBroker
    _channels: dict[str, C]
    #: ``broker`` or ``map_broker``, as in the metrics.
    _family: str = "broker"
    linger: float = 1.0
    _waiting: "dict[C, list[Deferred[None]]]" = field(factory=dict, init=False)
    _leaving: set[C] = field(factory=set, init=False)
    #: Channels without subscribers, in the order of when they are due.
    _vacant: dict[C, float] = field(factory=dict, init=False)
    _sweep: IDelayedCall | None = field(default=None, init=False)
    _log = Logger()

    def start(self, channel: C) -> "Deferred[None] | None":
        """Make the broker deliver *channel* here.

        :return: a Deferred that fires when it does; None if it does already.
        """
        self._vacant.pop(channel, None)
        if channel.subscribed:
            return None
        waiting = self._waiting.get(channel)
        started = None
        if waiting is None and channel not in self._leaving:
            started = self._ask_broker(channel)
            if started.called and started.result is None:
                channel.subscribed = True
                return None
        done: Deferred[None] = Deferred()
        if waiting is None:
            self._waiting[channel] = [done]
        else:
            waiting.append(done)
        if started is not None:
            self._await_broker(started, channel)
        return done

    def vacate(self, channel: C) -> None:
        """Schedule the unsubscribe if the last subscriber has left *channel*."""
        if not channel.subscribers:
            self._schedule_unsubscribe(channel, self.linger)

    def stop(self) -> None:
        """Cancel all delayed calls."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._vacant.clear()

    def _ask_broker(self, channel: C) -> "Deferred[None]":
        self._runtime.metrics.actions[f"{self._family}_subscribe"].value += 1
        return self._broker.subscribe(channel.name)

    def _await_broker(self, started: "Deferred[None]", channel: C) -> None:
        started.addCallback(self._subscribed, channel)
        started.addErrback(self._subscribe_failed, channel)

    def _subscribed(self, _: None, channel: C) -> None:
        channel.subscribed = True
        for done in self._waiting.pop(channel):
            done.callback(None)
        self.vacate(channel)

    def _subscribe_failed(self, failure: Failure, channel: C) -> None:
        for done in self._waiting.pop(channel):
            done.errback(Failure(failure.value))
        self.vacate(channel)

    def _schedule_unsubscribe(self, channel: C, delay: float) -> None:
        self._vacant[channel] = self._runtime.clock.seconds() + delay
        if self._sweep is None:
            self._sweep = self._runtime.clock.callLater(delay, self._unsubscribe_vacant)

    def _unsubscribe_vacant(self) -> None:
        """Unsubscribe from channels that have stayed without subscribers."""
        self._sweep = None
        now = self._runtime.clock.seconds()
        for channel, due in list(self._vacant.items()):
            if due > now:
                self._sweep = self._runtime.clock.callLater(
                    due - now, self._unsubscribe_vacant
                )
                break
            del self._vacant[channel]
            if channel.subscribers or channel in self._waiting:
                continue
            if not channel.subscribed:
                self._forget(channel)
                continue
            channel.subscribed = False
            self._leaving.add(channel)
            self._runtime.metrics.actions[f"{self._family}_unsubscribe"].value += 1
            left = self._broker.unsubscribe(channel.name)
            left.addCallbacks(
                self._unsubscribed,
                self._unsubscribe_failed,
                callbackArgs=(channel,),
                errbackArgs=(channel,),
            )

    def _unsubscribed(self, _: None, channel: C) -> None:
        self._leaving.discard(channel)
        channel.forget_position()
        if channel in self._waiting:
            self._await_broker(self._ask_broker(channel), channel)
        else:
            self._forget(channel)

    def _unsubscribe_failed(self, failure: Failure, channel: C) -> None:
        self._leaving.discard(channel)
        if channel in self._waiting:
            self._await_broker(self._ask_broker(channel), channel)
        else:
            channel.subscribed = True
            self._schedule_unsubscribe(channel, RETRY)

    def _forget(self, channel: C) -> None:
        if not channel.subscribers:
            self._channels.pop(channel.name, None)
