"""Who is connected to this node, and which channels it serves."""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from attrs import define, field

from .channel.channel import Channel
from .channel.lanes import FanOut

if TYPE_CHECKING:
    from .client import Client

__all__ = ["Hub"]


@define(eq=False)
class Hub:
    """The node's registers.

    ``open`` holds every connection from its first byte to its last, the other
    registers those that have connected in the protocol's sense.
    """

    _fan_out: FanOut
    open: "dict[Client, None]" = field(factory=dict, init=False)
    channels: dict[str, Channel] = field(factory=dict, init=False)
    #: Channels that are maps, which have a broker of their own.
    maps: dict[str, Channel] = field(factory=dict, init=False)
    num_subscriptions: int = field(default=0, init=False)
    _clients: "dict[str, Client]" = field(factory=dict, init=False)
    _users: "dict[str, dict[str, Client]]" = field(factory=dict, init=False)
    _sessions: "dict[str, Client]" = field(factory=dict, init=False)

    def add(self, client: "Client") -> None:
        """Register a client that has connected."""
        self._clients[client.id] = client
        self._users.setdefault(client.user, {})[client.id] = client
        if client.session:
            self._sessions[client.session] = client

    def remove(self, client: "Client") -> None:
        """Forget a client; no error if it is not registered."""
        if self._clients.pop(client.id, None) is None:
            return
        others = self._users[client.user]
        del others[client.id]
        if not others:
            del self._users[client.user]
        if client.session:
            del self._sessions[client.session]

    @property
    def num_clients(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    @property
    def num_users(self) -> int:
        """How many different users are connected."""
        return len(self._users)

    @property
    def num_channels(self) -> int:
        """How many channels have subscribers here."""
        return sum(1 for _ in self.occupied())

    def occupied(self) -> Iterator[Channel]:
        """Walk over the channels that have subscribers here."""
        everything = chain(self.channels.values(), self.maps.values())
        return (channel for channel in everything if channel.subscribers)

    def client(self, id: str) -> "Client | None":
        """Return a connected client by its id."""
        return self._clients.get(id)

    def by_session(self, session: str) -> "Client | None":
        """Return the client that holds an emulated or unidirectional session."""
        return self._sessions.get(session)

    def connections(self, user: str) -> int:
        """Return how many connections *user* has here."""
        return len(self._users.get(user, ()))

    def find(self, user: str, client: str = "", session: str = "") -> "list[Client]":
        """Return the connections of *user*, narrowed by client id and session.

        An empty user means anonymous connections, not everyone (server API, "Subscribe
        and unsubscribe").
        """
        return [
            each
            for each in self._users.get(user, {}).values()
            if (not client or each.id == client)
            and (not session or each.session == session)
        ]

    def channel(self, name: str) -> Channel:
        """Return the channel of this name, a new one if need be."""
        channel = self.channels.get(name)
        if channel is None:
            channel = self.channels[name] = Channel(name, self._fan_out)
        return channel

    def map(self, name: str) -> Channel:
        """Return the map channel of this name, a new one if need be."""
        channel = self.maps.get(name)
        if channel is None:
            channel = self.maps[name] = Channel(name, self._fan_out)
        return channel
