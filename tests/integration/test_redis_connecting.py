"""The ways in which the Redis engine reaches its servers."""

from pathlib import Path
from typing import Any

from centrifugo_tx import renewed_tls
from centrifugo_tx.engines.redis.engine import combine, redis_engine
from centrifugo_tx.errors import BrokerUnavailable
from centrifugo_tx.interfaces import Engine
from centrifugo_tx.options import HistoryQuery, TLSOptions
from centrifugo_tx.protocol.messages import ClientInfo
from centrifugo_tx.renewed_tls import renew_tls

from ..contracts.broker import HISTORY, data
from ..contracts.doubles import Mailbox, Receiver
from .certificates import Authority
from .ports import free_port
from .redis_case import RedisCase
from .redis_servers import Server, debian_redis, shared, valkey


class ConnectingCase(RedisCase):
    """Starts engines, and sees whether they work."""

    async def works(self, **changes: Any) -> Engine:
        """Publish through an engine, and receive it."""
        receiver = Receiver()
        engine = await self.make_engine(receiver, **changes)
        await engine.broker.subscribe("room:7")
        await engine.broker.publish("room:7", data(1), HISTORY)
        await receiver.when_count_is(receiver.deliveries, 1)
        return engine

    async def fails(self, **changes: Any) -> str:
        """Fail to start an engine; return the error."""
        clock: Any = self.reactor
        engine = redis_engine(clock, self.options(**changes))
        engine.broker.listen(Receiver())
        engine.controller.listen(Mailbox(), "n1")
        return await self.assertFailure(engine.start(), BrokerUnavailable).addCallback(
            str
        )


class Plain(ConnectingCase):
    """Without encryption."""

    async def test_forms(self) -> None:
        """Hosts with ports, URLs, names and Unix sockets lead to the server."""
        port = self.server.port
        for address in (
            f"127.0.0.1:{port}",
            f"redis://127.0.0.1:{port}",
            f"tcp://localhost:{port}",
            f"unix://{self.server.socket}",
        ):
            await self.works(address=[address])

    async def test_db(self) -> None:
        """The db is where the keys are."""
        await self.works(address=[f"redis://{self.server.address}/3"])
        key = f"{self.prefix}.stream.room:7"
        self.assertEqual(self.server.call("EXISTS", key), 0)

    async def test_wrong_db(self) -> None:
        """A db that there is not stops the start."""
        reason = await self.fails(db=5000)
        self.assertIn("DB index is out of range", reason)

    async def test_nobody_there(self) -> None:
        """A server that is not there stops the start, and leaves nothing behind."""
        reason = await self.fails(address=[f"127.0.0.1:{free_port()}"])
        self.assertIn("cannot connect to Redis at 127.0.0.1", reason)
        reason = await self.fails(address=["unix:///nowhere/at/all"])
        self.assertIn("/nowhere/at/all", reason)

    async def test_client_name(self) -> None:
        """Connections bear the name given."""
        await self.works(client_name=f"node-{self.prefix}")
        clients = self.server.call("CLIENT", "LIST").decode()
        self.assertEqual(clients.count(f"name=node-{self.prefix}"), 2)

    async def test_several_addresses(self) -> None:
        """Several addresses in one URL need a Cluster."""
        port = self.server.port
        reason = await self.fails(
            address=[f"redis://127.0.0.1:{port}?addr=localhost:{port}"]
        )
        self.assertIn("cluster", reason.lower())

    async def test_forced_cluster(self) -> None:
        """A server without Cluster cannot be used as one."""
        reason = await self.fails(cluster_address=[self.server.address])
        self.assertIn("cluster", reason.lower())


