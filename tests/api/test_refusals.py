"""Log lines about failed calls of the server API."""

from centrifugo_tx.api import HTTPAPIOptions

from ..log_lines import LogTestCase
from .api_backend import Backend


class KeyTests(LogTestCase):
    """Callers without the key."""

    def refused(self, path: str = "/api/publish", **headers: str) -> None:
        """Call with a server whose key is another."""
        backend = Backend(HTTPAPIOptions(key="RIGHT"))
        self.assertEqual(backend.post(path, "{}", b"POST", **headers).status, 401)

    def test_wrong(self) -> None:
        """A wrong key is logged with the path, and without the key."""
        self.refused(X_API_Key="SECRET", X_Real_IP="10.0.0.1")
        self.assertNotIn("SECRET", self.text())
        self.assertNotIn("RIGHT", self.text())
        self.assertNotIn("10.0.0.1", self.text())
        self.assertEqual(
            self.lines("path"), [("warn", "wrong API key", "/api/publish")]
        )

    def test_elsewhere(self) -> None:
        """Wherever the key is shown."""
        self.refused(Authorization="apikey SECRET")
        self.refused("/api/publish?api_key=SECRET")
        self.assertNotIn("SECRET", self.text())
        self.assertEqual(self.lines(), [("warn", "wrong API key")] * 2)

    def test_missing(self) -> None:
        """No key is another mistake than a wrong one."""
        self.refused()
        self.assertEqual(self.lines(), [("warn", "API key required")])

    def test_not_configured(self) -> None:
        """Without a key in the configuration every call says so."""
        Backend(HTTPAPIOptions()).post("/api/publish", "{}", b"POST")
        self.assertEqual(self.lines(), [("error", "API key is empty")])


class RequestTests(LogTestCase):
    """Calls that are malformed, or refused."""

    def setUp(self) -> None:
        super().setUp()
        self.backend = Backend()
        self.clock = self.backend.world.clock

    def test_malformed(self) -> None:
        """A malformed body is logged with method and cause."""
        self.backend.at_once("/api/publish", '{"channel": "SECRET')
        self.assertNotIn("SECRET", self.text())
        (line,) = self.lines("method", "path", "error")
        self.assertEqual(line[:2], ("warn", "error decoding API request body"))
        self.assertEqual(line[2:4], ("publish", "/api/publish"))
        self.assertTrue(line[4])

    def test_type(self) -> None:
        """The cause names the field."""
        self.backend.at_once("/api/publish", '{"channel": 1}')
        ((_, _, error),) = self.lines("error")
        self.assertIn("$.channel", error)

    def test_old_style(self) -> None:
        """So it is in the old style, whose methods are in the body."""
        for body, cause in (
            ("", "no data in API request"),
            ("{", "Expecting"),
            ('{"method":"nope"}', "unknown method 'nope'"),
        ):
            self.backend.at_once("/api", body)
            ((_, message, error),) = self.lines("error")
            self.assertEqual(message, "error decoding API request body")
            self.assertIn(cause, error)

    def test_old_style_params(self) -> None:
        """Params that cannot be read are an error of that command."""
        self.backend.at_once("/api", '{"method":"publish","params":{"channel":1}}')
        ((_, message, method, code),) = self.lines("method", "code")
        self.assertEqual(message, "API command error")
        self.assertEqual((method, code), ("publish", 107))

    def test_errors(self) -> None:
        """An error is logged with method, channel, code and cause."""
        for method, asked, code, cause in (
            ("publish", {}, 107, "channel required for publish"),
            ("publish", {"channel": "x:a", "data": 1}, 102, ""),
            ("history", {"channel": "a"}, 108, "history is not enabled for channel"),
            ("presence", {"channel": "a"}, 108, "presence is not enabled for channel"),
        ):
            self.assertEqual(self.backend.code(method, **asked), code)
            self.assertEqual(
                self.lines("method", "channel", "code", "cause"),
                [
                    (
                        *("warn", "API command error", method),
                        *(asked.get("channel"), code, cause or None),
                    )
                ],
            )

    def test_parts(self) -> None:
        """Each channel of a broadcast, and each command of a batch, counts."""
        self.backend.call("broadcast", channels=["x:a", ""], data=1)
        self.assertEqual(
            self.lines("method", "channel", "code"),
            [
                ("warn", "API command error", "broadcast_publish", "x:a", 102),
                ("warn", "API command error", "broadcast_publish", None, 107),
            ],
        )
        self.backend.call("batch", commands=[{"publish": {}}, {}])
        self.assertEqual(
            self.lines("method", "code"),
            [
                ("warn", "API command error", "publish", 107),
                ("warn", "API command error", "unknown", 104),
            ],
        )

    def test_flood(self) -> None:
        """Ten thousand bad requests write a bounded number of lines, and a count."""
        for _ in range(10_000):
            self.backend.at_once("/api/publish", "{")
        self.assertEqual(len(self.lines()), 5)
        self.clock.advance(1)
        message = "log lines left out: error decoding API request body"
        self.assertEqual(
            self.lines("count", "method"), [("warn", message, 9995, "publish")]
        )

    def test_unexpected(self) -> None:
        """An error of ours has its traceback, and is bounded as well."""
        self.backend.world.policy.channel = _broken  # type: ignore[method-assign]
        for _ in range(10):
            self.backend.code("publish", channel="a", data=1)
        lines = self.lines("method")
        self.assertEqual(lines, [("error", "API call failed", "publish")] * 5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 5)


def _broken(name: str) -> None:
    raise ZeroDivisionError
