"""The contract of every receipt store (docs/receipts.rst)."""

from abc import abstractmethod
from typing import TYPE_CHECKING

from zope.interface.verify import verifyObject

from centrifugo_tx.interfaces import IReceiptStore
from centrifugo_tx.options import Proof

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object

__all__ = ["ReceiptStoreContract"]

EARLIER = Proof("one", floor=2, received=5, at=1_790_000_000.25)
LATER = Proof("two with blanks", floor=0, received=2**63, at=1_790_000_009.5)


class ReceiptStoreContract(Base):
    """Subclasses make the store, and let time pass for it."""

    @abstractmethod
    async def make_store(self) -> IReceiptStore:
        """Return an empty store."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Advance the time of the store."""

    async def departed(self, store: IReceiptStore, channel: str) -> dict[str, Proof]:
        """Return what all pages of a channel hold."""
        found: dict[str, Proof] = {}
        cursor = ""
        while True:
            page = await store.departures(channel, cursor)
            found.update(page.users)
            cursor = page.cursor
            if not cursor:
                return found

    async def test_interface(self) -> None:
        """It provides the interface."""
        verifyObject(IReceiptStore, await self.make_store())

    async def test_empty(self) -> None:
        """No user has left an unknown channel."""
        store = await self.make_store()
        self.assertEqual(await self.departed(store, "news"), {})
        await store.returned("news", "ada")

    async def test_left(self) -> None:
        """The last proof of each user is kept, for each channel."""
        store = await self.make_store()
        await store.left("news", "ada", EARLIER, 60.0)
        await store.left("news", "ada", LATER, 60.0)
        await store.left("news", "bob ü", EARLIER, 60.0)
        await store.left("other", "eve", EARLIER, 60.0)
        found = await self.departed(store, "news")
        self.assertEqual(found, {"ada": LATER, "bob ü": EARLIER})

    async def test_returned(self) -> None:
        """A user that is back is not among them."""
        store = await self.make_store()
        await store.left("news", "ada", EARLIER, 60.0)
        await store.left("news", "bob", EARLIER, 60.0)
        await store.returned("news", "ada")
        self.assertEqual(await self.departed(store, "news"), {"bob": EARLIER})
        await store.returned("news", "bob")
        self.assertEqual(await self.departed(store, "news"), {})

    async def test_many(self) -> None:
        """Many users are read completely."""
        store = await self.make_store()
        for number in range(3000):
            await store.left("news", f"u{number}", EARLIER, 60.0)
        found = await self.departed(store, "news")
        self.assertEqual(len(found), 3000)

    async def test_expire(self) -> None:
        """The departures of a channel expire together, after the last one."""
        store = await self.make_store()
        await store.left("news", "ada", EARLIER, 60.0)
        await self.pass_time(40)
        await store.left("news", "bob", LATER, 60.0)
        await self.pass_time(40)
        self.assertEqual(set(await self.departed(store, "news")), {"ada", "bob"})
        await self.pass_time(25)
        self.assertEqual(await self.departed(store, "news"), {})
        await store.left("news", "eve", EARLIER, 60.0)
        self.assertEqual(set(await self.departed(store, "news")), {"eve"})
