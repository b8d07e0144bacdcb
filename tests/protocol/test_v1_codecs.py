"""Protocol v1: its bytes, and how a client that speaks it is known."""

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.protocol import v1, wire
from centrifugo_tx.protocol.codes import Disconnect, Error
from centrifugo_tx.protocol.errors import DecodeError, EncodeError
from centrifugo_tx.protocol.messages import (
    ClientInfo,
    Command,
    Connect,
    ConnectRequest,
    ConnectResult,
    HistoryRequest,
    HistoryResult,
    Join,
    Leave,
    Message,
    PingRequest,
    PingResult,
    PresenceResult,
    PresenceStatsResult,
    Publication,
    PublishRequest,
    PublishResult,
    Push,
    Raw,
    Refresh,
    RefreshRequest,
    RefreshResult,
    Reply,
    RPCRequest,
    RPCResult,
    SendRequest,
    StreamPosition,
    SubRefreshRequest,
    SubRefreshResult,
    Subscribe,
    SubscribeRequest,
    SubscribeResult,
    Unsubscribe,
    UnsubscribeRequest,
    UnsubscribeResult,
)
from centrifugo_tx.protocol.payloads import checked
from centrifugo_tx.protocol.proto import client_v1_pb2

from ..support import unframed

_INFO = ClientInfo("u5", "aa01")
_RECOVERED = SubscribeResult(
    recoverable=True,
    epoch="e",
    publications=[
        Publication(data=Raw(b"1"), offset=5),
        Publication(data=Raw(b"2"), offset=6),
    ],
    recovered=True,
    offset=4,
    positioned=True,
)

_NAMES = st.sampled_from(
    [
        *("channel", "token", "recover", "seq", "gen", "offset", "epoch", "data"),
        *("subs", "since", "limit", "reverse", "METHOD", "name"),
    ]
)
#: Values that no field expects where it finds them.
_ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 13)
    | st.sampled_from([2**32 - 1, 2**32, 2**64 - 1, 2**64, 0.5, "connect", "SEND"])
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_NAMES, inner),
    max_leaves=8,
)
_COMMAND = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(0, 3) | _ODD,
        "method": st.integers(-1, 13) | _ODD,
        "params": st.dictionaries(_NAMES, _ODD, max_size=5) | _ODD,
        "connect": _ODD,
    },
)


def encoded(form: wire.Wire, message: Reply | Push) -> bytes:
    """Return the bytes that a client is sent."""
    frame = form.reply(message) if isinstance(message, Reply) else form.push(message)
    (payload,) = unframed(frame)
    return payload


def said(form: wire.Wire, message: Reply | Push) -> Any:
    """Return a message as a JSON client decodes it."""
    return json.loads(encoded(form, message))


