"""The server API's bytes: paths, keys, statuses and both styles of requests."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.api import HTTPAPIOptions
from centrifugo_tx.options import Answer
from centrifugo_tx.protocol.messages import Raw

from .api_backend import Backend

BAD = Answer(400, b"Bad Request\n", "text/plain; charset=utf-8")
BROKEN = Answer(500, b"Internal Server Error\n", "text/plain; charset=utf-8")


def fine(body: bytes) -> Answer:
    """Return the answer that carries *body*."""
    return Answer(200, body, "application/json")


def error(code: int, message: str) -> bytes:
    """Return the JSON of an error, as responses contain it."""
    return b'{"error":{"code":%d,"message":"%b"}}' % (code, message.encode())


class DoorTests(SynchronousTestCase):
    """Access to the API (server API, "API keys")."""

    def setUp(self) -> None:
        self.backend = Backend(HTTPAPIOptions(key="k"))

    def status(self, path: str = "/api/rpc", **headers: str) -> int:
        status: int = self.backend.post(path, "{}", b"POST", **headers).status
        return status

    def test_keys(self) -> None:
        """The key comes in X-API-Key, in Authorization or in the query."""
        for headers, status in (
            ({}, 401),
            ({"X_API_Key": "k"}, 200),
            ({"X_API_Key": "bad"}, 401),
            ({"Authorization": "apikey k"}, 200),
            ({"Authorization": "APIKEY  k"}, 200),
            ({"Authorization": "apikey\tk"}, 200),
            ({"Authorization": "bearer k"}, 401),
            ({"Authorization": "apikey k x"}, 401),
            ({"Authorization": "apikey kk"}, 401),
            ({"X_API_Key": "bad", "Authorization": "apikey k"}, 401),
            ({"X_API_Key": "", "Authorization": "apikey k"}, 200),
        ):
            self.assertEqual(self.status(**headers), status, headers)

    def test_query(self) -> None:
        """The query is looked at when the headers did not convince."""
        self.assertEqual(self.status("/api/rpc?api_key=k"), 200)
        self.assertEqual(self.status("/api/rpc?x=1&api_key=%6b"), 200)
        self.assertEqual(self.status("/api/rpc?api_key=k", X_API_Key="bad"), 200)
        self.assertEqual(self.status("/api/rpc?api_key=z&api_key=k"), 401)
        self.assertEqual(self.status("/api/rpc?"), 401)
        self.assertEqual(self.status("/api/rpc?API_KEY=k"), 401)

    def test_refusal(self) -> None:
        """A caller without the key gets an empty 401."""
        self.assertEqual(self.backend.post("/api/info", "{}"), Answer(401))
        self.assertEqual(self.backend.post("/api", "{}"), Answer(401))

    def test_only_post(self) -> None:
        """The HTTP method is looked at before the key."""
        for method in (b"GET", b"PUT", b"HEAD", b"OPTIONS"):
            for path in ("/api", "/api/rpc"):
                answer = self.backend.post(path, "{}", method)
                self.assertEqual(answer, Answer(405))

    def test_no_key(self) -> None:
        """Without a configured key every call is refused."""
        backend = Backend(HTTPAPIOptions())
        self.assertEqual(backend.post("/api/info", "{}").status, 401)
        answer = backend.post("/api/info?api_key=", "{}", X_API_Key="")
        self.assertEqual(answer.status, 401)

    def test_prefix(self) -> None:
        """The prefix loses its last slash; an empty one means the root."""
        for prefix, path, old in (
            ("/a/b/", b"/a/b/publish", b"/a/b"),
            ("/", b"/publish", b"/"),
            ("", b"/publish", b"/"),
        ):
            options = HTTPAPIOptions(insecure=True, handler_prefix=prefix)
            handlers = Backend(options).handlers
            self.assertIn(path, handlers)
            self.assertIn(old, handlers)


class NewStyleTests(SynchronousTestCase):
    """``POST /api/<method>``, byte by byte as the reference answers."""

    def setUp(self) -> None:
        self.backend = Backend()

    def check(self, method: str, *cases: tuple[str, Answer | bytes]) -> None:
        """Check that each body has its answer, which is there at once."""
        for body, wanted in cases:
            answer = self.backend.at_once(f"/api/{method}", body)
            expected = fine(wanted) if isinstance(wanted, bytes) else wanted
            self.assertEqual(answer, expected, body)

    def test_bodies(self) -> None:
        """A body is one JSON object, null, or wrong."""
        self.check(
            "publish",
            *((body, BAD) for body in ("", "[]", "1", '"x"', "{", "{}x", "\ufeff{}")),
            ("{}", error(107, "bad request")),
            ("null", error(107, "bad request")),
            ('{"channel":"a","data":1} \n', b'{"result":{}}'),
            ('{"channel":"a","data":1,"more":{}}', b'{"result":{}}'),
            ('{"channel":null,"data":1}', error(107, "bad request")),
            ('{"Channel":"a","DATA":1}', b'{"result":{}}'),
            ('{"Channel":"a","data":1}', b'{"result":{}}'),
            ('{"channel":"a","data":1,"tags":null}', b'{"result":{}}'),
        )

    def test_types(self) -> None:
        """A field of another type is a bad request."""
        self.check(
            "publish",
            *(
                (f'{{"channel":"a","data":1,{field}}}', BAD)
                for field in (
                    '"channel":1',
                    '"version":-1',
                    '"version":1.0',
                    '"version":"1"',
                    '"version":18446744073709551616',
                    '"skip_history":1',
                    '"tags":{"a":1}',
                )
            ),
        )
        self.check("history", ('{"channel":"hh:a","limit":2147483648}', BAD))
        self.check("disconnect", ('{"disconnect":{"code":-1}}', BAD))
        self.check("subscribe", ('{"channel":"a","override":{"presence":true}}', BAD))
        self.check(
            "subscribe", ('{"channel":"a","expire_at":9223372036854775808}', BAD)
        )
        self.check("batch", ('{"commands":[1]}', BAD))
        self.check("batch", ('{"commands":[{"publish":{"channel":1}}]}', BAD))
        self.assertEqual(self.backend.errors()["publish", "unmarshal"], 7)

    def test_hostile(self) -> None:
        """A body that is not UTF-8, or nested too deep, is a bad request."""
        for body in (
            b'{"channel":"a","data":"\xff"}',
            b'{"channel":"a","data":' + b"[" * 5000 + b"]" * 5000 + b"}",
        ):
            self.assertEqual(self.backend.at_once("/api/publish", body), BAD)

    def test_escapes(self) -> None:
        """Payloads are compact in responses, with escapes that are safe in HTML."""
        self.backend.at_once(
            "/api/publish", '{"channel":"hh:a","data":{"a" : "<&>\u2028"}}'
        )
        answer = self.backend.at_once("/api/history", '{"channel":"hh:a","limit":1}')
        self.assertIn(
            rb'{"data":{"a":"\u003c\u0026\u003e\u2028"},"offset":1}', answer.body
        )

    def test_binary_payload(self) -> None:
        """A payload that is not JSON makes the response fail, and cannot leave its
        field.
        """
        for encoded in ("/w==", "MX0seyJkYXRhIjoy", "MSwib2Zmc2V0Ijo5"):
            self.backend.call("publish", channel="bb:a", b64data=encoded)
            body = '{"channel":"bb:a","limit":-1}'
            self.assertEqual(self.backend.at_once("/api/history", body), BROKEN)
            batch = f'{{"commands":[{{"history":{body}}}]}}'
            self.assertEqual(self.backend.at_once("/api/batch", batch), BROKEN)
            self.backend.call("history_remove", channel="bb:a")
        self.assertEqual(self.backend.errors()["history", "marshal"], 3)

    def test_batch_envelope(self) -> None:
        """The answer to a batch has no envelope, and no error mode."""
        self.check(
            "batch",
            ("{}", b"{}"),
            ("null", b"{}"),
            ('{"commands":[null,{}]}', b'{"replies":[%b,%b]}' % (
                error(107, "bad request"), error(104, "not found"))),
            ('{"commands":[{"unsubscribe":{}}]}', b'{"replies":[{"unsubscribe":{}}]}'),
        )  # fmt: skip

    def test_transport_errors(self) -> None:
        """In transport mode an error is a status and a bare object."""
        for method, body, status in (
            ("publish", "{}", 400),
            ("publish", '{"channel":"no:a","data":1}', 404),
            ("rpc", '{"method":"x"}', 404),
            ("presence", '{"channel":"a"}', 400),
            ("channels", '{"pattern":"["}', 500),
            (
                "history",
                '{"channel":"hh:a","since":{"offset":1,"epoch":"other"}}',
                416,
            ),
            ("publish", '{"channel":"a","data":1}', 200),
            ("broadcast", '{"channels":[""],"data":1}', 200),
            ("batch", '{"commands":[{}]}', 200),
        ):
            for backend, headers in (
                (self.backend, {"X_Centrifugo_Error_Mode": "transport"}),
                (Backend(HTTPAPIOptions(insecure=True, error_mode="transport")), {}),
            ):
                answer = backend.at_once(f"/api/{method}", body, **headers)
                self.assertEqual(answer.status, status, body)
                self.assertEqual("error" in json.loads(answer.body), False, body)
        answer = self.backend.at_once("/api/rpc", "{}", X_Centrifugo_Error_Mode="x")
        self.assertEqual(answer, fine(error(107, "bad request")))

    def test_later(self) -> None:
        """An answer that takes time is given when it is there."""
        waiting: Deferred[Any] = Deferred()
        self.backend.api.extensions["slow"] = lambda params: waiting
        answer = self.backend.post("/api/rpc", '{"method":"slow"}')
        self.assertNoResult(answer)
        waiting.callback(Raw(b'{"a": 1}'))
        self.assertEqual(
            self.successResultOf(answer), fine(b'{"result":{"data":{"a":1}}}')
        )


class OldStyleTests(SynchronousTestCase):
    """``POST /api``: several commands in one body (server API, "Old style")."""

    def setUp(self) -> None:
        self.backend = Backend()

    def check(self, *cases: tuple[str, Answer | bytes]) -> None:
        """Check that each body has its answer."""
        for body, wanted in cases:
            answer = self.backend.at_once("/api", body)
            expected = fine(wanted) if isinstance(wanted, bytes) else wanted
            self.assertEqual(answer, expected, body)

    def test_streams(self) -> None:
        """Commands follow each other with anything blank between them."""
        presence = '{"method":"presence","params":{"channel":"hh:a"}}'
        reply = b'{"result":{"presence":{}}}'
        for between in ("", "\n", " \r\n\t"):
            self.check((presence + between + presence, reply + b"\n" + reply))
        self.check(("  ", b""), ("", BAD), ("[]", BAD), ("5", BAD))
        self.check((presence + "x", BAD), (presence + "," + presence, BAD))

    def test_methods(self) -> None:
        """A method is a name in any case, or a number."""
        done = b'{"result":{}}'
        self.check(
            ('{"method":"unsubscribe","params":{}}', done),
            ('{"method":"UNSUBSCRIBE","params":{}}', done),
            ('{"method":2,"params":{}}', done),
            ('{"Method":"unsubscribe","Params":{},"ID":3}', b'{"id":3,"result":{}}'),
            ('{"params":{"channel":"a","data":1}}', done),
            *(
                (f'{{"method":{number}}}', error(104, "not found"))
                for number in (13, 14, 40, 99, -1)
            ),
            ('{"method":"connections"}', error(104, "not found")),
            ('{"method":"map_publish"}', error(107, "bad request")),
            ('{"method":33}', error(107, "bad request")),
            ('{"method":39}', error(107, "bad request")),
            *(
                (f'{{"method":{method}}}', BAD)
                for method in ('"nope"', '"batch"', '"0"', "null", "1.0", "{}")
            ),
        )

    def test_params(self) -> None:
        """Missing or wrong params are an error only of their command."""
        wrong = error(107, "bad request")
        self.check(
            ('{"method":"publish"}', wrong),
            ('{"method":"publish","params":5}', wrong),
            ('{"method":"publish","params":null}', wrong),
            (
                '{"method":"publish"}{"method":2,"params":{}}',
                wrong + b'\n{"result":{}}',
            ),
            ("null", wrong),
        )

    def test_info_params(self) -> None:
        """The params of info are not read."""
        answer = self.backend.at_once("/api", '{"method":"info","params":5}')
        self.assertEqual(len(json.loads(answer.body)["result"]["nodes"]), 1)

    def test_ids(self) -> None:
        """The id is returned unless it is zero; a malformed id invalidates the body."""
        self.check(
            ('{"id":7,"method":2,"params":{}}', b'{"id":7,"result":{}}'),
            ('{"id":0,"method":2,"params":{}}', b'{"result":{}}'),
            ('{"id":null,"method":2,"params":{}}', b'{"result":{}}'),
            ('{"id":"1","method":2}', BAD),
            ('{"id":-1,"method":2}', BAD),
            ('{"id":4294967296,"method":2}', BAD),
        )

    def test_order(self) -> None:
        """Commands before a malformed one have been run."""
        body = (
            '{"method":"publish","params":{"channel":"hh:a","data":1}}{"method":"no"}'
        )
        self.check((body, BAD))
        self.assertEqual(self.backend.result("history", channel="hh:a")["offset"], 1)

    def test_errors_are_not_counted(self) -> None:
        """Errors of old commands are not in the metrics, those of items are."""
        self.backend.at_once("/api", '{"method":"publish","params":{}}')
        self.assertEqual(self.backend.errors(), {})
        body = '{"method":"broadcast","params":{"channels":[""],"data":1}}'
        self.backend.at_once("/api", body)
        self.assertEqual(self.backend.errors(), {("broadcast_publish", "107"): 1})

    def test_transport_mode_is_ignored(self) -> None:
        """The status is 200 for every error."""
        answer = self.backend.at_once(
            "/api", "null", X_Centrifugo_Error_Mode="transport"
        )
        self.assertEqual(answer, fine(error(107, "bad request")))

    def test_stopping(self) -> None:
        """A node that stops answers old commands with 503, new ones as ever."""
        self.backend.world.node.sessions.stopping = True
        self.assertEqual(self.backend.at_once("/api", "{}"), Answer(503))
        self.assertEqual(self.backend.at_once("/api/info", "{}").status, 200)

    def test_broken_payload(self) -> None:
        """A payload that is not JSON makes the whole response fail."""
        self.backend.call("publish", channel="bb:a", b64data="/w==")
        body = '{"method":"history","params":{"channel":"bb:a","limit":1}}'
        self.check((body, BROKEN))
