"""The contract of every map broker."""

from abc import abstractmethod
from typing import TYPE_CHECKING

from attrs import define, field
from zope.interface import implementer
from zope.interface.verify import verifyObject

from centrifugo_tx.errors import ReplyError
from centrifugo_tx.interfaces import IMapBroker, IMapEventHandler
from centrifugo_tx.options import (
    HistoryQuery,
    MapChange,
    MapChanged,
    MapPage,
    MapQuery,
    MapRules,
)
from centrifugo_tx.protocol.codes import BAD_REQUEST
from centrifugo_tx.protocol.messages import (
    ClientInfo,
    Publication,
    Raw,
    StreamPosition,
)

from .broker import data, offsets, payloads
from .doubles import Delivery, Receiver

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object

__all__ = ["MapContract", "MapReceiver", "OrderedMapContract", "data"]

KEPT = MapRules(stream_size=5, stream_ttl=60.0)
STREAMLESS = MapRules(stream_size=0, key_ttl=10.0, meta_ttl=600.0)
FADING = MapRules(stream_size=5, stream_ttl=60.0, key_ttl=10.0, meta_ttl=120.0)
ADA = ClientInfo("u7", "3f2a")
EVERYTHING = HistoryQuery(-1)


@implementer(IMapEventHandler)
@define(eq=False)
class MapReceiver(Receiver):
    """Records the events of a map broker."""

    cleared: list[str] = field(factory=list, init=False)
    #: How all maps are kept, as the last change said.
    kept: MapRules = field(default=KEPT, init=False)
    #: The maps that this node knows; None: all.
    known: set[str] | None = field(default=None, init=False)

    def handle_change(
        self,
        channel: str,
        publication: Publication,
        position: StreamPosition,
        previous: Publication | None,
    ) -> None:
        """Write it down."""
        self.handle_publication(channel, publication, position, previous)

    def handle_clear(self, channel: str) -> None:
        """Write it down."""
        self.cleared.append(channel)
        self._waiting.fire_reached()

    def rules(self, channel: str) -> MapRules | None:
        """Return how all maps that are known are kept."""
        if self.known is not None and channel not in self.known:
            return None
        return self.kept


def keys(entries: list[Publication]) -> list[str]:
    """Return the keys of entries."""
    return [entry.key for entry in entries]


