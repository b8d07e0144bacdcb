"""Protocol v2 in JSON."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.protocol.codes import INTERNAL, PERMISSION_DENIED, Unsubscribe
from centrifugo_tx.protocol.errors import DecodeError, EncodeError
from centrifugo_tx.protocol.json_codec import (
    decode_commands,
    decode_connect,
    encode_bare_push,
    encode_push,
    encode_reply,
)
from centrifugo_tx.protocol.messages import (
    ClientInfo,
    Connect,
    ConnectResult,
    HistoryResult,
    Join,
    Leave,
    Message,
    PresenceResult,
    PresenceStatsResult,
    Publication,
    PublishResult,
    Push,
    Raw,
    Reply,
    RPCResult,
    Subscribe,
    SubscribeResult,
)
from centrifugo_tx.protocol.payloads import checked

from .vectors import load, plain

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


class DecodeTests(SynchronousTestCase):
    """Messages of clients."""

    def test_commands(self) -> None:
        """Well-formed commands are decoded as the vectors state."""
        for vector in load("commands"):
            [command] = decode_commands(vector["json"].encode())
            self.assertEqual(plain(command), vector["message"], vector["meaning"])

    def test_oddities(self) -> None:
        """Input that the reference accepts is accepted with the same meaning."""
        for vector in load("oddities"):
            [command] = decode_commands(vector["json"].encode())
            self.assertEqual(plain(command), vector["message"], vector["meaning"])

    def test_batch(self) -> None:
        """Commands on lines come in order; one newline may follow the last."""
        lines = [vector["json"] for vector in load("commands")]
        for separator, end in (("\n", ""), ("\n", "\n"), ("\r\n", "\r\n")):
            commands = decode_commands((separator.join(lines) + end).encode())
            self.assertEqual(
                [plain(command) for command in commands],
                [vector["message"] for vector in load("commands")],
            )

    def test_malformed(self) -> None:
        """Malformed input is refused, with the good commands before it."""
        for vector in load("malformed"):
            with self.assertRaises(DecodeError, msg=vector["meaning"]) as caught:
                decode_commands(bytes.fromhex(vector["hex"]))
            self.assertEqual(
                len(caught.exception.commands), vector["before"], vector["meaning"]
            )

    def test_payload_as_it_came(self) -> None:
        """A payload keeps its bytes: white space, order, the form of numbers."""
        payload = b'{"b":  1.50, "a":1e3,"a":"\\u0041" }'
        message = b'{"id":1,"publish":{"channel":"c","data":%b}}' % payload
        [command] = decode_commands(message)
        assert command.publish is not None
        self.assertEqual(bytes(command.publish.data), payload)

    def test_nesting(self) -> None:
        """A payload may nest as deep as the limit; brackets in texts do not count."""
        deep = b'{"id":1,"rpc":{"data":' + b"[" * 254 + b"]" * 254 + b"}}"
        [command] = decode_commands(deep)
        self.assertIsNotNone(command.rpc)
        flat = b'{"id":1,"rpc":{"data":"' + b'[{\\"' * 300 + b'"}}'
        [command] = decode_commands(flat)
        self.assertIsNotNone(command.rpc)

    @given(ANY_JSON)
    def test_any_payload(self, payload: Any) -> None:
        """Any JSON value passes through a command into a push, unchanged."""
        text = json.dumps(payload)
        message = f'{{"id":1,"publish":{{"channel":"c","data":{text}}}}}'
        [command] = decode_commands(message.encode())
        assert command.publish is not None
        push = Push(channel="c", pub=Publication(data=command.publish.data))
        sent = json.loads(encode_push(push))
        self.assertEqual(sent["push"]["pub"]["data"], payload)

    @given(st.binary())
    def test_any_bytes(self, data: bytes) -> None:
        """Arbitrary bytes are commands or a DecodeError, nothing else."""
        try:
            commands = decode_commands(data)
        except DecodeError as error:
            self.assertIsInstance(error.commands, tuple)
        else:
            self.assertGreater(len(commands), 0)


class ConnectRequestTests(SynchronousTestCase):
    """Connect requests of unidirectional clients."""

    def test_request(self) -> None:
        """A request is decoded, names in any case."""
        request = decode_connect(b'{"Token":"t","subs":{"a":{"offset":3}},"x":1}')
        self.assertEqual(request.token, "t")
        [(name, position)] = request.subs.items()
        assert position is not None
        self.assertEqual((name, position.offset), ("a", 3))

    def test_null(self) -> None:
        """Null is an empty request."""
        self.assertEqual(plain(decode_connect(b" null\n")), {})

    def test_wrong(self) -> None:
        """Nothing, another type and too large an offset are refused."""
        large = b'{"subs":{"a":{"offset":18446744073709551616}}}'
        for data in (b"", b"[]", b'{"token":1}', b"nope", b'{"data":"\xff"}', large):
            with self.assertRaises(DecodeError, msg=repr(data)):
                decode_connect(data)


class EncodeTests(SynchronousTestCase):
    """Messages of the server."""

    def test_replies(self) -> None:
        """Fields have the order of the tables; empty results are present."""
        publication = Publication(data=Raw(b'{"n":41}'), offset=41)
        for reply, expected in (
            (Reply(), "{}"),
            (Reply(id=3, publish=PublishResult()), '{"id":3,"publish":{}}'),
            (Reply(id=2, subscribe=SubscribeResult()), '{"id":2,"subscribe":{}}'),
            (
                Reply(id=2, error=INTERNAL),
                '{"id":2,"error":{"code":100,"message":"internal server error",'
                '"temporary":true}}',
            ),
            (
                Reply(id=4, error=PERMISSION_DENIED),
                '{"id":4,"error":{"code":103,"message":"permission denied"}}',
            ),
            (
                Reply(id=4, presence=PresenceResult({"a": ClientInfo("", "a")})),
                '{"id":4,"presence":{"presence":{"a":{"user":"","client":"a"}}}}',
            ),
            (
                Reply(id=4, presence=PresenceResult({})),
                '{"id":4,"presence":{"presence":{}}}',
            ),
            (
                Reply(id=5, presence_stats=PresenceStatsResult(0, 0)),
                '{"id":5,"presence_stats":{"num_clients":0,"num_users":0}}',
            ),
            (
                Reply(id=6, history=HistoryResult([], "", 0)),
                '{"id":6,"history":{"publications":[],"epoch":"","offset":0}}',
            ),
            (
                Reply(id=7, rpc=RPCResult(Raw(b'{"ts": 1}'))),
                '{"id":7,"rpc":{"data":{"ts": 1}}}',
            ),
            (
                Reply(
                    id=2,
                    subscribe=SubscribeResult(
                        recoverable=True,
                        epoch="XyZa",
                        publications=[publication],
                        recovered=True,
                        offset=2**64 - 1,
                        positioned=True,
                        was_recovering=True,
                    ),
                ),
                '{"id":2,"subscribe":{"recoverable":true,"epoch":"XyZa",'
                '"publications":[{"data":{"n":41},"offset":41}],"recovered":true,'
                '"offset":18446744073709551615,"positioned":true,'
                '"was_recovering":true}}',
            ),
            (
                Reply(id=1, connect=ConnectResult(client="9f", ping=25, pong=True)),
                '{"id":1,"connect":{"client":"9f","ping":25,"pong":true}}',
            ),
        ):
            self.assertEqual(encode_reply(reply).decode(), expected)

    def test_pushes(self) -> None:
        """A push is wrapped for bidirectional clients and bare for others."""
        info = ClientInfo("u", "c", conn_info=Raw(b"1"), chan_info=Raw(b"[]"))
        infos = '{"user":"u","client":"c","conn_info":1,"chan_info":[]}'
        for push, bare in (
            (
                Push(channel="c", pub=Publication(data=Raw(b"1"), info=info)),
                f'{{"channel":"c","pub":{{"data":1,"info":{infos}}}}}',
            ),
            (
                Push(channel="c", join=Join(info)),
                f'{{"channel":"c","join":{{"info":{infos}}}}}',
            ),
            (
                Push(channel="c", leave=Leave(info)),
                f'{{"channel":"c","leave":{{"info":{infos}}}}}',
            ),
            (
                Push(channel="c", unsubscribe=Unsubscribe(2500, "insufficient state")),
                '{"channel":"c","unsubscribe":{"code":2500,'
                '"reason":"insufficient state"}}',
            ),
            (Push(message=Message(Raw(b"1"))), '{"message":{"data":1}}'),
            (
                Push(channel="c", subscribe=Subscribe()),
                '{"channel":"c","subscribe":{}}',
            ),
            (Push(connect=Connect(client="x")), '{"connect":{"client":"x"}}'),
        ):
            self.assertEqual(encode_bare_push(push).decode(), bare)
            self.assertEqual(encode_push(push).decode(), f'{{"push":{bare}}}')

    def test_newlines(self) -> None:
        """Newlines are taken out of payloads; they can only be white space."""
        push = Push(message=Message(Raw(b'{\n"a":\n"\\n"}')))
        self.assertEqual(encode_bare_push(push), b'{"message":{"data":{"a":"\\n"}}}')

    def test_no_json(self) -> None:
        """A payload that is not JSON is refused in every field."""
        for payload in (b"\x00", b'{"a":1},"b":2', b'"\xff"', b"[" * 5000):
            bad = checked(payload)
            publication = Publication(data=bad)
            info = ClientInfo("u", "c", chan_info=bad)
            for push in (
                Push(pub=publication),
                Push(pub=Publication(info=info)),
                Push(join=Join(info)),
                Push(leave=Leave(info)),
                Push(message=Message(bad)),
                Push(subscribe=Subscribe(data=bad)),
                Push(connect=Connect(data=bad)),
                Push(connect=Connect(subs={"c": SubscribeResult(data=bad)})),
            ):
                self.assertRaises(EncodeError, encode_reply, Reply(push=push))
                self.assertRaises(EncodeError, encode_push, push)
                self.assertRaises(EncodeError, encode_bare_push, push)
            for answer in (
                Reply(connect=ConnectResult(data=bad)),
                Reply(subscribe=SubscribeResult(publications=[publication])),
                Reply(subscribe=SubscribeResult(state=[publication])),
                Reply(presence=PresenceResult({"a": info})),
                Reply(history=HistoryResult([publication], "", 0)),
                Reply(rpc=RPCResult(bad)),
            ):
                self.assertRaises(EncodeError, encode_reply, answer)

    def test_half_an_emoji(self) -> None:
        """An escaped half of a surrogate pair is JSON, and goes out as it is."""
        push = Push(message=Message(Raw(b'"\\ud83d"')))
        self.assertEqual(encode_bare_push(push), b'{"message":{"data":"\\ud83d"}}')


class BatchTests(SynchronousTestCase):
    """Several commands in one message."""

    @settings(deadline=None, max_examples=300)
    @given(
        st.lists(
            st.sampled_from(
                [
                    *("{}", '{"id":1,"ping":{}}', '{"id":2,"rpc":{"data":{}}}'),
                    *('{"id":3,"publish":{"channel":"c","data":', "}}", "{", "}"),
                    *('{"id":4,"history":{"since":{"offset":1e30}}}', '"a}', "x"),
                    *('{"id":5,"history":{"since":{"offs\\u0065t":1e30}}}', " "),
                    *('{"ID":6,"rpc":{}}', '{"id":7,"send":{"data":"\u00e9"}}'),
                    *("\n", "\n", "\n", "\n"),
                ]
            ),
            max_size=9,
        )
    )
    def test_line_by_line(self, parts: list[str]) -> None:
        """A message is decoded as its lines are, one by one."""
        data = "".join(parts).encode()
        lines = data.split(b"\n")
        if len(lines) > 1 and not lines[-1]:
            del lines[-1]
        expected: list[Any] = []
        for line in lines:
            try:
                expected += decode_commands(line)
            except DecodeError:
                with self.assertRaises(DecodeError) as caught:
                    decode_commands(data)
                self.assertEqual(self.plain(caught.exception.commands), expected)
                return
            expected = self.plain(expected)
        self.assertEqual(self.plain(decode_commands(data)), expected)

    def plain(self, commands: Any) -> list[Any]:
        """Return commands as text; payloads cannot be compared."""
        return [
            each if isinstance(each, str) else json.dumps(plain(each))
            for each in commands
        ]