class JSONCommandTests(SynchronousTestCase):
    """JSON messages from clients."""

    def decoded(self, line: str, **options: bool) -> Command:
        (command,) = wire.websocket_json_v1(**options).commands(line.encode())
        return command

    def test_methods(self) -> None:
        """Each method has a number; connect is 0, and so is what says none."""
        for line, command in (
            ('{"id":1}', Command(id=1, connect=ConnectRequest())),
            (
                '{"params":{"token":"t","name":"js"},"id":1}',
                Command(id=1, connect=ConnectRequest(token="t", name="js")),
            ),
            (
                '{"method":1,"params":{"channel":"c","token":"t"},"id":2}',
                Command(id=2, subscribe=SubscribeRequest(channel="c", token="t")),
            ),
            (
                '{"method":2,"params":{"channel":"c"},"id":2}',
                Command(id=2, unsubscribe=UnsubscribeRequest("c")),
            ),
            ('{"method":7,"id":2}', Command(id=2, ping=PingRequest())),
            (
                '{"method":10,"params":{"token":"t"},"id":2}',
                Command(id=2, refresh=RefreshRequest("t")),
            ),
            (
                '{"method":11,"params":{"channel":"c","token":"t"},"id":2}',
                Command(id=2, sub_refresh=SubRefreshRequest("c", "t")),
            ),
            (
                '{"method":"Refresh","params":{"token":"t"},"id":2}',
                Command(id=2, refresh=RefreshRequest("t")),
            ),
        ):
            self.assertEqual(self.decoded(line), command)

    def test_payloads(self) -> None:
        """Data passes as it is."""
        command = self.decoded('{"method":3,"params":{"channel":"c","data":[ 1 ]}}')
        assert isinstance(command.publish, PublishRequest)
        self.assertEqual(bytes(command.publish.data), b"[ 1 ]")
        command = self.decoded('{"method":9,"params":{"data":null,"method":"m"}}')
        assert isinstance(command.rpc, RPCRequest)
        self.assertEqual(command.rpc.method, "m")
        command = self.decoded('{"method":8,"params":{"data":{"a":1}}}')
        assert isinstance(command.send, SendRequest)
        self.assertEqual(bytes(command.send.data), b'{"a":1}')

    def test_positions(self) -> None:
        """Seq and gen are a position; without them it is the offset."""
        for params, offset in (
            ('{"channel":"c","recover":true,"seq":3,"gen":1}', 2**32 + 3),
            ('{"channel":"c","recover":true,"gen":1,"offset":9}', 2**32),
            ('{"channel":"c","recover":true,"offset":9}', 9),
        ):
            command = self.decoded(f'{{"method":1,"id":1,"params":{params}}}')
            assert command.subscribe is not None
            self.assertEqual(command.subscribe.offset, offset)
        command = self.decoded('{"id":1,"params":{"subs":{"c":{"seq":5},"d":null}}}')
        assert command.connect is not None
        known = command.connect.subs["c"]
        assert known is not None
        self.assertEqual((known.offset, command.connect.subs["d"]), (5, None))

    def test_history(self) -> None:
        """A request without a limit may return everything, if the option allows it."""
        line = '{"method":6,"id":1,"params":{"channel":"c"}}'
        self.assertEqual(self.decoded(line).history, HistoryRequest("c"))
        whole = self.decoded(line, whole_history=True)
        self.assertEqual(whole.history, HistoryRequest("c", -1))
        line = '{"method":6,"id":1,"params":{"channel":"c","since":{"offset":2}}}'
        since = HistoryRequest("c", 0, StreamPosition(2))
        self.assertEqual(self.decoded(line, whole_history=True).history, since)

    def test_unknown_method(self) -> None:
        """A method that there is not leaves a command without a request."""
        for method in ("12", "99", '"nothing"'):
            line = f'{{"method":{method},"id":4,"params":{{}}}}'
            self.assertEqual(self.decoded(line), Command(id=4))

    def test_malformed(self) -> None:
        """The error has the commands before the malformed one."""
        good = b'{"method":7,"id":1}'
        for bad, before in (
            (b"", 0),
            (b"[]", 0),
            (b"{", 0),
            (good + b'\n{"method":1,"params":[],"id":2}', 1),
            (good + b'\n{"method":1,"params":{"channel":1},"id":2}', 1),
            (good + b"\n\n" + good, 1),
            (b'{"id":-1}', 0),
            (b'{"method":1,"id":1,"params":{"offset":18446744073709551616}}', 0),
        ):
            error = self.assertRaises(DecodeError, v1.json_codec.decode_commands, bad)
            self.assertEqual(len(error.commands), before, bad)

    @given(st.lists(_COMMAND, min_size=1, max_size=2))
    def test_almost_right(self, commands: list[Any]) -> None:
        """Numbers are within their fields, however odd a command is."""
        data = "\n".join(map(json.dumps, commands)).encode()
        self.assertIn(v1.detect_version(data, "json"), (1, 2))
        with contextlib.suppress(DecodeError):
            for command in v1.json_codec.decode_commands(data):
                self.assertLess(command.id, 2**32)
                if command.subscribe is not None:
                    self.assertLess(command.subscribe.offset, 2**64)

    @given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
    def test_anything(self, data: bytes) -> None:
        """Whatever comes is commands, or malformed, in either encoding."""
        for decode in (
            v1.json_codec.decode_commands,
            v1.protobuf_codec.decode_commands,
        ):
            with contextlib.suppress(DecodeError):
                decode(data)
        for protocol in ("json", "protobuf"):
            self.assertIn(v1.detect_version(data, protocol), (1, 2))


