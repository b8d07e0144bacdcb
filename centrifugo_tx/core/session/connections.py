"""The connections of one node."""

import os
from enum import Enum
from typing import Generic, Protocol, TypeVar

from attrs import define, field

from ...interfaces import ITransport

__all__ = ["Connection", "Connections", "State", "random_ids"]

#: Random bytes that are read at once: 256 ids.
BLOCK = 4096


class State(Enum):
    """The state of a connection."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    #: Its connect was answered with an error; the client is expected to disconnect.
    REFUSED = "refused"
    CLOSED = "closed"


# Looking a member up by its class costs more than the comparison.
NEW, CONNECTING, CONNECTED, REFUSED, CLOSED = State


@define(eq=False)
class RandomIds:
    """Random UUIDs (RFC 9562, version 4), from random bytes that are read in blocks.

    A system call for each takes longer than all the rest of an id.
    """

    #: The block in hexadecimal, and where its unused part begins.
    _digits: str = field(default="", init=False)
    _at: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Forget the rest of the block, which the parent process uses as well."""
        self._digits, self._at = "", 0

    def next(self) -> str:
        """Return a new id."""
        if self._at == len(self._digits):
            self._digits, self._at = os.urandom(BLOCK).hex(), 0
        digits, at = self._digits, self._at
        self._at = at + 32
        variant = "89ab"[int(digits[at + 16], 16) & 3]
        return (
            f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-4"
            f"{digits[at + 13 : at + 16]}-{variant}{digits[at + 17 : at + 20]}-"
            f"{digits[at + 20 : at + 32]}"
        )


#: The ids of connections and sessions.
random_ids = RandomIds()


class Connection(Protocol):
    """The identity of a connection; `Client` implements it.

    ``user`` is empty for an anonymous user, ``session`` for a connection that is
    neither emulated nor unidirectional.
    """

    id: str
    user: str
    session: str
    transport: ITransport


C = TypeVar("C", bound=Connection)


@define(eq=False)
class Connections(Generic[C]):
    """Finds connections by client id, user and session.

    ``open`` holds every connection until it is closed.  The other lookups find clients
    between the success of their connect command and their end.
    """

    open: dict[C, None] = field(factory=dict, init=False)
    _clients: dict[str, C] = field(factory=dict, init=False)
    _users: dict[str, dict[str, C]] = field(factory=dict, init=False)
    _sessions: dict[str, C] = field(factory=dict, init=False)

    def add(self, client: C) -> None:
        """Register a client that has connected."""
        self._clients[client.id] = client
        self._users.setdefault(client.user, {})[client.id] = client
        if client.session:
            self._sessions[client.session] = client

    def remove(self, client: C) -> None:
        """Remove a client; do nothing if it is not registered."""
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

    def client(self, id: str) -> C | None:
        """Return a connected client by its id."""
        return self._clients.get(id)

    def by_session(self, session: str) -> C | None:
        """Return the client that holds an emulated or unidirectional session."""
        return self._sessions.get(session)

    def num_of_user(self, user: str) -> int:
        """Return how many connections *user* has here."""
        return len(self._users.get(user, ()))

    def find(self, user: str, client: str = "", session: str = "") -> list[C]:
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
