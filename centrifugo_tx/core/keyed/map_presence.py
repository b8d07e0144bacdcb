"""Maps that mirror the subscribers of channels (client protocol, "Maps")."""

from attrs import define

from ...errors import ReplyError
from ...options import MapChange, PresenceMaps
from ...protocol.messages import EMPTY, ClientInfo
from ..runtime import Runtime
from .maps import Maps

__all__ = ["MapPresence"]


@define(eq=False)
class MapPresence:
    """Updates the maps of clients and users; no caller waits for the changes."""

    _runtime: Runtime
    _maps: Maps

    def appear(self, channel: str, maps: PresenceMaps, info: ClientInfo) -> None:
        """Add a subscriber of *channel*, or renew its entry.

        A user has one entry for all connections.
        """
        if maps.clients:
            self._enter(maps.clients + channel, info.client, info)
        if maps.users and info.user:
            self._enter(maps.users + channel, info.user, None)

    def vanish(self, channel: str, maps: PresenceMaps, info: ClientInfo) -> None:
        """Remove a client; the entry of its user expires later."""
        if maps.clients:
            self.remove(maps.clients + channel, info.client)

    def remove(self, channel: str, key: str) -> None:
        """Remove a key of the map *channel*."""
        change = self._change(channel, None)
        if change is not None:
            done = self._maps.remove(channel, key, change)
            done.addErrback(self._runtime.log_failure, "presence", channel)

    def _enter(self, channel: str, key: str, info: ClientInfo | None) -> None:
        change = self._change(channel, info)
        if change is not None:
            done = self._maps.publish(channel, key, EMPTY, change)
            done.addErrback(self._runtime.log_failure, "presence", channel)

    def _change(self, channel: str, info: ClientInfo | None) -> MapChange | None:
        """Return a change for the map *channel*; None if *channel* is not a map."""
        try:
            rules = self._runtime.policy.channel(channel).map
        except ReplyError:
            return None
        if rules is None:
            return None
        return MapChange(rules, info=info, key_mode="if_new", renew=True)