class JSONReplyTests(SynchronousTestCase):
    """JSON messages to clients."""

    def setUp(self) -> None:
        self.wire = wire.websocket_json_v1()
        self.old = wire.websocket_json_v1(seqgen=True)

    def test_results(self) -> None:
        """A result is an object, also an empty one, of the fields that v1 knows."""
        for reply, result in (
            (
                Reply(
                    id=1,
                    connect=ConnectResult(
                        client="c",
                        version="1",
                        expires=True,
                        ttl=5,
                        ping=25,
                        pong=True,
                        session="s",
                        node="n",
                        time=1,
                    ),
                ),
                {"client": "c", "version": "1", "expires": True, "ttl": 5},
            ),
            (Reply(id=1, subscribe=SubscribeResult(was_recovering=True)), {}),
            (Reply(id=1, unsubscribe=UnsubscribeResult()), {}),
            (Reply(id=1, publish=PublishResult()), {}),
            (
                Reply(id=1, presence=PresenceResult({"aa01": _INFO})),
                {"presence": {"aa01": {"user": "u5", "client": "aa01"}}},
            ),
            (
                Reply(id=1, presence_stats=PresenceStatsResult(2, 1)),
                {"num_clients": 2, "num_users": 1},
            ),
            (Reply(id=1, rpc=RPCResult(Raw(b"[1]"))), {"data": [1]}),
            (Reply(id=1, refresh=RefreshResult(client="c")), {"client": "c"}),
            (
                Reply(id=1, sub_refresh=SubRefreshResult(True, 5)),
                {"expires": True, "ttl": 5},
            ),
        ):
            self.assertEqual(said(self.wire, reply), {"id": 1, "result": result})

    def test_bytes(self) -> None:
        """Members come in the documented order, absent ones not at all."""
        lap = Publication(data=Raw(b'{"lap":9}'), offset=9, info=_INFO, tags={"a": "b"})
        for message, line in (
            (
                Reply(id=2, subscribe=_RECOVERED),
                b'{"id":2,"result":{"recoverable":true,"epoch":"e","publications":'
                b'[{"data":1,"offset":5},{"data":2,"offset":6}],"recovered":true,'
                b'"offset":6,"positioned":true}}',
            ),
            (
                Reply(id=7, history=HistoryResult([], "", 0)),
                b'{"id":7,"result":{"publications":[],"epoch":"","offset":0}}',
            ),
            (
                Reply(id=6, presence=PresenceResult({})),
                b'{"id":6,"result":{"presence":{}}}',
            ),
            (
                Push(channel="pit:3", pub=lap),
                b'{"result":{"channel":"pit:3","data":{"data":{"lap":9},"info":'
                b'{"user":"u5","client":"aa01"},"offset":9}}}',
            ),
            (
                Push(channel="pit:3", leave=Leave(_INFO)),
                b'{"result":{"type":2,"channel":"pit:3","data":{"info":'
                b'{"user":"u5","client":"aa01"}}}}',
            ),
            (
                Push(message=Message(Raw(b'{"a":\n1}'))),
                b'{"result":{"type":4,"data":{"data":{"a":1}}}}',
            ),
        ):
            self.assertEqual(encoded(self.wire, message), line)
        self.assertEqual(
            encoded(self.old, Reply(id=2, subscribe=_RECOVERED)),
            b'{"id":2,"result":{"recoverable":true,"seq":6,"epoch":"e",'
            b'"publications":[{"seq":6,"data":2},{"seq":5,"data":1}],'
            b'"recovered":true,"positioned":true}}',
        )

    def test_ping(self) -> None:
        """The reply to a ping has only its id."""
        self.assertEqual(said(self.wire, Reply(id=3, ping=PingResult())), {"id": 3})

    def test_error(self) -> None:
        """An error has no word on whether to try again."""
        reply = Reply(id=3, error=Error(100, "internal server error", True))
        error = {"code": 100, "message": "internal server error"}
        self.assertEqual(said(self.wire, reply), {"id": 3, "error": error})

    def test_recovered(self) -> None:
        """The position of a recovered result is the top of the stream."""
        found = said(self.wire, Reply(id=2, subscribe=_RECOVERED))["result"]
        self.assertEqual(found["offset"], 6)
        self.assertEqual([p["offset"] for p in found["publications"]], [5, 6])
        none = SubscribeResult(recovered=True, offset=4, positioned=True)
        found = said(self.wire, Reply(id=2, subscribe=none))["result"]
        self.assertEqual(found, {"recovered": True, "offset": 4, "positioned": True})

    def test_recovered_in_the_old_era(self) -> None:
        """There publications come newest first, with seq and gen and no offset."""
        found = said(self.old, Reply(id=2, subscribe=_RECOVERED))["result"]
        self.assertEqual((found["seq"], found.get("offset")), (6, None))
        told = [{"seq": 6, "data": 2}, {"seq": 5, "data": 1}]
        self.assertEqual(found["publications"], told)
        connect = ConnectResult(client="c", subs={"x": _RECOVERED})
        found = said(self.old, Reply(id=1, connect=connect))["result"]["subs"]["x"]
        self.assertEqual(found["publications"], told)

    def test_history_in_the_old_era(self) -> None:
        """History has both forms of a place, oldest first."""
        result = HistoryResult([Publication(offset=2**32 + 7)], "e", 2**32 + 7)
        found = said(self.old, Reply(id=1, history=result))["result"]
        told = {"seq": 7, "gen": 1, "offset": 2**32 + 7}
        self.assertEqual(found["publications"], [told])
        self.assertEqual(found["offset"], 2**32 + 7)

    def test_pushes(self) -> None:
        """A push is a reply without id; its data is an object in any case."""
        for push, result in (
            (
                Push(channel="c", pub=Publication(data=Raw(b'{"lap":9}'), offset=9)),
                {"channel": "c", "data": {"data": {"lap": 9}, "offset": 9}},
            ),
            (
                Push(channel="c", join=Join(_INFO)),
                {
                    "type": 1,
                    "channel": "c",
                    "data": {"info": {"user": "u5", "client": "aa01"}},
                },
            ),
            (
                Push(channel="c", unsubscribe=Unsubscribe(2000, "server unsubscribe")),
                {"type": 3, "channel": "c", "data": {}},
            ),
            (
                Push(message=Message(Raw(b"1"))),
                {"type": 4, "data": {"data": 1}},
            ),
            (
                Push(channel="c", subscribe=Subscribe(True, "e", 5, True)),
                {
                    "type": 5,
                    "channel": "c",
                    "data": {
                        "recoverable": True,
                        "epoch": "e",
                        "offset": 5,
                        "positioned": True,
                    },
                },
            ),
            (Push(refresh=Refresh()), {"type": 8, "data": {}}),
        ):
            self.assertEqual(said(self.wire, push), {"result": result})
        push = Push(channel="c", pub=Publication(data=Raw(b"1"), offset=2**33 + 2))
        told = {"channel": "c", "data": {"seq": 2, "gen": 2, "data": 1}}
        self.assertEqual(said(self.old, push), {"result": told})

    def test_unspeakable(self) -> None:
        """Messages without a form in v1, or with data that is not JSON, are refused."""
        self.assertRaises(EncodeError, self.wire.push, Push(connect=Connect()))
        binary = Push(channel="c", pub=Publication(data=checked(b"\xff")))
        self.assertRaises(EncodeError, self.wire.push, binary)


