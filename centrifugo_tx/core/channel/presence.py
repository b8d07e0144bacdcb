"""Presence in the channels of all nodes."""

from attrs import define
from twisted.internet.defer import Deferred

from ...interfaces import IPresenceManager
from ...options import PresenceStats
from ...protocol.messages import ClientInfo
from ..runtime import Runtime

__all__ = ["Presence"]


@define(eq=False)
class Presence:
    """Counts calls of the presence manager, and logs failures that no caller sees."""

    _runtime: Runtime
    _manager: IPresenceManager

    def clients(self, channel: str) -> Deferred[dict[str, ClientInfo]]:
        """Return the clients in *channel*, by client id."""
        self._runtime.metrics.actions["presence"].value += 1
        return self._manager.presence(channel)

    def stats(self, channel: str) -> Deferred[PresenceStats]:
        """Return the numbers of clients and users in *channel*."""
        self._runtime.metrics.actions["presence_stats"].value += 1
        return self._manager.stats(channel)

    def add(self, channel: str, info: ClientInfo) -> Deferred[None]:
        """Add a client to *channel*."""
        self._runtime.metrics.actions["add_presence"].value += 1
        return self._manager.add(channel, info.client, info)

    def renew(self, channel: str, info: ClientInfo) -> None:
        """Renew a client's entry; no caller waits for it."""
        self._runtime.metrics.actions["add_presence"].value += 1
        done = self._manager.add(channel, info.client, info)
        done.addErrback(self._runtime.log_failure, "presence", channel)

    def remove(self, channel: str, info: ClientInfo) -> None:
        """Remove a client from *channel*; no caller waits for it."""
        self._runtime.metrics.actions["remove_presence"].value += 1
        done = self._manager.remove(channel, info.client, info.user)
        done.addErrback(self._runtime.log_failure, "presence", channel)