class Passwords(ConnectingCase):
    """Servers that require authentication."""

    def make_server(self) -> Server:
        """Return a server with a password, and a user with limited permissions."""
        return shared(valkey(), ("requirepass", "pa55"))

    async def test_password(self) -> None:
        """With the right password all is well, in URL or options."""
        await self.works(address=[f"redis://:pa55@{self.server.address}"])
        await self.works(password="pa55")

    async def test_wrong_password(self) -> None:
        """With a wrong one, or none, the start fails and says so."""
        self.assertIn("WRONGPASS", await self.fails(password="other"))
        self.assertIn("NOAUTH", await self.fails())

    async def test_user(self) -> None:
        """A user with exactly the permissions that are needed is enough."""
        admin = await self.works(password="pa55")
        shard = admin.broker._shards.all[0]  # type: ignore[attr-defined]
        rules = (
            f"on >p ~{self.prefix}.* &{self.prefix}.* -@all +eval +evalsha"
            " +publish +subscribe +unsubscribe +xrange +xrevrange +xadd +hget"
            " +hset +hmget +hincrby +hexists +hdel +hgetall +expire +del +zadd"
            " +zrem +zrangebyscore +zremrangebyscore"
        )
        await shard.send(b"", b"ACL", b"SETUSER", b"limited", *rules.encode().split())
        engine = await self.works(user="limited", password="p")
        await engine.presence.add("room:7", "c", ClientInfo("u", "c"))
        self.assertEqual(len(await engine.presence.presence("room:7")), 1)
        await engine.broker.remove_history("room:7")
        await shard.send(b"", b"ACL", b"DELUSER", b"limited")


class Encrypted(ConnectingCase):
    """Servers that speak TLS."""

    def make_server(self) -> Server:
        """Return a server with a certificate for 127.0.0.1 and redis.test."""
        global _encrypted
        if _encrypted is None:
            _encrypted = _EncryptedServer()
        self.authority = _encrypted.authority
        self.tls_port = _encrypted.tls_port
        return _encrypted.server

    def options_to(self, host: str, **tls: Any) -> dict[str, Any]:
        """Return options that lead to the encrypted port."""
        return {
            "address": [f"rediss://{host}:{self.tls_port}"],
            "tls": TLSOptions(enabled=True, **tls),
        }

    async def test_own_authority(self) -> None:
        """A server whose certificate the given authority signed is trusted."""
        await self.works(
            **self.options_to("127.0.0.1", server_ca_pem=self.authority.pem)
        )

    async def test_server_name(self) -> None:
        """The certificate may be for another name, if that is the one expected."""
        await self.works(
            **self.options_to(
                "localhost", server_ca_pem=self.authority.pem, server_name="redis.test"
            )
        )

    async def test_wrong_name(self) -> None:
        """A certificate for another name is not trusted."""
        options = self.options_to("localhost", server_ca_pem=self.authority.pem)
        self.assertIn("localhost", await self.fails(**options))

    async def test_unknown_authority(self) -> None:
        """A certificate that an unknown authority signed is not trusted."""
        self.assertIn("certificate", await self.fails(**self.options_to("127.0.0.1")))
        other = self.options_to("127.0.0.1", server_ca_pem=Authority().pem)
        self.assertIn("certificate", await self.fails(**other))

    async def test_renewed_authority(self) -> None:
        """New connections trust the authority of today, not that of the start."""
        self.patch(renewed_tls, "_RENEWED", {})
        options = self.options_to("127.0.0.1", server_ca_pem=Authority().pem)
        start = options["tls"]
        today = TLSOptions(enabled=True, server_ca_pem=self.authority.pem)
        renew_tls([(start, today)])
        await self.works(**options)
        renew_tls([(start, start)])
        self.assertIn("certificate", await self.fails(**options))

    async def test_unverified(self) -> None:
        """Any certificate will do, if so configured."""
        await self.works(**self.options_to("localhost", insecure_skip_verify=True))

    async def test_own_certificate(self) -> None:
        """Our own certificate is shown."""
        cert, key = self.authority.issue("client")
        await self.works(
            **self.options_to(
                "127.0.0.1",
                server_ca_pem=self.authority.pem,
                cert_pem=cert,
                key_pem=key,
            )
        )
        # Twisted hands its key to pyOpenSSL in a way that the latter deprecates.
        self.flushWarnings()

    async def test_plain_server(self) -> None:
        """A server that does not speak TLS is not talked to in plain text."""
        await self.fails(address=[f"rediss://{self.server.address}"], io_timeout=0.5)

    async def test_encrypted_server(self) -> None:
        """A server that speaks only TLS fails a plain start clearly."""
        await self.fails(address=[f"127.0.0.1:{self.tls_port}"], io_timeout=1.0)