class ProtobufTests(SynchronousTestCase):
    """The same in Protobuf."""

    def setUp(self) -> None:
        self.wire = wire.websocket_protobuf_v1()

    def said(self, message: Reply | Push) -> Any:
        """Return a message as a client decodes it."""
        payload = encoded(self.wire, message)
        self.assertEqual(payload[0], len(payload) - 1)
        return client_v1_pb2.Reply.FromString(payload[1:])

    def test_connect(self) -> None:
        """As centrifuge-js sends it, with the method though it is 0."""
        found = self.wire.commands(bytes.fromhex("0b080110001a050a03746f6b"))
        self.assertEqual(found, [Command(id=1, connect=ConnectRequest(token="tok"))])

    def test_commands(self) -> None:
        """The params are a message of their own."""
        request = client_v1_pb2.SubscribeRequest(
            channel="c", recover=True, seq=3, gen=1
        )
        sent = client_v1_pb2.Command(id=2, params=request.SerializeToString())
        sent.method = client_v1_pb2.SUBSCRIBE
        unknown = client_v1_pb2.Command(id=3)
        unknown.method = 77  # type: ignore[assignment]  # of another version
        data = b""
        for each in (sent, unknown):
            message = each.SerializeToString()
            data += bytes([len(message)]) + message
        subscribe = SubscribeRequest(channel="c", recover=True, offset=2**32 + 3)
        expected = [Command(id=2, subscribe=subscribe), Command(id=3)]
        self.assertEqual(self.wire.commands(data), expected)
        self.assertRaises(DecodeError, self.wire.commands, data + b"\x05\x08")
        self.assertRaises(DecodeError, self.wire.commands, b"")

    def test_result(self) -> None:
        """A result is a message of its own."""
        reply = self.said(Reply(id=2, subscribe=_RECOVERED))
        found = client_v1_pb2.SubscribeResult.FromString(reply.result)
        self.assertEqual((reply.id, found.offset), (2, 6))
        self.assertEqual([p.data for p in found.publications], [b"1", b"2"])
        error = self.said(Reply(id=2, error=Error(103, "permission denied"))).error
        self.assertEqual((error.code, error.message), (103, "permission denied"))

    def test_old_era(self) -> None:
        """There publications come newest first, with seq and gen and no offset."""
        self.wire = wire.websocket_protobuf_v1(seqgen=True)
        reply = self.said(Reply(id=2, subscribe=_RECOVERED))
        found = client_v1_pb2.SubscribeResult.FromString(reply.result)
        self.assertEqual((found.seq, found.gen, found.offset), (6, 0, 0))
        places = [(p.seq, p.gen, p.offset) for p in found.publications]
        self.assertEqual(places, [(6, 0, 0), (5, 0, 0)])
        reply = self.said(Push(channel="c", subscribe=Subscribe(offset=2**32 + 7)))
        push = client_v1_pb2.Push.FromString(reply.result)
        told = client_v1_pb2.Subscribe.FromString(push.data)
        self.assertEqual((push.type, told.seq, told.gen), (5, 7, 1))
        self.assertEqual(told.offset, 0)

    def test_bytes(self) -> None:
        """The reply to a ping is its id; an empty message has no bytes."""
        for message, expected in (
            (Reply(id=3, ping=PingResult()), "020803"),
            (Push(channel="c", unsubscribe=Unsubscribe(2000, "x")), "071a050803120163"),
            (
                Push(channel="c", pub=Publication(data=Raw(b"1"), offset=2)),
                "0c1a0a1201631a052201313002",
            ),
        ):
            self.assertEqual(encoded(self.wire, message).hex(), expected)

    def test_push(self) -> None:
        """A push is a message in a reply without id."""
        publication = Publication(data=Raw(b"\xff"), offset=9, info=_INFO)
        reply = self.said(Push(channel="c", pub=publication))
        push = client_v1_pb2.Push.FromString(reply.result)
        self.assertEqual((reply.id, push.type, push.channel), (0, 0, "c"))
        found = client_v1_pb2.Publication.FromString(push.data)
        self.assertEqual((found.data, found.offset), (b"\xff", 9))
        self.assertEqual(found.info.user, "u5")


