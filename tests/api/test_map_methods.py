"""The API's methods for maps (server API, "Maps and keys")."""

from typing import Any

from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.errors import BrokerUnavailable

from .api_backend import Backend


class MapTests(SynchronousTestCase):
    """``mm:`` is a map with a stream, ``ee:`` one without."""

    def setUp(self) -> None:
        self.backend = Backend()

    def put(self, key: str, data: Any = 1, **request: Any) -> Any:
        """Publish a key of ``mm:a``; return the result."""
        return self.backend.result(
            "map_publish", channel="mm:a", key=key, data=data, **request
        )

    def state(self, **request: Any) -> Any:
        """Read the state of ``mm:a``."""
        return self.backend.result("map_read_state", channel="mm:a", **request)

    def stream(self, **request: Any) -> Any:
        """Read the stream of ``mm:a``."""
        return self.backend.result("map_read_stream", channel="mm:a", **request)

    def test_publish(self) -> None:
        """A key is set; the result says where that stands."""
        result = self.put("k", {"n": 1}, tags={"t": "x"})
        self.assertEqual(set(result), {"offset", "epoch"})
        [entry] = self.state(limit=-1)["entries"]
        time = entry.pop("time")
        self.assertEqual(time, int(self.backend.world.clock.seconds() * 1000))
        expected = {"key": "k", "data": {"n": 1}, "tags": {"t": "x"}, "offset": 1}
        self.assertEqual(entry, expected)

    def test_encoded(self) -> None:
        """Encoded data wins, and none at all is a value too."""
        self.put("k", "plain", b64data="e30=")
        self.backend.result("map_publish", channel="mm:a", key="l")
        first, second = self.state(limit=-1)["entries"]
        self.assertEqual(first["data"], {})
        self.assertNotIn("data", second)

    def test_not_json(self) -> None:
        """Values that are no JSON cannot be shown as JSON."""
        self.put("k", b64data="/w==")
        answer = self.backend.at_once("/api/map_read_state", '{"channel":"mm:a"}')
        self.assertEqual(answer.status, 200)
        body = '{"channel":"mm:a","limit":-1}'
        for method in ("map_read_state", "map_read_stream"):
            answer = self.backend.at_once(f"/api/{method}", body)
            self.assertEqual(answer.status, 500)

    def test_suppressed(self) -> None:
        """A change without effect is reported with its reason."""
        self.put("k", idempotency_key="i", version=3)
        for reason, request in (
            ("idempotency", {"idempotency_key": "i"}),
            ("version", {"version": 3}),
            ("key_exists", {"key_mode": "if_new"}),
        ):
            result = self.put("k", 2, **request)
            self.assertEqual(result["suppress_reason"], reason)
            self.assertEqual((result["suppressed"], result["offset"]), (True, 1))
        result = self.put("l", key_mode="if_exists")
        self.assertEqual(result["suppress_reason"], "key_not_found")

    def test_remove(self) -> None:
        """A key is removed once."""
        self.put("k")
        request = {"channel": "mm:a", "key": "k"}
        self.assertEqual(self.backend.result("map_remove", **request)["offset"], 2)
        again = self.backend.result("map_remove", **request)
        self.assertEqual(again["suppress_reason"], "key_not_found")
        changes = self.stream(limit=-1)["entries"]
        self.assertEqual([c.get("removed", False) for c in changes], [False, True])

    def test_read_state(self) -> None:
        """Entries come in pages, one can be asked for, and epochs are compared."""
        for key in "abc":
            self.put(key)
        self.assertEqual(set(self.state()), {"offset", "epoch"})
        page = self.state(limit=2)
        self.assertEqual([e["key"] for e in page["entries"]], ["a", "b"])
        rest = self.state(limit=2, cursor=page["cursor"], revision_epoch=page["epoch"])
        self.assertEqual([e["key"] for e in rest["entries"]], ["c"])
        self.assertNotIn("cursor", rest)
        self.assertEqual([e["key"] for e in self.state(key="b")["entries"]], ["b"])
        request = {"channel": "mm:a", "revision_epoch": "other"}
        self.assertEqual(self.backend.code("map_read_state", **request), 112)

    def test_read_stream(self) -> None:
        """Changes come in order, from either end, from anywhere."""
        for key in "abc":
            self.put(key)
        epoch = self.stream()["epoch"]
        for expected, request in (
            ([], {}),
            ([1, 2, 3], {"limit": -1}),
            ([1, 2, 3], {"limit": -7}),
            ([3, 2], {"limit": 2, "reverse": True}),
            ([2, 3], {"limit": 9, "since_offset": 1}),
            ([2], {"limit": 1, "since_offset": 1, "since_epoch": epoch}),
        ):
            entries = self.stream(**request).get("entries", [])
            self.assertEqual([e["offset"] for e in entries], expected, request)
        request = {"channel": "mm:a", "since_epoch": "other"}
        self.assertEqual(self.backend.code("map_read_stream", **request), 112)

    def test_read_what_is_gone(self) -> None:
        """Reading from a position that is no longer kept is an error."""
        for number in range(103):
            self.put("k", number)
        request = {"channel": "mm:a", "limit": 5}
        for code, since, reverse in (
            (112, 1, False),
            (112, 2, False),
            (0, 3, False),
            (0, 0, False),
            (0, 2, True),
        ):
            found = self.backend.code(
                "map_read_stream", since_offset=since, reverse=reverse, **request
            )
            self.assertEqual(found, code, since)

    def test_stats_and_clear(self) -> None:
        """Stats return the number of keys; clear removes all."""
        self.put("k")
        asked = {"channel": "mm:a"}
        self.assertEqual(self.backend.result("map_stats", **asked), {"num_keys": 1})
        self.assertEqual(self.backend.result("map_clear", **asked), {})
        self.assertEqual(self.backend.result("map_stats", **asked), {})

    def test_refused(self) -> None:
        """Each rule has its error."""
        key = {"key": "k"}
        for code, method, request in (
            (107, "map_publish", {"channel": "mm:a"}),
            (107, "map_publish", key),
            (107, "map_publish", {"channel": "a", **key}),
            (102, "map_publish", {"channel": "no:a", **key}),
            (107, "map_publish", {"channel": "mm:a", **key, "b64data": "!"}),
            (107, "map_publish", {"channel": "mm:a", **key, "key_mode": "x"}),
            (100, "map_publish", {"channel": "ee:a", **key, "version": 1}),
            (0, "map_publish", {"channel": "ee:a", **key}),
            (107, "map_remove", {"channel": "mm:a"}),
            (107, "map_remove", {"channel": "hh:a", **key}),
            (107, "map_read_state", {}),
            (107, "map_read_state", {"channel": "a"}),
            (107, "map_read_stream", {}),
            (107, "map_stats", {"channel": "a"}),
            (107, "map_clear", {"channel": "a"}),
            (107, "publish", {"channel": "mm:a", "data": 1}),
        ):
            found = self.backend.code(method, **request)
            self.assertEqual(found, code, (method, request))
        self.assertEqual(self.backend.errors()["map_publish", "107"], 5)

    def test_no_maps(self) -> None:
        """An engine without maps has none."""
        self.backend.world.node.maps = None
        request = {"channel": "mm:a", "key": "k"}
        self.assertEqual(self.backend.code("map_publish", **request), 107)

    def test_away(self) -> None:
        """A storage that is away is an internal error."""
        maps = self.backend.world.node.maps
        assert maps is not None
        self.patch(
            type(maps.broker), "size", lambda *_: fail(BrokerUnavailable("away"))
        )
        self.assertEqual(self.backend.code("map_stats", channel="mm:a"), 100)

    def test_in_a_batch(self) -> None:
        """In a batch maps come last."""
        publish = {"channel": "mm:a", "key": "k", "data": 1}
        answer = self.backend.call(
            "batch",
            commands=[{"map_publish": publish}, {"map_stats": {"channel": "mm:a"}}],
        )
        first, second = answer["replies"]
        self.assertEqual(first["map_publish"]["offset"], 1)
        self.assertEqual(second, {"map_stats": {"num_keys": 1}})

    def test_delta(self) -> None:
        """A delta can be asked for, or is the namespace's habit."""
        world = self.backend.world
        told: list[Any] = []
        maps = world.node.maps
        assert maps is not None
        self.patch(type(maps), "handle_change", lambda _, *change: told.append(change))
        self.put("k", 1)
        self.put("k", 2, delta=True)
        for value in (1, 2):
            self.backend.result("map_publish", channel="dd:a", key="k", data=value)
        previous = [change[3] and bytes(change[3].data) for change in told]
        self.assertEqual(previous, [None, b"1", None, b"1"])


