"""Calls that take more than one turn of the reactor."""

import json
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.api import METHODS
from centrifugo_tx.api.api_json import decode, decode_batch, encode, encode_batch
from centrifugo_tx.api.batches import BatchRequest
from centrifugo_tx.core.time_slices import RoundRobin, Slices
from centrifugo_tx.options import Answer

from .api_backend import Backend

#: Steps of one slice.
SLICE = 256


@define(eq=False)
class Counting:
    """A broker that records publications."""

    _broker: Any
    _test: "SliceTestCase"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def publish(self, channel: str, *arguments: Any) -> Any:
        self._test.published.append(channel)
        self._test.clock.rightNow += self._test.cost
        return self._broker.publish(channel, *arguments)


class SliceTestCase(SynchronousTestCase):
    """A backend whose node counts the publications of each turn."""

    def setUp(self) -> None:
        self.backend = Backend()
        self.clock: Any = self.backend.world.clock
        self.published: list[str] = []
        #: Seconds that a publication takes.
        self.cost = 0.0
        streams = self.backend.api.node.streams
        broker: Any = Counting(streams.broker, self)
        streams.broker = broker

    def turn(self) -> int:
        """Let the reactor turn once; return how many publications that made."""
        before, now = len(self.published), self.clock.seconds()
        due = [call for call in self.clock.calls if call.getTime() <= now]
        for call in due:
            self.clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)
        return len(self.published) - before

    def turns(self, answer: Any, slices: int) -> list[Any]:
        """Let the reactor turn until *answer* is there, in that many slices."""
        self.assertIsInstance(answer, Deferred)
        found: list[Any] = []
        answer.addCallback(found.append)
        sizes = [len(self.published)]
        while not found and len(sizes) < 10000:
            sizes.append(self.turn())
        self.assertLessEqual(max(sizes), SLICE)
        self.assertGreaterEqual(len(sizes), slices)
        return found

    def call(self, method: str, body: Any, slices: int) -> Any:
        answer = self.backend.post(f"/api/{method}", json.dumps(body))
        (found,) = self.turns(answer, slices)
        self.assertEqual(found.status, 200)
        return json.loads(found.body)


class CallTests(SliceTestCase):
    """Batches and broadcasts leave room for others; results and order stay."""

    def test_broadcast(self) -> None:
        """A slice of the channels in a turn."""
        channels = [f"hh:{number}" for number in range(1000)]
        channels[500] = ""
        result = self.call("broadcast", {"channels": channels, "data": {}}, 4)
        channels.remove("")
        self.assertEqual(self.published, channels)
        responses = result["result"]["responses"]
        self.assertEqual(len(responses), 1000)
        self.assertEqual(responses[500]["error"]["code"], 107)
        self.assertTrue(all("result" in each for each in responses[501:]))

    def test_batch(self) -> None:
        """A slice of the commands in a turn, side by side or not."""
        for parallel in (False, True):
            self.setUp()
            commands: list[Any] = [
                {"publish": {"channel": f"hh:{number}", "data": {"n": number}}}
                for number in range(3000)
            ]
            commands[7], commands[2000] = None, {"history": {"channel": "hh:5"}}
            answer = self.call("batch", {"commands": commands, "parallel": parallel}, 9)
            replies = answer["replies"]
            self.assertEqual(len(replies), 3000)
            self.assertEqual(replies[7]["error"]["code"], 107)
            self.assertEqual(replies[2000]["history"]["offset"], 1)
            names = [f"hh:{n}" for n in range(3000) if n not in (7, 2000)]
            self.assertEqual(self.published, names)

    def test_costly(self) -> None:
        """Time counts, too: a slice takes 5 ms."""
        self.cost = 0.002
        self.call("broadcast", {"channels": ["hh:a"] * 10, "data": {}}, 3)

    def test_old_style(self) -> None:
        """So are the commands of the old style."""
        line = json.dumps(
            {"method": "publish", "params": {"channel": "hh:a", "data": {}}}
        )
        answer = self.backend.post("/api", "\n".join([line] * 1000))
        (found,) = self.turns(answer, 4)
        self.assertEqual(found.body.count(b'"offset"'), 1000)
        self.assertIn(b'{"result":{"offset":1000,', found.body)

    def test_small(self) -> None:
        """A batch that fits into one slice is answered at once."""
        for method, body in (
            ("publish", {"channel": "a", "data": {}}),
            ("broadcast", {"channels": ["a"] * 200, "data": {}}),
            ("batch", {"commands": [{"publish": {"channel": "a", "data": {}}}] * 200}),
        ):
            answer = self.backend.post(f"/api/{method}", json.dumps(body))
            self.assertIsInstance(answer, Answer)

    def test_others(self) -> None:
        """Calls that are under way take turns."""
        body = json.dumps({"channels": ["hh:a"] * 1000, "data": {}})
        first = self.backend.post("/api/broadcast", body)
        second = self.backend.post("/api/broadcast", body.replace("hh:a", "hh:b"))
        self.turn()
        self.assertEqual(self.published.count("hh:a"), 2 * SLICE)
        self.assertEqual(self.published.count("hh:b"), 2 * SLICE)
        for _ in range(3):
            self.turn()
        for answer in (first, second):
            self.assertEqual(self.successResultOf(answer).status, 200)