class ChoiceTests(SynchronousTestCase):
    """The first command of a client tells its version."""

    def test_json(self) -> None:
        """A method or parameters mean v1; everything else is v2."""
        for line, version in (
            ('{"connect":{},"id":1}', 2),
            ('{"connect":{"token":"t"},"id":1}\n{"id":2}', 2),
            ('{"id":1}', 2),
            ('{"id":1,"other":{}}', 2),
            ('{"ID":1,"Params":{}}', 1),
            ('{"params":{"token":"t"},"id":1}', 1),
            ('{"method":0,"params":{},"id":1}\n{}', 1),
            ('{"method":"connect","id":1}', 1),
            ('{"connect":null,"id":1}', 2),
            ('{"Connect":{},"id":1}', 2),
            ('{"method":1,"params":{},"id":1}', 2),
            ('{"params":[],"id":1}', 2),
            ('{"params":{}}', 2),
            ('{"subscribe":{},"id":1}', 2),
            ('{"id":1,"connect":{},"method":0,"params":{}}', 2),
            ('{"id":1,"connect":broken', 2),
            ('{"connect":{}}\n{"method":0,"params":{},"id":1}', 2),
            ('{"id":1,"method":0,"params":{"connect":{}}}', 1),
            ("{}", 2),
            ("[]", 2),
            ('{"uid":"1","method":"connect","params":{}}', 2),
            ("nothing", 2),
            ("", 2),
        ):
            self.assertEqual(v1.detect_version(line.encode(), "json"), version, line)

    def test_protobuf(self) -> None:
        """A connect field is v2; a method that is 0, or parameters, are v1."""
        for data, version in (
            ("080801220422026a73", 2),
            ("0b080110001a050a03746f6b", 1),
            ("020801", 2),
            ("0408011000", 1),
            ("0408011a00", 1),
            ("0408012800", 2),
            ("0408011001", 2),
            ("021000", 2),
            ("00", 2),
            ("ff", 2),
            ("", 2),
        ):
            found = v1.detect_version(bytes.fromhex(data), "protobuf")
            self.assertEqual(found, version, data)


class ReasonTests(SynchronousTestCase):
    """Reasons of closes, which v1 reads as JSON."""

    def test_reconnect(self) -> None:
        """It says whether to reconnect, by the range of the code."""
        told = json.loads(Disconnect(3001, "shutdown").in_v1(123))
        self.assertEqual(told, {"reason": "shutdown", "reconnect": True})
        told = json.loads(Disconnect(3503, "force disconnect").in_v1(123))
        self.assertEqual(told, {"reason": "force disconnect", "reconnect": False})

    @given(st.text(max_size=300))
    def test_length(self, reason: str) -> None:
        """It fits into a close frame for any reason, and stays JSON."""
        told = Disconnect(4500, reason).in_v1(123)
        self.assertLessEqual(len(told.encode()), 123)
        self.assertTrue(reason.startswith(json.loads(told)["reason"]))