class MapContract(Base):
    """Subclasses make the broker, and let time pass for it."""

    receiver: MapReceiver
    broker: IMapBroker

    @abstractmethod
    async def make_broker(self, receiver: MapReceiver) -> IMapBroker:
        """Return a broker that delivers to *receiver*, and runs."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Advance the time of the broker and of its storage."""

    async def begin(self) -> None:
        """Make the broker of the test, which listens to the map ``m``."""
        self.receiver = MapReceiver()
        verifyObject(IMapEventHandler, self.receiver)
        self.broker = await self.make_broker(self.receiver)
        verifyObject(IMapBroker, self.broker)
        await self.broker.subscribe("m")

    async def delivered(self, count: int) -> list[Delivery]:
        """Return that many delivered changes."""
        await self.receiver.when_count_is(self.receiver.deliveries, count)
        return self.receiver.deliveries

    async def put(
        self, key: str, number: int, rules: MapRules = KEPT, **change: object
    ) -> MapChanged:
        """Publish a key into the map ``m``."""
        self.receiver.kept = rules
        made = MapChange(rules, **change)  # type: ignore[arg-type]
        changed: MapChanged = await self.broker.publish("m", key, data(number), made)
        return changed

    async def drop(
        self, key: str, rules: MapRules = KEPT, **change: object
    ) -> MapChanged:
        """Remove a key from the map ``m``."""
        made = MapChange(rules, **change)  # type: ignore[arg-type]
        changed: MapChanged = await self.broker.remove("m", key, made)
        return changed

    async def state(self, limit: int = -1, cursor: str = "", key: str = "") -> MapPage:
        """Read the state of ``m``."""
        page: MapPage = await self.broker.state("m", MapQuery(limit, cursor, key))
        return page

    # --- Publish and remove ----------------------------------------------------

    async def test_publish(self) -> None:
        """A key is set, its change numbered, delivered and readable."""
        await self.begin()
        changed = await self.put("a", 1, info=ADA, tags={"t": "x"})
        self.assertEqual(changed.position.offset, 1)
        self.assertEqual((changed.suppressed, changed.current), ("", None))
        [delivery] = await self.delivered(1)
        publication = delivery.publication
        self.assertEqual((delivery.channel, publication.key), ("m", "a"))
        self.assertEqual(delivery.position, changed.position)
        self.assertEqual(bytes(publication.data), bytes(data(1)))
        self.assertEqual((publication.info, publication.tags), (ADA, {"t": "x"}))
        self.assertEqual((publication.offset, publication.removed), (1, False))
        self.assertEqual(publication.epoch, changed.position.epoch)
        self.assertGreater(publication.time, 0)
        self.assertEqual((await self.state()).entries, [publication])

    async def test_replace(self) -> None:
        """The newest value of a key is its value."""
        await self.begin()
        await self.put("a", 1)
        await self.put("a", 2)
        page = await self.state()
        self.assertEqual(payloads(page.entries), [bytes(data(2))])
        self.assertEqual(offsets(page.entries), [2])
        self.assertEqual(page.position.offset, 2)

    async def test_remove(self) -> None:
        """A removal is a change without data that carries the key's tags."""
        await self.begin()
        await self.put("a", 1, tags={"t": "x"})
        changed = await self.drop("a")
        self.assertEqual(changed.position.offset, 2)
        removal = (await self.delivered(2))[-1].publication
        self.assertTrue(removal.removed)
        self.assertEqual((removal.key, removal.tags), ("a", {"t": "x"}))
        self.assertEqual((removal.offset, bytes(removal.data)), (2, b""))
        self.assertEqual((await self.state()).entries, [])
        self.assertEqual(await self.broker.size("m"), 0)

    async def test_remove_nothing(self) -> None:
        """Removing a key that is not there changes nothing."""
        await self.begin()
        top = (await self.put("a", 1)).position
        changed = await self.drop("b")
        self.assertEqual(changed, MapChanged(top, "key_not_found"))
        await self.put("a", 2)
        self.assertEqual(len(await self.delivered(2)), 2)

    async def test_remove_from_nothing(self) -> None:
        """Removing a key of an unknown map creates no map."""
        await self.begin()
        self.assertEqual(await self.drop("a"), MapChanged(suppressed="key_not_found"))
        expected = StreamPosition(1, "e")
        changed = await self.drop("a", expected=expected)
        self.assertEqual(changed, MapChanged(suppressed="position_mismatch"))

    async def test_previous(self) -> None:
        """With a delta requested, the key's previous value is delivered, too."""
        await self.begin()
        await self.put("a", 1)
        await self.put("b", 2)
        await self.put("a", 3, delta=True)
        delivery = (await self.delivered(3))[-1]
        assert delivery.previous is not None
        self.assertEqual(bytes(delivery.previous.data), bytes(data(1)))
        await self.put("c", 4, delta=True)
        self.assertIsNone((await self.delivered(4))[-1].previous)

    # --- What is suppressed ----------------------------------------------------

    async def test_idempotency(self) -> None:
        """A change with a known idempotency key is not made again."""
        await self.begin()
        first = await self.put("a", 1, idempotency_key="i")
        await self.put("a", 2)
        again = await self.put("a", 1, idempotency_key="i")
        self.assertEqual(again, MapChanged(first.position, "idempotency"))
        self.assertEqual(payloads((await self.state()).entries), [bytes(data(2))])
        await self.pass_time(302)
        self.assertEqual((await self.put("a", 1, idempotency_key="i")).suppressed, "")

    async def test_version(self) -> None:
        """A key takes newer versions only, and unversioned values any time."""
        await self.begin()
        self.assertEqual((await self.put("a", 1, version=5)).suppressed, "")
        self.assertEqual((await self.put("a", 2, version=5)).suppressed, "version")
        self.assertEqual((await self.put("b", 3, version=1)).suppressed, "")
        self.assertEqual((await self.put("a", 4)).suppressed, "")
        self.assertEqual((await self.put("a", 5, version=4)).suppressed, "version")
        other = await self.put("a", 6, version=1, version_epoch="e")
        self.assertEqual(other.suppressed, "")

    async def test_key_mode(self) -> None:
        """A change may want the key to be new, or to be there."""
        await self.begin()
        missing = await self.put("a", 1, key_mode="if_exists")
        self.assertEqual(missing.suppressed, "key_not_found")
        self.assertEqual((await self.put("a", 1, key_mode="if_new")).suppressed, "")
        self.assertEqual((await self.put("a", 2, key_mode="if_exists")).suppressed, "")
        there = await self.put("a", 3, key_mode="if_new")
        self.assertEqual(there.suppressed, "key_exists")
        self.assertEqual(there.position.offset, 2)
        self.assertEqual(payloads((await self.state()).entries), [bytes(data(2))])

    async def test_expected(self) -> None:
        """A change may expect a position of the key; a failure returns the real one."""
        await self.begin()
        first = await self.put("a", 1)
        elsewhere = StreamPosition(7, first.position.epoch)
        refused = await self.put("a", 2, expected=elsewhere)
        self.assertEqual(refused.suppressed, "position_mismatch")
        assert refused.current is not None
        self.assertEqual(refused.current.offset, 1)
        gone = await self.drop("a", expected=StreamPosition(1, "other"))
        self.assertEqual(gone.suppressed, "position_mismatch")
        changed = await self.put("a", 2, expected=first.position)
        self.assertEqual(changed.suppressed, "")
        missing = await self.drop("b", expected=first.position)
        self.assertEqual(missing.suppressed, "position_mismatch")
        self.assertIsNone(missing.current)

    # --- State -----------------------------------------------------------------

    async def test_all_pages(self) -> None:
        """Successive pages contain all keys that stay, despite other changes."""
        await self.begin()
        for number in range(1000):
            await self.broker.publish(
                "m", f"k{number:03}", Raw(b"x" * 100), MapChange(KEPT)
            )
        page = await self.state(100)
        self.assertTrue(page.cursor)
        found = set(keys(page.entries))
        for number in range(0, 1000, 100):
            await self.drop(f"k{number:03}")
            await self.put(f"n{number:03}", number)
        longest = 0
        while page.cursor:
            page = await self.state(100, page.cursor)
            found.update(keys(page.entries))
            longest = max(longest, len(page.entries))
        stayed = {f"k{number:03}" for number in range(1000) if number % 100}
        self.assertEqual(stayed - found, set())
        self.assertLess(longest, 300)
        everything = await self.state()
        self.assertEqual(len(everything.entries), 1000)
        self.assertEqual(everything.cursor, "")

    async def test_cursor_of_nobody(self) -> None:
        """A cursor that no page gave ends in a page or an error, not in a failure."""
        await self.begin()
        await self.put("a", 1)
        try:
            page = await self.state(2, "no cursor")
        except ReplyError as error:
            self.assertEqual(error.error, BAD_REQUEST)
        else:
            self.assertEqual(page.cursor, "")

    async def test_one_key(self) -> None:
        """One key can be read regardless of the limit."""
        await self.begin()
        await self.put("a", 1)
        await self.put("b", 2)
        self.assertEqual(keys((await self.state(0, key="b")).entries), ["b"])
        self.assertEqual((await self.state(key="c")).entries, [])

    async def test_position_alone(self) -> None:
        """Limit 0 asks for the position; reading makes a map that has one."""
        await self.begin()
        page = await self.state(0)
        self.assertEqual((page.entries, page.position.offset), ([], 0))
        self.assertTrue(page.position.epoch)
        changed = await self.put("a", 1)
        self.assertEqual(changed.position.epoch, page.position.epoch)

    # --- Stream ----------------------------------------------------------------

    async def test_stream(self) -> None:
        """Changes are kept in order, up to the size of the stream."""
        await self.begin()
        for number in range(7):
            await self.put("a", number)
        history = await self.broker.stream("m", EVERYTHING)
        self.assertEqual(offsets(history.publications), [3, 4, 5, 6, 7])
        self.assertEqual(history.position.offset, 7)
        since = StreamPosition(5, history.position.epoch)
        part = await self.broker.stream("m", HistoryQuery(1, since))
        self.assertEqual(offsets(part.publications), [6])

    async def test_stream_ttl(self) -> None:
        """The stream empties some time after the last change; keys stay."""
        await self.begin()
        top = (await self.put("a", 1)).position
        await self.pass_time(62)
        history = await self.broker.stream("m", EVERYTHING)
        self.assertEqual((history.publications, history.position), ([], top))
        self.assertEqual(keys((await self.state()).entries), ["a"])

    async def test_streamless(self) -> None:
        """Without a stream changes have no offset, and still are delivered."""
        await self.begin()
        changed = await self.put("a", 1, STREAMLESS)
        self.assertEqual(changed.position.offset, 0)
        self.assertTrue(changed.position.epoch)
        await self.drop("a", STREAMLESS)
        offsets_seen = [each.position.offset for each in await self.delivered(2)]
        self.assertEqual(offsets_seen, [0, 0])
        history = await self.broker.stream("m", EVERYTHING)
        self.assertEqual(history.publications, [])

    # --- Time ------------------------------------------------------------------

    async def test_key_ttl(self) -> None:
        """A key that is not published again goes, which is a change like any."""
        await self.begin()
        await self.put("a", 1, FADING, tags={"t": "x"})
        await self.pass_time(6)
        await self.put("b", 2, FADING)
        await self.pass_time(6)
        self.assertEqual(keys((await self.state()).entries), ["b"])
        removal = (await self.delivered(3))[-1].publication
        self.assertEqual((removal.key, removal.removed), ("a", True))
        self.assertEqual((removal.offset, removal.tags), (3, {"t": "x"}))

    async def test_key_renewed(self) -> None:
        """A key that is published again stays."""
        await self.begin()
        await self.put("a", 1, FADING)
        await self.pass_time(8)
        await self.put("a", 2, FADING)
        await self.pass_time(8)
        self.assertEqual(payloads((await self.state()).entries), [bytes(data(2))])
        await self.pass_time(4)
        self.assertEqual((await self.state()).entries, [])

    async def test_key_for_good(self) -> None:
        """A key that is published again without a TTL never expires."""
        await self.begin()
        await self.put("a", 1, FADING)
        await self.put("b", 1, FADING)
        await self.put("a", 2, KEPT)
        await self.pass_time(12)
        self.assertEqual(keys((await self.state()).entries), ["a"])
        self.assertEqual((await self.delivered(4))[-1].publication.key, "b")

    async def test_renew_instead(self) -> None:
        """A suppressed publication can let the key stay, if it says so."""
        await self.begin()
        for key in "ab":
            await self.put(key, 1, FADING)
        await self.pass_time(8)
        await self.put("a", 1, FADING, key_mode="if_new", renew=True)
        await self.put("b", 1, FADING, key_mode="if_new")
        await self.pass_time(8)
        self.assertEqual(keys((await self.state()).entries), ["a"])

    async def test_meta_ttl(self) -> None:
        """An unused map expires; the next one has another epoch."""
        await self.begin()
        epoch = (await self.put("a", 1, FADING)).position.epoch
        await self.pass_time(100)
        await self.broker.state("m", MapQuery(meta_ttl=120.0))
        await self.pass_time(100)
        self.assertEqual((await self.state()).position.epoch, epoch)
        await self.pass_time(130)
        page = await self.state()
        self.assertNotEqual(page.position.epoch, epoch)
        self.assertEqual(page.position.offset, 0)

    async def test_clear(self) -> None:
        """A cleared map starts again, and all subscribers are notified."""
        await self.begin()
        first = await self.put("a", 1, idempotency_key="i")
        await self.broker.clear("m")
        await self.receiver.when_count_is(self.receiver.cleared, 1)
        self.assertEqual(self.receiver.cleared, ["m"])
        page = await self.state()
        self.assertEqual((page.entries, page.position.offset), ([], 0))
        self.assertNotEqual(page.position.epoch, first.position.epoch)
        self.assertEqual((await self.put("a", 1, idempotency_key="i")).suppressed, "")

    async def test_forgotten_in_silence(self) -> None:
        """A map goes in silence when its time is over: it held nothing any more."""
        await self.begin()
        await self.put("a", 1, STREAMLESS)
        await self.pass_time(612)
        self.assertEqual(await self.broker.size("m"), 0)
        self.assertEqual(self.receiver.cleared, [])
        await self.put("a", 1, STREAMLESS)
        await self.broker.clear("m")
        await self.receiver.when_count_is(self.receiver.cleared, 1)
        self.assertEqual(self.receiver.cleared, ["m"])

    async def test_size(self) -> None:
        """The number of keys is known, even for an unknown map."""
        await self.begin()
        self.assertEqual(await self.broker.size("m"), 0)
        await self.put("a", 1)
        await self.put("b", 1)
        self.assertEqual(await self.broker.size("m"), 2)

    async def test_any_payload(self) -> None:
        """Values may be any bytes, or nothing."""
        await self.begin()
        for number, payload in enumerate([b"", b"\x00\xff", b'{"a": 1}']):
            change = MapChange(KEPT)
            await self.broker.publish("m", str(number), Raw(payload), change)
        found = payloads((await self.state()).entries)
        self.assertEqual(found, [b"", b"\x00\xff", b'{"a": 1}'])

    async def test_apart(self) -> None:
        """Maps have nothing to do with one another."""
        await self.begin()
        await self.put("a", 1)
        other = await self.broker.publish("n", "b", data(2), MapChange(KEPT))
        self.assertEqual(other.position.offset, 1)
        self.assertEqual(keys((await self.state()).entries), ["a"])


class OrderedMapContract(MapContract):
    """Features of brokers that sort the keys."""

    async def test_pages(self) -> None:
        """Pages follow the order of keys, each going on where the last one ended."""
        await self.begin()
        for number, key in enumerate("dbeac"):
            await self.put(key, number)
        page = await self.state(2)
        self.assertEqual((keys(page.entries), page.cursor), (["a", "b"], "b"))
        await self.drop("b")
        await self.put("ab", 9)
        page = await self.state(2, page.cursor)
        self.assertEqual((keys(page.entries), page.cursor), (["c", "d"], "d"))
        page = await self.state(2, page.cursor)
        self.assertEqual((keys(page.entries), page.cursor), (["e"], ""))

    async def test_last_page(self) -> None:
        """A page that holds exactly the rest is the last."""
        await self.begin()
        await self.put("a", 1)
        await self.put("b", 2)
        self.assertEqual((await self.state(2)).cursor, "")
        self.assertEqual((await self.state(2, "b")).entries, [])
