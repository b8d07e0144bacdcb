"""The address forms of the configuration."""

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.engines.redis.addresses import (
    Login,
    ShardAddress,
    TCPAddress,
    UnixAddress,
    shard_addresses,
)
from centrifugo_tx.engines.redis.options import RedisOptions
from centrifugo_tx.errors import ConfigError
from centrifugo_tx.options import TLSOptions

TLS = TLSOptions(enabled=True)


def one(address: str, **changes: object) -> ShardAddress:
    """Return the shard of one address."""
    [found] = shard_addresses(RedisOptions(address=(address,), **changes))  # type: ignore[arg-type]
    return found


class Forms(SynchronousTestCase):
    """The forms of an address."""

    def test_default(self) -> None:
        """Without anything it is the server on this machine."""
        [found] = shard_addresses(RedisOptions())
        self.assertEqual(
            found,
            ShardAddress(
                kind="single",
                nodes=(TCPAddress("127.0.0.1", 6379),),
                login=Login(),
                connect_timeout=1.0,
                io_timeout=4.0,
            ),
        )

    def test_empty_list(self) -> None:
        """An empty list of addresses means the same."""
        self.assertEqual(
            shard_addresses(RedisOptions(address=())),
            [one("127.0.0.1:6379")],
        )

    def test_host_and_port(self) -> None:
        """A host and a port, also in IPv6."""
        for text, host, port in [
            ("redis.example.com:7000", "redis.example.com", 7000),
            ("[::1]:6379", "::1", 6379),
        ]:
            self.assertEqual(one(text).nodes, (TCPAddress(host, port),))

    def test_url(self) -> None:
        """A URL carries user, password and db, which win over the options."""
        found = one("redis://ad%61:s%40crt@h:7000/3", user="x", password="y", db=1)
        self.assertEqual(found.nodes, (TCPAddress("h", 7000),))
        self.assertEqual(found.login, Login("ada", "s@crt", "", 3))
        self.assertEqual(one("tcp://h:7000").nodes, found.nodes)

    def test_options(self) -> None:
        """Parts that the URL lacks come from the options."""
        found = one(
            "redis://:pw@h:7000",
            user="u",
            password="p",
            db=2,
            client_name="n",
            tls=TLS,
            connect_timeout=7.0,
            io_timeout=8.0,
        )
        self.assertEqual(found.login, Login("u", "pw", "n", 2, TLS))
        self.assertEqual((found.connect_timeout, found.io_timeout), (7.0, 8.0))

    def test_tls(self) -> None:
        """TLS comes from the scheme, a query option or the options."""
        self.assertEqual(one("rediss://h:1").login.tls, TLS)
        self.assertEqual(one("redis://h:1?tls_enabled=true").login.tls, TLS)
        self.assertIsNone(one("redis://h:1?tls_enabled=false").login.tls)
        self.assertIsNone(one("h:1").login.tls)
        own = TLSOptions(enabled=True, server_name="redis")
        self.assertEqual(one("rediss://h:1", tls=own).login.tls, own)
        self.assertEqual(one("h:1", tls=own).login.tls, own)

    def test_unix(self) -> None:
        """A Unix socket has a path, no db in it, and no TLS."""
        found = one("unix://u:p@/run/redis/socket", db=4, tls=TLS)
        self.assertEqual(found.nodes, (UnixAddress("/run/redis/socket"),))
        self.assertEqual(found.login, Login("u", "p", "", 4))

    def test_query(self) -> None:
        """Timeouts may be given per address."""
        found = one("redis://h:1?connect_timeout=1m0.5s&io_timeout=250ms")
        self.assertEqual((found.connect_timeout, found.io_timeout), (60.5, 0.25))

    def test_cluster(self) -> None:
        """A Cluster is forced by the scheme, with more nodes as options."""
        found = one("redis+cluster://a:1?addr=b:2&addr=c:3")
        self.assertEqual(found.kind, "cluster")
        self.assertEqual(
            found.nodes, (TCPAddress("a", 1), TCPAddress("b", 2), TCPAddress("c", 3))
        )

    def test_sentinel(self) -> None:
        """The scheme, or a master's name alone, makes the addresses those of
        Sentinels.
        """
        for scheme in ("redis+sentinel", "redis"):
            found = one(
                f"{scheme}://u:p@a:1/2?sentinel_master_name=m&addr=b:2"
                "&sentinel_user=su&sentinel_password=sp&sentinel_tls_enabled=1"
            )
            self.assertEqual((found.kind, found.master_name), ("sentinel", "m"))
            self.assertEqual(found.nodes, (TCPAddress("a", 1), TCPAddress("b", 2)))
            self.assertEqual(found.login, Login("u", "p", "", 2))
            self.assertEqual(found.sentinel_login, Login("su", "sp", "", 0, TLS))

    def test_sentinel_tls(self) -> None:
        """The encrypted scheme encrypts to the Sentinels as well."""
        found = one("rediss+sentinel://a:1?sentinel_master_name=m")
        self.assertEqual((found.login.tls, found.sentinel_login.tls), (TLS, TLS))
        found = one("redis+sentinel://a:1?sentinel_master_name=m")
        self.assertEqual((found.login.tls, found.sentinel_login.tls), (None, None))

    def test_several(self) -> None:
        """Several addresses are several shards, in their order."""
        found = shard_addresses(RedisOptions(address=("a:1", "redis://b:2")))
        self.assertEqual([str(each) for each in found], ["a:1", "b:2"])

    def test_precedence(self) -> None:
        """Cluster addresses win over Sentinel addresses, these over addresses."""
        options = RedisOptions(
            address=("a:1",),
            sentinel_address=("s:1,s:2", "t:1"),
            sentinel_master_name="m",
            sentinel_user="su",
            sentinel_client_name="sn",
            cluster_address=("c:1,c:2", "d:1"),
        )
        clusters = shard_addresses(options)
        self.assertEqual([str(each) for each in clusters], ["c:1, c:2", "d:1"])
        self.assertEqual({each.kind for each in clusters}, {"cluster"})
        options = RedisOptions(
            address=("a:1",),
            sentinel_address=("s:1,s:2", "t:1"),
            sentinel_master_name="m",
            sentinel_user="su",
            sentinel_client_name="sn",
        )
        sentinels = shard_addresses(options)
        self.assertEqual(
            [str(each) for each in sentinels], ["m at s:1, s:2", "m at t:1"]
        )
        self.assertEqual(sentinels[0].sentinel_login, Login("su", "", "sn"))


