"""The contract of every broker (engines, "Broker" and "Reading history")."""

from abc import abstractmethod
from typing import TYPE_CHECKING

from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from centrifugo_tx.core.run_or_defer import as_deferred
from centrifugo_tx.interfaces import IBroker
from centrifugo_tx.options import History, HistoryQuery, Published, PublishOptions
from centrifugo_tx.protocol.messages import (
    EMPTY,
    ClientInfo,
    Payload,
    Publication,
    Raw,
    StreamPosition,
)

from .doubles import Receiver

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object

__all__ = ["HISTORY", "BrokerContract", "StreamContract", "data"]

HISTORY = PublishOptions(history_size=10, history_ttl=60.0)
ADA = ClientInfo("u7", "3f2a", conn_info=Raw(b'{"n":"Ada"}'), chan_info=Raw(b'{"r":1}'))


def data(number: int) -> Raw:
    """Return a payload."""
    return Raw(b'{"t":%d}' % number)


def payloads(publications: list[Publication]) -> list[bytes]:
    """Return the publications, as bytes."""
    return [bytes(publication.data) for publication in publications]


def offsets(publications: list[Publication]) -> list[int]:
    """Return where publications stand."""
    return [publication.offset for publication in publications]


class BrokerContract(Base):
    """Subclasses make the broker, and let time pass for it."""

    #: The receiver of the brokers in this test.
    receiver: Receiver
    broker: IBroker

    @abstractmethod
    async def make_broker(self, receiver: Receiver, meta_ttl: float) -> IBroker:
        """Return a broker that delivers to *receiver*, ready for use."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Advance the time of the broker and of its storage."""

    async def begin(self, meta_ttl: float = 3600.0) -> IBroker:
        """Make the broker of the test, which listens to *room:7*."""
        self.receiver = Receiver()
        self.broker = await self.make_broker(self.receiver, meta_ttl)
        await self.broker.subscribe("room:7")
        return self.broker

    async def publish(
        self, number: int, options: PublishOptions = HISTORY
    ) -> Published:
        """Publish a payload into the room."""
        return await self.publish_into("room:7", data(number), options)

    async def publish_into(
        self, channel: str, payload: Payload, options: PublishOptions
    ) -> Published:
        """Publish a payload into any channel, and wait for the result."""
        published = self.broker.publish(channel, payload, options)
        return published if isinstance(published, Published) else await published

    async def history(self, query: HistoryQuery | None = None) -> History:
        """Read all of the room's history."""
        return await self.broker.history("room:7", query or HistoryQuery(limit=-1))

    async def test_interface(self) -> None:
        """It provides the interface."""
        verifyObject(IBroker, await self.begin())

    async def test_plain_publication(self) -> None:
        """Without history a publication is delivered as it is, and stands nowhere."""
        await self.begin()
        published = await self.publish(1, PublishOptions(info=ADA, tags={"k": "v"}))
        self.assertEqual(published, Published())
        await self.receiver.when_count_is(self.receiver.deliveries, 1)
        [delivery] = self.receiver.deliveries
        self.assertEqual(delivery.channel, "room:7")
        self.assertEqual(delivery.position, StreamPosition())
        self.assertIsNone(delivery.previous)
        publication = delivery.publication
        self.assertEqual(bytes(publication.data), b'{"t":1}')
        self.assertEqual(publication.offset, 0)
        self.assertEqual(publication.tags, {"k": "v"})
        info = publication.info
        assert info is not None
        self.assertEqual((info.user, info.client), ("u7", "3f2a"))
        self.assertEqual(bytes(info.conn_info), b'{"n":"Ada"}')
        self.assertEqual(bytes(info.chan_info), b'{"r":1}')
        self.assertEqual((await self.history()).position.offset, 0)

    async def test_polled_key(self) -> None:
        """A value of a polled key has key, version and epoch, and stands nowhere."""
        await self.begin()
        options = PublishOptions(key="k", version=7, epoch="e")
        self.assertEqual(await self.publish(1, options), Published())
        await self.receiver.when_count_is(self.receiver.deliveries, 1)
        [delivery] = self.receiver.deliveries
        publication = delivery.publication
        self.assertEqual((publication.key, publication.version), ("k", 7))
        self.assertEqual(delivery.position, StreamPosition(epoch="e"))

    async def test_absent_payload(self) -> None:
        """An absent payload stays absent."""
        await self.begin()
        await self.publish_into("room:7", EMPTY, PublishOptions())
        await self.receiver.when_count_is(self.receiver.deliveries, 1)
        self.assertIs(self.receiver.deliveries[0].publication.data, EMPTY)

    async def test_binary_payload(self) -> None:
        """Any bytes can be published, also those that look like separators."""
        await self.begin()
        payload = b"a__:b\xff\x00__p1:1:e__"
        await self.publish_into("room:7", Raw(payload), HISTORY)
        await self.publish_into("room:7", Raw(payload), PublishOptions())
        await self.receiver.when_count_is(self.receiver.deliveries, 2)
        for delivery in self.receiver.deliveries:
            self.assertEqual(bytes(delivery.publication.data), payload)
        self.assertEqual(payloads((await self.history()).publications), [payload])

    async def test_unicode_channel(self) -> None:
        """A channel's name may hold any letters."""
        await self.begin()
        await self.broker.subscribe("чат:1")
        await self.publish_into("чат:1", data(1), HISTORY)
        await self.receiver.when_count_is(self.receiver.deliveries, 1)
        self.assertEqual(self.receiver.deliveries[0].channel, "чат:1")

    async def test_order(self) -> None:
        """Offsets count from 1, and deliveries come in their order."""
        await self.begin()
        published = await gatherResults(
            [
                as_deferred(self.broker.publish("room:7", data(n), HISTORY))
                for n in range(20)
            ]
        )
        self.assertEqual([p.position.offset for p in published], list(range(1, 21)))
        self.assertEqual(len({p.position.epoch for p in published}), 1)
        self.assertEqual({p.suppressed for p in published}, {""})
        await self.receiver.when_count_is(self.receiver.deliveries, 20)
        deliveries = self.receiver.deliveries
        self.assertEqual(
            [d.position for d in deliveries], [p.position for p in published]
        )
        self.assertEqual(
            payloads([d.publication for d in deliveries]),
            [b'{"t":%d}' % n for n in range(20)],
        )
        self.assertEqual(
            offsets([d.publication for d in deliveries]), list(range(1, 21))
        )

    async def test_epoch(self) -> None:
        """An epoch is eight letters, and differs from channel to channel."""
        await self.begin()
        first = await self.publish_into("room:7", data(1), HISTORY)
        other = await self.publish_into("room:8", data(1), HISTORY)
        self.assertRegex(first.position.epoch, "^[a-zA-Z]{8}$")
        self.assertNotEqual(first.position.epoch, other.position.epoch)

    async def test_other_channels(self) -> None:
        """Events in a channel do not affect another channel."""
        await self.begin()
        await self.publish_into("room:8", data(1), HISTORY)
        await self.publish(2)
        history = await self.history()
        self.assertEqual(history.position.offset, 1)
        self.assertEqual(payloads(history.publications), [b'{"t":2}'])

    async def test_join_and_leave(self) -> None:
        """Joins and leaves are delivered, whole, and not stored."""
        await self.begin()
        await self.broker.publish_join("room:7", ADA)
        await self.broker.publish_leave("room:7", ADA)
        await self.receiver.when_count_is(self.receiver.leaves, 1)
        for events in (self.receiver.joins, self.receiver.leaves):
            [(channel, info)] = events
            self.assertEqual(channel, "room:7")
            self.assertEqual((info.user, info.client), ("u7", "3f2a"))
            self.assertEqual(bytes(info.conn_info), b'{"n":"Ada"}')
            self.assertEqual(bytes(info.chan_info), b'{"r":1}')
        self.assertEqual((await self.history()).position.offset, 0)

    async def test_size(self) -> None:
        """No more than the history's size is kept, the newest of it."""
        await self.begin()
        options = PublishOptions(history_size=3, history_ttl=60.0)
        for n in range(5):
            await self.publish(n, options)
        history = await self.history()
        self.assertEqual(offsets(history.publications), [3, 4, 5])
        self.assertEqual(history.position.offset, 5)

    async def test_history_needs_size_and_time(self) -> None:
        """History is kept only if both size and time are given."""
        await self.begin()
        await self.publish(1, PublishOptions(history_size=10))
        published = await self.publish(2, PublishOptions(history_ttl=60.0))
        self.assertEqual(published, Published())
        history = await self.history()
        self.assertEqual((history.publications, history.position.offset), ([], 0))

    async def test_position_alone(self) -> None:
        """Limit 0 reads the position and no publication."""
        await self.begin()
        published = await self.publish(1)
        history = await self.history(HistoryQuery())
        self.assertEqual(history, History([], published.position))

    async def test_read_forward(self) -> None:
        """Reading goes from the position given, without it, up to the limit."""
        await self.begin()
        for n in range(5):
            epoch = (await self.publish(n)).position.epoch
        for since, limit, expected in [
            (None, -1, [1, 2, 3, 4, 5]),
            (None, 2, [1, 2]),
            (0, 2, [1, 2]),
            (2, -1, [3, 4, 5]),
            (2, 1, [3]),
            (4, 10, [5]),
            (5, -1, []),
            (9, -1, []),
        ]:
            position = None if since is None else StreamPosition(since, epoch)
            history = await self.history(HistoryQuery(limit, position))
            self.assertEqual(offsets(history.publications), expected, (since, limit))
            self.assertEqual(history.position, StreamPosition(5, epoch))

    async def test_read_what_is_gone(self) -> None:
        """From a position that is not kept, reading begins with the oldest."""
        await self.begin()
        options = PublishOptions(history_size=2, history_ttl=60.0)
        for n in range(5):
            epoch = (await self.publish(n, options)).position.epoch
        query = HistoryQuery(-1, StreamPosition(1, epoch))
        self.assertEqual(offsets((await self.history(query)).publications), [4, 5])

    async def test_epochs_are_not_compared(self) -> None:
        """A position of another epoch is read like any other."""
        await self.begin()
        for n in range(3):
            await self.publish(n)
        query = HistoryQuery(-1, StreamPosition(1, "another1"))
        self.assertEqual(offsets((await self.history(query)).publications), [2, 3])

    async def test_read_begins_a_stream(self) -> None:
        """Reading an unknown channel determines the epoch of later publications."""
        await self.begin()
        position = (await self.history()).position
        self.assertEqual(position.offset, 0)
        self.assertRegex(position.epoch, "^[a-zA-Z]{8}$")
        published = await self.publish(1)
        self.assertEqual(published.position, StreamPosition(1, position.epoch))

    async def test_history_expires(self) -> None:
        """Some time after the last publish the publications go, the position stays."""
        await self.begin()
        await self.publish(1)
        await self.pass_time(40)
        published = await self.publish(2)
        await self.pass_time(40)
        self.assertEqual(offsets((await self.history()).publications), [1, 2])
        await self.pass_time(25)
        self.assertEqual(await self.history(), History([], published.position))
        self.assertEqual((await self.publish(3)).position.offset, 3)
        self.assertEqual(offsets((await self.history()).publications), [3])

    async def test_remove_history(self) -> None:
        """Removed publications are gone; the position continues."""
        await self.begin()
        await self.publish(1)
        published = await self.publish(2)
        await self.broker.remove_history("room:7")
        self.assertEqual(await self.history(), History([], published.position))
        self.assertEqual(
            (await self.publish(3)).position,
            StreamPosition(3, published.position.epoch),
        )

    async def test_remove_unknown_history(self) -> None:
        """Removing an unknown history is not an error."""
        await self.begin()
        await self.broker.remove_history("nobody")
        history = await self.broker.history("nobody", HistoryQuery())
        self.assertEqual(history.position.offset, 0)

    async def test_position_expires(self) -> None:
        """An expired stream starts again with another epoch."""
        await self.begin(meta_ttl=100.0)
        published = await self.publish(1)
        await self.pass_time(105)
        history = await self.history()
        self.assertEqual((history.publications, history.position.offset), ([], 0))
        self.assertNotEqual(history.position.epoch, published.position.epoch)
        self.assertEqual(
            (await self.publish(2)).position, StreamPosition(1, history.position.epoch)
        )

    async def test_reading_keeps_the_position(self) -> None:
        """Reading the history of a stream keeps its position alive."""
        await self.begin(meta_ttl=100.0)
        published = await self.publish(1)
        for _ in range(3):
            await self.pass_time(80)
            history = await self.history(HistoryQuery())
            self.assertEqual(history.position, published.position)

    async def test_publishing_keeps_the_position(self) -> None:
        """Publishing into a stream keeps its position alive."""
        await self.begin(meta_ttl=100.0)
        for offset in (1, 2, 3):
            self.assertEqual((await self.publish(1)).position.offset, offset)
            await self.pass_time(80)

    async def test_idempotency(self) -> None:
        """The same key publishes once, and answers the same for five minutes."""
        await self.begin()
        options = PublishOptions(
            history_size=10, history_ttl=60.0, idempotency_key="k1"
        )
        first = await self.publish(1, options)
        await self.publish(2)
        again = await self.publish(3, options)
        self.assertEqual(again, Published(first.position, "idempotency"))
        await self.pass_time(290)
        self.assertEqual((await self.publish(4, options)).suppressed, "idempotency")
        await self.pass_time(15)
        last = await self.publish(5, options)
        self.assertEqual((last.suppressed, last.position.offset), ("", 3))
        await self.receiver.when_count_is(self.receiver.deliveries, 3)
        self.assertEqual(
            payloads([d.publication for d in self.receiver.deliveries]),
            [b'{"t":1}', b'{"t":2}', b'{"t":5}'],
        )

    async def test_idempotency_window(self) -> None:
        """How long a key counts can be chosen."""
        await self.begin()
        options = PublishOptions(
            history_size=10,
            history_ttl=60.0,
            idempotency_key="k1",
            idempotent_result_ttl=10.0,
        )
        await self.publish(1, options)
        await self.pass_time(12)
        self.assertEqual((await self.publish(2, options)).position.offset, 2)

    async def test_idempotency_scope(self) -> None:
        """A key counts within its channel."""
        await self.begin()
        options = PublishOptions(
            history_size=10, history_ttl=60.0, idempotency_key="k1"
        )
        await self.publish(1, options)
        other = await self.publish_into("room:8", data(1), options)
        self.assertEqual(other.suppressed, "")

    async def test_idempotency_without_history(self) -> None:
        """The same key delivers once, also without history."""
        await self.begin()
        options = PublishOptions(idempotency_key="k1")
        self.assertEqual(await self.publish(1, options), Published())
        self.assertEqual((await self.publish(2, options)).position, StreamPosition())
        await self.publish(3, PublishOptions())
        await self.receiver.when_count_is(self.receiver.deliveries, 2)
        self.assertEqual(
            payloads([d.publication for d in self.receiver.deliveries]),
            [b'{"t":1}', b'{"t":3}'],
        )

    async def test_delta_without_history(self) -> None:
        """A wish for deltas reaches the subscribers, without a predecessor."""
        await self.begin()
        await self.publish(1, PublishOptions(delta=True))
        await self.receiver.when_count_is(self.receiver.deliveries, 1)
        [delivery] = self.receiver.deliveries
        self.assertIsNone(delivery.previous)
        self.assertFalse(delivery.publication.delta)


