"""Commands that call one method of the API: their requests and output."""

import json
import os
import sys
from io import StringIO

from .command_case import ADDRESS, CommandCase, Terminal, http


class PublishTests(CommandCase):
    """Publish and broadcast."""

    def test_published(self) -> None:
        """A line says where the publication is in its stream, if there is one."""
        said = self.call("publish", "news", '{"a": 1}', result={})
        self.assertEqual(said, "published\n")
        path, headers, request = self.sent()
        self.assertEqual(path, "/api/publish")
        self.assertEqual(headers["x-api-key"], "k")
        self.assertEqual(request, {"channel": "news", "data": {"a": 1}})
        said = self.call("publish", "news", "1", result={"offset": 7, "epoch": "e"})
        self.assertEqual(said, "published at offset 7 (epoch e)\n")

    def test_digits(self) -> None:
        """JSON is sent as it was written."""
        self.call(
            "publish", "news", ' {"a": 1.10, "b": 12345678901234567890}', result={}
        )
        body = self._peers[-1].recv(65536)
        self.assertIn(b'{"a": 1.10, "b": 12345678901234567890}', body)

    def test_options(self) -> None:
        """Every option reaches the server under its name."""
        options = [
            "--skip-history",
            "--delta",
            "--version",
            "3",
            "--version-epoch",
            "e",
        ]
        tags = ["--tag", "a=b", "--tag", "c=d=e", "--idempotency-key", "i"]
        self.call("publish", "news", "null", *options, *tags, result={})
        wanted = {
            "channel": "news",
            "data": None,
            "tags": {"a": "b", "c": "d=e"},
            "idempotency_key": "i",
            "skip_history": True,
            "delta": True,
            "version": 3,
            "version_epoch": "e",
        }
        self.assertEqual(self.sent()[2], wanted)

    def test_forms(self) -> None:
        """The payload is JSON, text or base64, from an argument or standard input."""
        for arguments, stdin, wanted in (
            (["--text", "{x"], "", {"data": "{x"}),
            (["--base64", "AAE="], "", {"b64data": "AAE="}),
            ([], '{"from": "stdin"}\n', {"data": {"from": "stdin"}}),
            (["-"], "5", {"data": 5}),
            (["--text"], "line\n", {"data": "line\n"}),
        ):
            self.patch(sys, "stdin", StringIO(stdin))
            self.call("publish", "news", *arguments, result={})
            self.assertEqual(self.sent()[2], {"channel": "news", **wanted})

    def test_bad_payload(self) -> None:
        """Text that is not JSON is not sent."""
        for text in ("{x", "", "NaN", '"\udc80"'):
            self.command("publish", "news", text, *ADDRESS, code=2)
            self.assertIn("is not JSON; --text publishes it as text", self.complaints)
        self.command("publish", "news", "1", "--tag", "x", *ADDRESS, code=2)
        self.assertIn("--tag: 'x' must be NAME=VALUE", self.complaints)
        self.assertEqual(self.connected, [])

    def test_broadcast(self) -> None:
        """A line for each channel; one that failed makes the exit code 1."""
        error = {"code": 102, "message": "unknown channel"}
        result = {"responses": [{"result": {"offset": 1, "epoch": "e"}}, {}]}
        arguments = ("broadcast", "a", "no:b", "--data", "1")
        said = self.call(*arguments, result=result)
        self.assertEqual(said, "a: published at offset 1 (epoch e)\nno:b: published\n")
        self.assertEqual(self.sent()[2], {"channels": ["a", "no:b"], "data": 1})
        result["responses"][1] = {"error": error}
        said = self.call(*arguments, result=result, code=1)
        self.assertIn("no:b: error 102: unknown channel\n", said)
        self.assertEqual(self.complaints.count("\n"), 1)


class ReadTests(CommandCase):
    """Commands that read from the server."""

    def test_history(self) -> None:
        """A table of publications, and the position of the stream."""
        result = {
            "publications": [
                {"offset": 9, "data": {"a": "ü"}, "tags": {"x": "y"}},
                {"offset": 10, "data": "b"},
            ],
            "epoch": "e",
            "offset": 10,
        }
        said = self.call("history", "news", "--since", "8:e", "-r", result=result)
        self.assertEqual(
            said.splitlines(),
            [
                "OFFSET  TAGS  DATA",
                '     9  x=y   {"a":"ü"}',
                '    10        "b"',
                "2 publications; the stream is at offset 10 (epoch e)",
            ],
        )
        request = self.sent()[2]
        self.assertEqual(request["since"], {"offset": 8, "epoch": "e"})
        self.assertEqual((request["limit"], request["reverse"]), (10, True))
        self.command("history", "news", "--since", "x", *ADDRESS, code=2)
        self.assertIn("must be OFFSET or OFFSET:EPOCH", self.complaints)

    def test_presence(self) -> None:
        """A table of connections; or their number."""
        info = {"user": "42", "client": "c", "conn_info": {"a": 1}}
        said = self.call("presence", "news", result={"presence": {"c": info}})
        self.assertEqual(
            said.splitlines(),
            [
                "CLIENT  USER  CONNECTION  CHANNEL",
                'c       42    {"a":1}',
                "1 connection",
            ],
        )
        counts = {"num_clients": 2, "num_users": 1}
        said = self.call("presence-stats", "news", result=counts)
        self.assertEqual(said, "2 connections, 1 user\n")

    def test_channels(self) -> None:
        """The fullest channel first."""
        found = {"a": {"num_clients": 1}, "c": {"num_clients": 2}, "b": {}}
        said = self.call("channels", "x*", result={"channels": found})
        self.assertEqual(
            said.splitlines(),
            [
                "CLIENTS  CHANNEL",
                "      2  c",
                "      1  a",
                "      0  b",
                "3 channels",
            ],
        )
        self.assertEqual(self.sent()[2], {"pattern": "x*"})

    def test_info(self) -> None:
        """A line for each node, and the sum of several."""
        counts = {f"num_{name}": 3 for name in ("clients", "users", "subs", "channels")}
        nodes = [
            {"uid": name, "name": name, "version": "1", "uptime": 90000, **counts}
            for name in ("n2", "n1")
        ]
        lines = self.call("info", result={"nodes": nodes}).splitlines()
        self.assertEqual(
            [line.split()[0] for line in lines], ["NODE", "n1", "n2", "total"]
        )
        self.assertEqual(lines[1].split()[2:], ["1d", "1h", "3", "3", "3", "3"])
        self.assertEqual(lines[3].split()[1:], ["6", "6", "6", "6"])