class Mistakes(SynchronousTestCase):
    """Addresses that are refused."""

    def test_addresses(self) -> None:
        """Whatever is malformed stops the start."""
        for text in [
            "redis",
            ":6379",
            "host:",
            "host:port",
            "host:70000",
            "::1:6379",
            "http://h:1",
            "redis://h",
            "redis://:6379",
            "redis://h:1/",
            "redis://h:1/one",
            "redis://h:70000",
            "redis://h:1?connect_timeout=5",
            "redis://h:1?io_timeout=soon",
            "redis://h:1?tls_enabled=maybe",
            "redis://h:1?force_resp2=x",
            "redis://h:1?replica_client_enabled=",
            "redis+sentinel://h:1",
            "redis+cluster://h:1?addr=x",
            "unix://",
        ]:
            with self.assertRaises(ConfigError, msg=text):
                one(text)

    def test_lists(self) -> None:
        """Elements of Cluster and Sentinel addresses are hosts and ports."""
        for text in ["redis://h:1", "h:1, i:2", "h"]:
            for options in (
                RedisOptions(cluster_address=(text,)),
                RedisOptions(sentinel_address=(text,), sentinel_master_name="m"),
            ):
                with self.assertRaises(ConfigError, msg=text):
                    shard_addresses(options)

    def test_master_name(self) -> None:
        """Sentinel addresses need the name of a master."""
        with self.assertRaises(ConfigError):
            shard_addresses(RedisOptions(sentinel_address=("h:1",)))

    def test_secrets(self) -> None:
        """The error about a malformed address contains no secrets."""
        with self.assertRaises(ConfigError) as caught:
            one("redis://user:pa55@h:1/x?sentinel_password=s3cret")
        self.assertNotIn("pa55", str(caught.exception))
        self.assertNotIn("s3cret", str(caught.exception))