class LargeBatchTests(SynchronousTestCase):
    """Large batches are read and written as small ones are."""

    def setUp(self) -> None:
        self.backend = Backend()
        clock: Any = self.backend.world.clock
        self.clock = clock
        self.slices = Slices(RoundRobin(clock), clock)

    def outcome(self, coroutine: Any) -> Any:
        """Return the result or the error of *coroutine*."""
        done: Any = Deferred.fromCoroutine(coroutine)
        found: list[Any] = []
        done.addBoth(found.append)
        while not found:
            self.clock.advance(0)
        return getattr(found[0], "value", found[0])

    def test_same(self) -> None:
        """A large batch decodes like a small one."""
        for text in (
            '{"commands":[]}',
            '{"commands":null}',
            "null",
            '{"commands":[null,{"publish":null},{},{"info":{}}],"parallel":true}',
            '{"Commands":[{"Publish":{"Channel":"a"}}]}',
            '{"commands":[{"publish":{"channel":"é","tags":{"a":null}}}]}',
            '{"commands":[{"publish":{"channel":null}}],"x":[1]}',
            '{"commands":[{"broadcast":{"channels":["a",null]}}]}',
            '{"commands":[1]}',
            '{"commands":[{"publish":{"channel":1}}]}',
            '{"commands":{}}',
            '{"commands":[{}]} x',
            '{"commands":[{"publish":{"data":' + "[" * 300 + "]" * 300 + "}}]}",
        ):
            for body in (text.encode(), text.encode() + b" " * 70000):
                try:
                    small: Any = decode(body, BatchRequest)
                except ValueError as error:
                    small = type(error)
                large = self.outcome(decode_batch(body, self.slices))
                if isinstance(large, ValueError):
                    large = type(large)
                self.assertEqual(large, small, text)

    def test_bad_bytes(self) -> None:
        """Text that is not UTF-8 is refused."""
        body = b'{"commands":[{"publish":{"data":"\xff"}}]}'
        self.assertIsInstance(
            self.outcome(decode_batch(body, self.slices)), UnicodeDecodeError
        )

    def test_answers(self) -> None:
        """Replies encoded in slices equal those encoded at once."""
        commands: list[Any] = [{"info": {}}, {"publish": {}}, None] * 70
        for count in (0, 1, 64, 65, 210):
            request = {"commands": commands[:count]}
            answer = self.backend.at_once("/api/batch", json.dumps(request))
            api = self.backend.api
            batch = decode(json.dumps(request).encode(), BatchRequest)
            result = Deferred.fromCoroutine(METHODS["batch"].call(api, batch))
            replies: Any = self.successResultOf(result)
            encoded = self.outcome(encode_batch(replies, self.slices))
            self.assertEqual(encoded, encode(replies))
            self.assertEqual(len(encoded), len(answer.body))

    def test_refused(self) -> None:
        """A mistake anywhere in a large batch is 400, and nothing is executed."""
        good = {"publish": {"channel": "hh:a", "data": {}}}
        commands: list[Any] = [*[good] * 3000, {"publish": {"channel": 1}}]
        done = self.backend.post("/api/batch", json.dumps({"commands": commands}))
        found = self.outcome(_wait(done))
        self.assertEqual(found.status, 400)
        self.assertEqual(self.backend.errors(), {("batch", "unmarshal"): 1})
        self.assertEqual(self.backend.result("history", channel="hh:a")["offset"], 0)


async def _wait(done: "Deferred[Any]") -> Any:
    return await done


