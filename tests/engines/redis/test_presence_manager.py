"""Presence against a server that follows a script."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, globalLogPublisher

from centrifugo_tx.engines.redis.envelope import encode_client_info
from centrifugo_tx.engines.redis.presence_manager import RedisPresenceManager
from centrifugo_tx.engines.redis.scripts import (
    ADD_PRESENCE,
    PRESENCE,
    PRESENCE_STATS,
    REMOVE_PRESENCE,
)
from centrifugo_tx.errors import BrokerUnavailable
from centrifugo_tx.options import PresenceStats
from centrifugo_tx.protocol.messages import ClientInfo

from .scripted_shards import ShardCase, array

ADA = ClientInfo(user="u7", client="3f2a")
BOB = ClientInfo(user="u8", client="9c1d")
KEYS = [
    b"cg.presence.expire.room:7",
    b"cg.presence.data.room:7",
    b"cg.presence.user.expire.room:7",
    b"cg.presence.user.clients.room:7",
]


class PresenceTests(ShardCase):
    """Requests to Redis, and decoding of the responses."""

    def manager(self, **options: Any) -> RedisPresenceManager:
        """Return a manager, started."""
        reactor: Any = self.clock
        made = RedisPresenceManager(reactor, self.shards(), **options)
        self.result(Deferred.fromCoroutine(made.start()))
        return made

    def test_add(self) -> None:
        """An entry carries its lifetime, and the time at which it fades."""
        manager = self.manager(ttl=60.0)
        self.replies(EVALSHA=b"$-1\r\n")
        self.assertIsNone(self.result(manager.add("room:7", "3f2a", ADA)))
        self.assertEqual(
            self.ran(ADD_PRESENCE),
            [
                *KEYS,
                *(b"3f2a", encode_client_info(ADA), b"u7", b"1790000060"),
                *(b"60", b"0", b"0"),
            ],
        )

    def test_short_ttl(self) -> None:
        """A lifetime is a second at least."""
        manager = self.manager(ttl=0.2)
        self.replies(EVALSHA=b"$-1\r\n")
        self.result(manager.add("room:7", "3f2a", ADA))
        self.assertEqual(self.ran(ADD_PRESENCE)[8], b"1")

    def test_remove(self) -> None:
        """Client and user leave; the flags select the counting."""
        manager = self.manager(count_users=True, field_ttl=False)
        self.replies(EVALSHA=b"$-1\r\n")
        self.assertIsNone(self.result(manager.remove("room:7", "3f2a", "u7")))
        self.assertEqual(self.ran(REMOVE_PRESENCE), [*KEYS, b"3f2a", b"u7", b"1", b"0"])

    def test_presence(self) -> None:
        """Client info by client id; the server learns what time it is."""
        manager = self.manager()
        entries = [b"3f2a", encode_client_info(ADA), b"9c1d", encode_client_info(BOB)]
        self.replies(EVALSHA=array(*entries))
        found = self.result(manager.presence("room:7"))
        self.assertEqual(found, {"3f2a": ADA, "9c1d": BOB})
        self.assertEqual(self.ran(PRESENCE), [*KEYS, b"1790000000", b"0"])

    def test_malformed(self) -> None:
        """An entry that cannot be read is left out, with a warning."""
        manager = self.manager()
        entries = [b"3f2a", b"\xff", b"\xff", encode_client_info(BOB)]
        entries += [b"9c1d", encode_client_info(BOB)]
        self.replies(EVALSHA=array(*entries))
        logged: list[LogEvent] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        self.assertEqual(self.result(manager.presence("room:7")), {"9c1d": BOB})
        left_out = [e for e in logged if "skipped" in str(e.get("log_format"))]
        self.assertEqual(len(left_out), 2)

    def test_stats(self) -> None:
        """Without counted users all entries are read; users count once."""
        manager = self.manager()
        other = ClientInfo(user="u7", client="77e1")
        entries = [
            piece
            for info in (ADA, BOB, other)
            for piece in (info.client.encode(), encode_client_info(info))
        ]
        self.replies(EVALSHA=array(*entries))
        self.assertEqual(self.result(manager.stats("room:7")), PresenceStats(3, 2))
        self.ran(PRESENCE)

    def test_counted(self) -> None:
        """With counted users Redis says how many there are."""
        manager = self.manager(count_users=True)
        self.replies(EVALSHA=array(3, 2))
        self.assertEqual(self.result(manager.stats("room:7")), PresenceStats(3, 2))
        self.ran(PRESENCE_STATS)

    def test_field_ttl(self) -> None:
        """A server that cannot expire fields is found out at the start."""
        reactor: Any = self.clock
        manager = RedisPresenceManager(reactor, self.shards(), field_ttl=True)
        self.replies(HEXPIRE=b"-ERR unknown command 'HEXPIRE'\r\n")
        error = self.failure(Deferred.fromCoroutine(manager.start()), BrokerUnavailable)
        self.assertIn("cannot expire fields", str(error))
        self.replies(HEXPIRE=array(-2), EVALSHA=b"$-1\r\n")
        self.result(Deferred.fromCoroutine(manager.start()))
        self.result(manager.add("room:7", "3f2a", ADA))
        self.assertEqual(self.ran(ADD_PRESENCE)[-1], b"1")

    def test_away(self) -> None:
        """Without a connection everything fails at once."""
        manager = self.manager()
        self.peer.refuses = True
        self.peer.last.lose()
        for asked in (
            manager.add("room:7", "3f2a", ADA),
            manager.remove("room:7", "3f2a", "u7"),
            manager.presence("room:7"),
            manager.stats("room:7"),
        ):
            self.failureResultOf(asked, BrokerUnavailable)  # type: ignore[arg-type]
