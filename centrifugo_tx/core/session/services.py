"""What the sessions of a node use of it."""

from typing import Protocol

from attrs import define

from ...options import PresenceMaps
from ...protocol.messages import ClientInfo
from ..channel.hub import Hub
from ..channel.presence import Presence
from ..channel.streams import Streams
from .client_log import ClientLog
from .journal import Journal

__all__ = ["PresenceMirror", "Services"]


class PresenceMirror(Protocol):
    """Maps in which the subscribers of channels appear."""

    def appear(self, channel: str, maps: PresenceMaps, info: ClientInfo) -> None:
        """Enter a subscriber of *channel*, or let it stay."""

    def vanish(self, channel: str, maps: PresenceMaps, info: ClientInfo) -> None:
        """Take a subscriber of *channel* out."""


@define(eq=False)
class Services:
    """Channels, presence and logs, as all clients of a node share them.

    ``mirror`` is None on a node without maps.
    """

    hub: Hub
    streams: Streams
    presence: Presence
    client_log: ClientLog
    journal: Journal
    mirror: PresenceMirror | None = None