class UserTests(CommandCase):
    """Commands that act on connections."""

    def test_requests(self) -> None:
        """Each argument reaches the server under its name."""
        for line, method, wanted in (
            ("disconnect 42", "disconnect", {"user": "42"}),
            (
                "disconnect 42 --client c --whitelist d --code 3000 --reason bye",
                "disconnect",
                {
                    **{"user": "42", "client": "c", "whitelist": ["d"]},
                    "disconnect": {"code": 3000, "reason": "bye"},
                },
            ),
            (
                "disconnect 42 --reason bye",
                "disconnect",
                {"user": "42", "disconnect": {"code": 3503, "reason": "bye"}},
            ),
            (
                "unsubscribe 42 news --session s",
                "unsubscribe",
                {"user": "42", "channel": "news", "session": "s"},
            ),
            (
                "subscribe-user 42 news --expire-at 9 --since 5:e --info {} --data 1",
                "subscribe",
                {
                    **{"user": "42", "channel": "news", "expire_at": 9},
                    **{"recover_since": {"offset": 5, "epoch": "e"}},
                    **{"info": {}, "data": 1},
                },
            ),
            (
                "refresh 42 --expired --expire-at 9",
                "refresh",
                {"user": "42", "expired": True, "expire_at": 9},
            ),
            ("history-remove news", "history_remove", {"channel": "news"}),
        ):
            self.call(*line.split(" "), result={})
            path, _, request = self.sent()
            self.assertEqual((path, request), (f"/api/{method}", wanted), line)

    def test_call(self) -> None:
        """Any method, with its result as JSON."""
        said = self.call(
            "call", "map_stats", '{"channel": "m"}', result={"num_keys": 3}
        )
        self.assertEqual(json.loads(said), {"num_keys": 3})
        self.assertEqual(self.sent()[0], "/api/map_stats")
        self.answers = [http(200, {"replies": []})]
        said = self.command("call", "batch", *ADDRESS)
        self.assertEqual(json.loads(said), {"replies": []})


class OutputTests(CommandCase):
    """How results are written."""

    def test_json(self) -> None:
        """One line of JSON; an error of the server too."""
        result = {"offset": 1, "epoch": "é"}
        said = self.call("publish", "news", "1", "--json", result=result)
        self.assertEqual((json.loads(said), said.count("\n")), (result, 1))
        error = {"code": 102, "message": "unknown channel"}
        self.answers = [http(200, {"error": error})]
        said = self.command("publish", "news", "1", "--json", *ADDRESS, code=1)
        self.assertEqual(json.loads(said), {"error": error})

    def test_color(self) -> None:
        """Colours are for terminals that want them."""
        for environ, colored in (
            ({}, True),
            ({"NO_COLOR": "1"}, False),
            ({"NO_COLOR": ""}, True),
            ({"TERM": "dumb"}, False),
        ):
            self.patch(os, "environ", {"TERM": "xterm", **environ})
            self.answers = [http(200, {"result": {}})]
            said = self.command("publish", "a", "1", *ADDRESS, out=Terminal())
            self.assertEqual("\x1b[" in said, colored, environ)

    def test_control_characters(self) -> None:
        """Nothing that clients chose commands the terminal."""
        evil = "\x1b]0;x\x07\x9b\u202e"
        found = {evil: {"num_clients": 1}}
        info = {"user": evil, "client": evil, "conn_info": {evil: evil}}
        publication = {"offset": 1, "data": evil, "tags": {evil: evil}}
        stream = {"publications": [publication], "epoch": evil, "offset": 1}
        for form in ((), ("--json",)):
            for arguments, result in (
                (("channels",), {"channels": found}),
                (("presence", "a"), {"presence": {evil: info}}),
                (("history", "a"), stream),
                (("publish", "a", "1"), {"offset": 1, "epoch": evil}),
            ):
                said = self.call(*arguments, *form, result=result)
                for line in said.splitlines():
                    self.assertTrue(line.isprintable(), line)
        self.answers = [http(200, {"error": {"code": 1, "message": evil}})]
        self.command("publish", "a", "1", *ADDRESS, code=1)
        self.assertTrue(self.complaints.strip().isprintable())

    def test_foreign_result(self) -> None:
        """A result of another form is one line, not a traceback."""
        self.call("history", "a", result={}, code=5)
        self.assertEqual(self.complaints.count("\n"), 1)