class NullTests(SynchronousTestCase):
    """A null means an absent value, in any field of any method."""

    def test_elements(self) -> None:
        """In a list or a map of strings it is an empty one."""
        backend = Backend()
        publish = {"channel": "hh:a", "data": {}, "tags": {"a": None, "b": "x"}}
        self.assertEqual(backend.result("publish", **publish)["offset"], 1)
        (found,) = backend.result("history", channel="hh:a", limit=1)["publications"]
        self.assertEqual(found["tags"], {"a": "", "b": "x"})
        backend.result("map_publish", **{**publish, "channel": "mm:a", "key": "k"})
        (reply,) = backend.call("batch", commands=[{"publish": publish}])["replies"]
        self.assertEqual(reply["publish"]["offset"], 2)
        publish["channels"] = ["hh:a", None]
        responses = backend.result("broadcast", **publish)["responses"]
        self.assertEqual(responses[0]["result"]["offset"], 3)
        self.assertEqual(responses[1]["error"]["code"], 107)
        self.assertEqual(backend.result("disconnect", whitelist=[None, "x"]), {})

    def test_revision(self) -> None:
        """A revision whose epoch is null or absent is that of no map."""
        backend = Backend()
        asked = {"channel": "mm:a", "revision_offset": 1, "revision_epoch": None}
        self.assertEqual(backend.code("map_read_state", **asked), 112)

    def test_fields(self) -> None:
        """A field that is null, at any depth, changes nothing."""
        for method, fields in FIELDS.items():
            for name in fields:
                with self.subTest(method=method, field=name):
                    self.assertEqual(
                        self.answer(method, **{name: None}), self.answer(method)
                    )
        for name, inner in (
            ("override", {"presence": None}),
            ("override", {"presence": {"value": None}}),
            ("recover_since", {"offset": None, "epoch": None}),
        ):
            self.assertEqual(self.answer("subscribe", **{name: inner}), {"result": {}})
        self.assertEqual(
            self.answer("disconnect", disconnect={"code": None, "reason": None}),
            {"result": {}},
        )

    def answer(self, method: str, **fields: Any) -> Any:
        """Return the answer of a new node, whose ids differ from others'."""
        found = Backend().call(method, **{**BASE.get(method, {}), **fields})
        text = json.dumps(found)
        for name in ("uid", "epoch"):
            _, mark, rest = text.partition(f'"{name}": "')
            if mark:
                text = text.replace(rest.partition('"')[0], "")
        return json.loads(text)


_CHANNEL = {"channel": "hh:a"}
_MAP = {"channel": "mm:a"}
#: A call that succeeds, by method.
BASE: dict[str, dict[str, Any]] = {
    "publish": {**_CHANNEL, "data": {}},
    "broadcast": {"channels": ["hh:a"], "data": {}},
    "subscribe": _CHANNEL,
    "unsubscribe": _CHANNEL,
    "history": _CHANNEL,
    "history_remove": _CHANNEL,
    "presence": _CHANNEL,
    "presence_stats": _CHANNEL,
    "map_publish": {**_MAP, "key": "k", "data": {}},
    "map_remove": {**_MAP, "key": "k"},
    "map_read_state": _MAP,
    "map_read_stream": _MAP,
    "map_stats": _MAP,
    "map_clear": _MAP,
}
_PUBLISH = ("b64data", "tags", "idempotency_key", "delta", "version", "version_epoch")
_WHOSE = ("user", "client", "session")
#: Fields that may be null without a change, by method.
FIELDS: dict[str, tuple[str, ...]] = {
    "publish": (*_PUBLISH, "skip_history"),
    "broadcast": (*_PUBLISH, "skip_history"),
    "subscribe": (
        *(*_WHOSE, "expire_at", "info", "b64info", "data", "b64data"),
        *("recover_since", "override"),
    ),
    "unsubscribe": _WHOSE,
    "disconnect": (*_WHOSE, "disconnect", "whitelist"),
    "refresh": (*_WHOSE, "expired", "expire_at", "info"),
    "history": ("limit", "since", "reverse"),
    "channels": ("pattern",),
    "info": ("x",),
    "map_publish": (*_PUBLISH, "key_mode"),
    "map_remove": ("idempotency_key",),
    "map_read_state": ("cursor", "limit", "key", "revision_offset", "revision_epoch"),
    "map_read_stream": ("since_offset", "since_epoch", "limit", "reverse"),
}
