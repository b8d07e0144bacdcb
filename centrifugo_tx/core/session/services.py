"""The services of a node that its sessions use."""

from typing import Protocol

from attrs import define

from ...options import PresenceMaps
from ...protocol.messages import ClientInfo
from ..channel.hub import Hub
from ..channel.presence import Presence
from ..channel.receipt import SubscriberReceipt
from ..channel.streams import Streams
from .client_log import ClientLog
from .journal import Journal

__all__ = ["PresenceMirror", "ReceiptKeeper", "Services"]


class PresenceMirror(Protocol):
    """The maps that list the subscribers of channels."""

    def appear(self, channel: str, maps: PresenceMaps, info: ClientInfo) -> None:
        """Add a subscriber of *channel*, or renew its entry."""

    def vanish(self, channel: str, maps: PresenceMaps, info: ClientInfo) -> None:
        """Remove a subscriber of *channel*."""


class ReceiptKeeper(Protocol):
    """Remembers what users had received when they left a channel."""

    def returned(self, channel: str, user: str) -> None:
        """Handle a new subscription of *user*."""

    def left(self, channel: str, receipt: SubscriberReceipt, ttl: float) -> None:
        """Handle the end of a subscription."""


@define(eq=False)
class Services:
    """The channels, presence and logs that all clients of a node share.

    ``mirror`` is None on a node without maps, and ``receipts`` while the node is made.
    """

    hub: Hub
    streams: Streams
    presence: Presence
    client_log: ClientLog
    journal: Journal
    mirror: PresenceMirror | None = None
    receipts: ReceiptKeeper | None = None