class StreamContract(BrokerContract):
    """Features of brokers with real streams."""

    async def test_read_backward(self) -> None:
        """Reading backwards goes from before the position down to the limit."""
        await self.begin()
        for n in range(5):
            epoch = (await self.publish(n)).position.epoch
        for since, limit, expected in [
            (None, -1, [5, 4, 3, 2, 1]),
            (None, 2, [5, 4]),
            (4, -1, [3, 2, 1]),
            (4, 2, [3, 2]),
            (6, 1, [5]),
            (1, -1, []),
            (3, 0, []),
        ]:
            position = None if since is None else StreamPosition(since, epoch)
            history = await self.history(HistoryQuery(limit, position, True))
            self.assertEqual(offsets(history.publications), expected, (since, limit))
            self.assertEqual(history.position, StreamPosition(5, epoch))

    async def test_delta(self) -> None:
        """With a wish for deltas the predecessor comes along."""
        await self.begin()
        options = PublishOptions(history_size=10, history_ttl=60.0, delta=True)
        await self.publish(1, options)
        await self.publish(2)
        await self.publish(3, options)
        await self.receiver.when_count_is(self.receiver.deliveries, 3)
        first, second, third = self.receiver.deliveries
        self.assertIsNone(first.previous)
        self.assertIsNone(second.previous)
        assert third.previous is not None
        self.assertEqual(bytes(third.previous.data), b'{"t":2}')
        self.assertEqual(bytes(third.publication.data), b'{"t":3}')

    async def test_delta_after_removal(self) -> None:
        """When the predecessor is no longer kept, none comes along."""
        await self.begin()
        options = PublishOptions(history_size=10, history_ttl=60.0, delta=True)
        await self.publish(1, options)
        await self.broker.remove_history("room:7")
        await self.publish(2, options)
        await self.receiver.when_count_is(self.receiver.deliveries, 2)
        self.assertIsNone(self.receiver.deliveries[1].previous)

    async def publish_version(self, version: int, epoch: str = "") -> Published:
        """Publish a state of this version."""
        return await self.publish(
            version,
            PublishOptions(
                history_size=10,
                history_ttl=60.0,
                version=version,
                version_epoch=epoch,
            ),
        )

    async def test_version(self) -> None:
        """A version that is not newer is dropped, and answers with the top."""
        await self.begin()
        first = await self.publish_version(5)
        for version in (5, 4):
            dropped = await self.publish_version(version)
            self.assertEqual(dropped, Published(first.position, "version"))
        newer = await self.publish_version(6)
        self.assertEqual((newer.suppressed, newer.position.offset), ("", 2))
        await self.receiver.when_count_is(self.receiver.deliveries, 2)
        self.assertEqual(
            [d.publication.version for d in self.receiver.deliveries], [5, 6]
        )
        self.assertEqual(offsets((await self.history()).publications), [1, 2])

    async def test_version_epoch(self) -> None:
        """Versions count within their epoch; without one they count in any."""
        await self.begin()
        await self.publish_version(5, "a")
        self.assertEqual((await self.publish_version(4, "a")).suppressed, "version")
        self.assertEqual((await self.publish_version(4, "")).suppressed, "version")
        self.assertEqual((await self.publish_version(4, "b")).suppressed, "")
        self.assertEqual((await self.publish_version(5, "b")).suppressed, "")

    async def test_dropped_version_remembers_no_result(self) -> None:
        """A publish dropped for its version does not use its idempotency key."""
        await self.begin()
        await self.publish_version(5)
        options = PublishOptions(
            history_size=10, history_ttl=60.0, idempotency_key="k1", version=3
        )
        self.assertEqual((await self.publish(1, options)).suppressed, "version")
        options = PublishOptions(
            history_size=10, history_ttl=60.0, idempotency_key="k1", version=7
        )
        self.assertEqual((await self.publish(2, options)).suppressed, "")

    async def test_version_without_history(self) -> None:
        """Without history a version drops nothing."""
        await self.begin()
        for _ in range(2):
            published = await self.publish(1, PublishOptions(version=5))
            self.assertEqual(published, Published())
        await self.receiver.when_count_is(self.receiver.deliveries, 2)
