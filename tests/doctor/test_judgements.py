"""Findings from responses of Redis, clocks and origins; and the exit code."""

import time
from email.utils import formatdate

import jwt
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.access.tokens import TokenOptions
from centrifugo_tx.doctor.clock import check_date, check_redis_clock
from centrifugo_tx.doctor.findings import Finding, Level, exit_code, ok, problem
from centrifugo_tx.doctor.findings import warning as warn
from centrifugo_tx.doctor.origins import example_origin
from centrifugo_tx.doctor.redis_server import server_findings
from centrifugo_tx.doctor.redis_shards import redis_addresses
from centrifugo_tx.doctor.target import site_of
from centrifugo_tx.doctor.tokens import mint_token
from centrifugo_tx.errors import ConfigError

from ..config.test_check import config_of

SECRET = "a secret of a test that is long enough"


class ExitCodeTests(SynchronousTestCase):
    """The JSON output."""

    def test_codes(self) -> None:
        """The worst finding counts; warnings only if asked for."""
        fine, odd, bad = ok("a", ""), warn("b", "", "x"), problem("c", "", "x")
        for findings, strict, code in (
            ([], True, 0),
            ([fine], True, 0),
            ([fine, odd], False, 0),
            ([odd, fine], True, 1),
            ([odd, bad, fine], False, 2),
            ([bad], True, 2),
        ):
            self.assertEqual(exit_code(findings, strict), code)


class RedisTests(SynchronousTestCase):
    """One server's ``INFO``."""

    def judge(self, seconds: float = 0.001, **info: str) -> list[Finding]:
        """Return the findings that are not OK."""
        fields = {"redis_version": "8.0.1", "role": "master", **info}
        found = server_findings("r:1", seconds, fields, True)
        self.assertIn("r:1: ", found[0].message)
        return [each for each in found if each.level is not Level.OK]

    def test_good(self) -> None:
        """A master without a limit of memory."""
        self.assertEqual(self.judge(), [])
        self.assertEqual(self.judge(maxmemory="100", used_memory="50"), [])

    def test_version(self) -> None:
        """Valkey calls itself a Redis as well."""
        fields = {"redis_version": "7.2.4", "valkey_version": "9.0.0"}
        first = server_findings("r:1", 0.0005, fields, False)[0]
        self.assertEqual(first.message, "r:1: Valkey 9.0.0, 0.5 ms a round trip")

    def test_findings(self) -> None:
        """Each thing that is wrong."""
        full = {"maxmemory": "100", "used_memory": "91"}
        for level, text, found in (
            ("warning", "20.0 ms", self.judge(0.02)),
            ("problem", "replica", self.judge(role="slave")),
            ("warning", "publishing with history fails", self.judge(**full)),
            (
                "warning",
                "allkeys-lru removes",
                self.judge(maxmemory="100", maxmemory_policy="allkeys-lru"),
            ),
            ("problem", "BGSAVE", self.judge(rdb_last_bgsave_status="err")),
            ("problem", "the AOF", self.judge(aof_last_write_status="err")),
        ):
            self.assertEqual([each.level for each in found], [level], text)
            self.assertIn(text, found[0].message)

    def test_persistence(self) -> None:
        """Without AOF there is a note, if any channel has history."""
        fields = {"aof_enabled": "0"}
        notes = server_findings("r:1", 0.0, fields, True)
        self.assertIn("may lose history", notes[-1].message)
        self.assertEqual(len(server_findings("r:1", 0.0, fields, False)), 2)

    def test_addresses(self) -> None:
        """Each address is examined once, and only if it is in use."""
        redis = {"type": "redis", "redis": {"address": "a:1"}}
        tree = {"engine": redis, "map_broker": redis, "broker": redis}
        found = redis_addresses(config_of(tree))
        self.assertEqual([str(each) for each in found], ["a:1"])
        own = {"type": "redis", "redis": {"address": ["b:1", "c:1"]}, "enabled": True}
        found = redis_addresses(config_of({"broker": own, "presence_manager": own}))
        self.assertEqual([str(each) for each in found], ["b:1", "c:1"])


class ClockTests(SynchronousTestCase):
    """Two clocks."""

    def test_redis(self) -> None:
        """A difference of seconds is a warning, of half a minute a problem."""
        for ahead, level in ((0.2, "ok"), (-5, "warning"), (40, "problem")):
            [found] = check_redis_clock("r:1", time.time() + ahead)
            self.assertEqual(found.level, level)
        self.assertEqual(check_redis_clock("r:1", 0.0), [])

    def test_date(self) -> None:
        """The header may be missing or wrong."""
        [found] = check_date("x", formatdate(time.time() - 3600))
        self.assertRegex(found.message, r"360\d s behind")
        for header in (None, "yesterday"):
            self.assertEqual(check_date("x", header), [])


class SettingsTests(SynchronousTestCase):
    """Values derived from the configuration and the command line."""

    def test_origin(self) -> None:
        """A pattern is turned into an origin that it allows."""
        for patterns, origin in (
            ((), ""),
            (("https://a.example",), "https://a.example"),
            (("http://localhost:*",), "http://localhost:1"),
            (("https://[!a]*", "https://*.b.example"), "https://1.b.example"),
            (("*",), "https://example.com"),
        ):
            self.assertEqual(example_origin(patterns), origin)

    def test_token(self) -> None:
        """Claims that the server asks for are there."""
        options = TokenOptions(
            hmac_secret_key=SECRET, audience="a", issuer="i", user_id_claim="me"
        )
        claims = jwt.decode(mint_token(options), SECRET, ["HS256"], audience="a")
        self.assertEqual((claims["iss"], claims["me"]), ("i", "doctor"))
        self.assertEqual(claims["exp"] - claims["iat"], 120)
        self.assertEqual(mint_token(TokenOptions()), "")

    def test_site(self) -> None:
        """A URL, or else the address of the configuration."""
        config = config_of({"http_server": {"address": "0.0.0.0", "port": 9000}})
        for url, shown in (
            ("", "http://127.0.0.1:9000"),
            ("http://h", "http://h"),
            ("https://h/p/", "https://h/p"),
            ("wss://[::1]:8443", "https://[::1]:8443"),
        ):
            self.assertEqual(str(site_of(url, config)), shown)
        self.assertFalse(site_of("", config).is_public)
        for url in ("h", "ftp://h", "https://", "https://h:x", "https://h/?a"):
            with self.assertRaises(ConfigError):
                site_of(url, config)
        with self.assertRaises(ConfigError):
            site_of("https://h", config, ca="/nowhere")
