"""The contract of every presence manager (engines, "Presence manager")."""

from abc import abstractmethod
from typing import TYPE_CHECKING

from zope.interface.verify import verifyObject

from centrifugo_tx.interfaces import IPresenceManager
from centrifugo_tx.options import PresenceStats
from centrifugo_tx.protocol.messages import ClientInfo, Raw

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object

__all__ = ["PresenceContract"]

ADA = ClientInfo("ada", "c1", conn_info=Raw(b'{"n":1}'), chan_info=Raw(b"[]"))
ADA_AGAIN = ClientInfo("ada", "c2")
BOB = ClientInfo("bob", "c3")


class PresenceContract(Base):
    """Subclasses make the manager, and let time pass for it."""

    @abstractmethod
    async def make_presence(self, ttl: float) -> IPresenceManager:
        """Return a manager whose entries fade after *ttl* seconds."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Advance the time of the manager and of its storage."""

    async def test_interface(self) -> None:
        """It provides the interface."""
        verifyObject(IPresenceManager, await self.make_presence(60.0))

    async def test_empty(self) -> None:
        """Nobody is in an unknown channel."""
        presence = await self.make_presence(60.0)
        self.assertEqual(await presence.presence("room"), {})
        self.assertEqual(await presence.stats("room"), PresenceStats())

    async def test_add(self) -> None:
        """A client that entered is present with its info."""
        presence = await self.make_presence(60.0)
        await presence.add("room", "c1", ADA)
        await presence.add("room", "c3", BOB)
        present = await presence.presence("room")
        self.assertEqual(set(present), {"c1", "c3"})
        self.assertEqual((present["c1"].user, present["c1"].client), ("ada", "c1"))
        self.assertEqual(bytes(present["c1"].conn_info), b'{"n":1}')
        self.assertEqual(bytes(present["c1"].chan_info), b"[]")
        self.assertEqual(present["c3"], BOB)
        self.assertEqual(await presence.presence("another"), {})

    async def test_stats(self) -> None:
        """A user with two connections is two clients and one user."""
        presence = await self.make_presence(60.0)
        for info in (ADA, ADA_AGAIN, BOB, ADA):
            await presence.add("room", info.client, info)
        self.assertEqual(await presence.stats("room"), PresenceStats(3, 2))

    async def test_anonymous(self) -> None:
        """All anonymous clients count as one user."""
        presence = await self.make_presence(60.0)
        for client in ("c1", "c2"):
            await presence.add("room", client, ClientInfo("", client))
        self.assertEqual(await presence.stats("room"), PresenceStats(2, 1))

    async def test_replace(self) -> None:
        """Entering again replaces the info."""
        presence = await self.make_presence(60.0)
        await presence.add("room", "c1", ADA)
        await presence.add("room", "c1", ClientInfo("ada", "c1"))
        self.assertEqual(
            await presence.presence("room"), {"c1": ClientInfo("ada", "c1")}
        )

    async def test_remove(self) -> None:
        """A client that left is absent; leaving twice is not an error."""
        presence = await self.make_presence(60.0)
        for info in (ADA, ADA_AGAIN, BOB):
            await presence.add("room", info.client, info)
        for _ in range(2):
            await presence.remove("room", "c1", "ada")
        self.assertEqual(set(await presence.presence("room")), {"c2", "c3"})
        self.assertEqual(await presence.stats("room"), PresenceStats(2, 2))
        await presence.remove("room", "c2", "ada")
        self.assertEqual(await presence.stats("room"), PresenceStats(1, 1))
        await presence.remove("room", "c3", "bob")
        self.assertEqual(await presence.presence("room"), {})
        self.assertEqual(await presence.stats("room"), PresenceStats())

    async def test_remove_unknown(self) -> None:
        """Removing an unknown client is not an error."""
        presence = await self.make_presence(60.0)
        await presence.remove("nowhere", "c9", "x")
        self.assertEqual(await presence.presence("nowhere"), {})

    async def test_fade(self) -> None:
        """A client that is not renewed expires; one that is renewed stays."""
        presence = await self.make_presence(60.0)
        await presence.add("room", "c1", ADA)
        await presence.add("room", "c3", BOB)
        await self.pass_time(40)
        await presence.add("room", "c3", BOB)
        self.assertEqual(await presence.stats("room"), PresenceStats(2, 2))
        await self.pass_time(25)
        self.assertEqual(set(await presence.presence("room")), {"c3"})
        self.assertEqual(await presence.stats("room"), PresenceStats(1, 1))
        await self.pass_time(40)
        self.assertEqual(await presence.stats("room"), PresenceStats())
        self.assertEqual(await presence.presence("room"), {})

    async def test_come_back(self) -> None:
        """A client that expired or left can enter again, and expires again."""
        presence = await self.make_presence(60.0)
        await presence.add("room", "c1", ADA)
        await presence.remove("room", "c1", "ada")
        await presence.add("room", "c1", ADA)
        await self.pass_time(40)
        self.assertEqual(set(await presence.presence("room")), {"c1"})
        await self.pass_time(25)
        self.assertEqual(await presence.presence("room"), {})
        await presence.add("room", "c1", ADA)
        self.assertEqual(set(await presence.presence("room")), {"c1"})