class SharedPollTests(SynchronousTestCase):
    """``pp:`` is polled and accepts publications; ``qq:`` is only polled."""

    def test_published(self) -> None:
        """A newer version reaches the clients that track the key."""
        backend = Backend()
        peer = backend.world.subscribed("pp:a", type=4)
        items = [{"key": "k"}]
        track = [{"signature": "s", "items": items}]
        peer.ask(sub_refresh={"channel": "pp:a", "type": 1, "track": track})
        request = {"channel": "pp:a", "key": "k", "version": 2}
        result = backend.result("shared_poll_publish", data={"n": 1}, **request)
        self.assertEqual(result, {})
        [push] = peer.take()
        expected = {"key": "k", "data": {"n": 1}, "version": 2}
        self.assertEqual(push["push"]["pub"], expected)
        request["version"] = 3
        backend.result("shared_poll_publish", b64data="Mw==", **request)
        [push] = peer.take()
        self.assertEqual(push["push"]["pub"]["data"], 3)

    def test_refused(self) -> None:
        """Each rule has its error."""
        backend = Backend()
        good = {"channel": "pp:a", "key": "k", "version": 1, "data": 1}
        for code, change in (
            (0, {}),
            (107, {"channel": ""}),
            (107, {"key": ""}),
            (107, {"version": 0}),
            (107, {"channel": "mm:a"}),
            (102, {"channel": "no:a"}),
            (108, {"channel": "qq:a"}),
            (107, {"b64data": "!"}),
        ):
            found = backend.code("shared_poll_publish", **{**good, **change})
            self.assertEqual(found, code, change)