class _EncryptedServer:
    """One for all tests of the class."""

    def __init__(self) -> None:
        self.authority = Authority()
        self.tls_port = free_port()
        self.server = Server(debian_redis())
        cert, key, ca = self.authority.files(
            Path(self.server.folder), "127.0.0.1", "redis.test"
        )
        self.server.settings.update(
            {
                "tls-port": str(self.tls_port),
                "tls-cert-file": str(cert),
                "tls-key-file": str(key),
                "tls-ca-cert-file": str(ca),
                "tls-auth-clients": "optional",
            }
        )
        self.server.start()


_encrypted: _EncryptedServer | None = None


class Sharded(ConnectingCase):
    """Several servers that share the channels."""

    async def test_spread(self) -> None:
        """Every channel is on the server where other nodes look for it."""
        other = shared(valkey(), ("maxmemory", "100mb"))
        addresses = [self.server.address, other.address]
        receiver = Receiver()
        engine = await self.make_engine(receiver, address=addresses)
        for channel, server in [
            ("a", other),
            ("test", other),
            ("chat:index", self.server),
            ("news", other),
            ("чат:1", self.server),
        ]:
            await engine.broker.subscribe(channel)
            await engine.broker.publish(channel, data(1), HISTORY)
            await engine.presence.add(channel, "c", ClientInfo("u", "c"))
            for key in ("stream", "stream.meta", "presence.data"):
                name = f"{self.prefix}.{key}.{channel}"
                for each in (self.server, other):
                    self.assertEqual(each.call("EXISTS", name), int(each is server))
            history = await engine.broker.history(channel, HistoryQuery(-1))
            self.assertEqual(len(history.publications), 1)
            self.assertEqual(len(await engine.presence.presence(channel)), 1)
        await receiver.when_count_is(receiver.deliveries, 5)

    async def test_control(self) -> None:
        """Messages of nodes go to all servers in turn, and arrive from all."""
        other = shared(valkey(), ("maxmemory", "100mb"))
        addresses = [self.server.address, other.address]
        mailboxes = Mailbox(), Mailbox()
        engines = [
            await self.make_engine(mailbox=mailbox, node=f"n{n}", address=addresses)
            for n, mailbox in enumerate(mailboxes)
        ]
        for n in range(4):
            await engines[0].controller.publish(b"%d" % n)
        await engines[0].controller.publish(b"x", "n1")
        await mailboxes[0].when_count_is(4)
        await mailboxes[1].when_count_is(5)
        self.assertEqual(sorted(mailboxes[1].messages), [b"0", b"1", b"2", b"3", b"x"])


class Apart(ConnectingCase):
    """Broker and presence in different places."""

    async def test_combined(self) -> None:
        """Each half is where it was configured to be."""
        other = shared(valkey(), ("maxmemory", "100mb"))
        clock: Any = self.reactor
        receiver = Receiver()
        engine = combine(
            redis_engine(clock, self.options()),
            redis_engine(clock, self.options(address=[other.address])),
        )
        engine.broker.listen(receiver)
        engine.controller.listen(Mailbox(), "n1")
        await engine.start()
        self.addCleanup(engine.stop)
        await engine.broker.publish("c", data(1), HISTORY)
        await engine.presence.add("c", "c1", ClientInfo("u", "c1"))
        for key, server in [("stream", self.server), ("presence.data", other)]:
            for each in (self.server, other):
                found = each.call("EXISTS", f"{self.prefix}.{key}.c")
                self.assertEqual(found, int(each is server))

    async def test_nothing_to_hear(self) -> None:
        """A half without receivers has no PUB/SUB connection."""
        clock: Any = self.reactor
        engine = redis_engine(clock, self.options(client_name=f"h-{self.prefix}"))
        await engine.start()
        self.addCleanup(engine.stop)
        clients = self.server.call("CLIENT", "LIST").decode()
        self.assertEqual(clients.count(f"name=h-{self.prefix}"), 1)
