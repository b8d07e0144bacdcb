"""Commands that come beside the stream of their client."""

import json
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from centrifugo_tx.core import Node, SurveyFailed, UnknownNode
from centrifugo_tx.engines import memory_engine
from centrifugo_tx.interfaces import IEmulatedTransport
from centrifugo_tx.options import NodeOptions, TransportInfo
from centrifugo_tx.protocol.messages import EMPTY, EmulationRequest, Raw
from centrifugo_tx.protocol.protobuf_codec import decode_commands, encode_emulation
from centrifugo_tx.protocol.wire import http_stream_protobuf, websocket_json

from ...support import MemoryTransport, Peer, Permissive
from .test_peers import Bus, BusController

RPC = b'{"id":9,"rpc":{}}'
#: The same in Protobuf, after its length.
BINARY_RPC = b"\x04\x08\x09\x6a\x00"


@implementer(IEmulatedTransport)
@define(eq=False)
class EmulatedTransport(MemoryTransport):
    """Keeps the written responses, and the requests that wait."""

    busy: "Deferred[None] | None" = None

    def pause(self) -> None:
        self.busy = self.busy or Deferred()

    def resume(self) -> None:
        busy, self.busy = self.busy, None
        if busy is not None:
            busy.callback(None)


class EmulationTests(SynchronousTestCase):
    """Two nodes, and a client of the first."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000_000)
        self.bus = Bus()
        self.policy = Permissive()
        self.first, self.second = self.node(), self.node()
        self.peer = self.connected(self.first)

    def node(self) -> Node:
        engine = evolve(memory_engine(self.clock), controller=BusController(self.bus))
        node = Node(engine, self.policy, self.clock, NodeOptions(concurrency=2))
        node.start()
        return node

    def connected(self, node: Node, **info: Any) -> Peer:
        given = {"name": "sse", "emulated": True, **info}
        transport = EmulatedTransport(info=TransportInfo(**given))
        verifyObject(IEmulatedTransport, transport)
        peer = Peer(node.connect(transport), transport)
        peer.ask(connect={})
        return peer

    def send(
        self, by: Node, data: Raw, peer: Peer | None = None, **changes: Any
    ) -> "Deferred[None]":
        """Let commands for a client come to a node."""
        session = (peer or self.peer).client.session
        given = {"node": self.first.id, "session": session, "data": data, **changes}
        return by.forward(EmulationRequest(**given))

    def quoted(self, commands: bytes = RPC) -> Raw:
        return Raw(json.dumps(commands.decode()).encode())

    def test_delivered(self) -> None:
        """Commands reach their client from any node."""
        for node in (self.first, self.second):
            done = self.send(node, self.quoted(RPC + b"\n" + RPC))
            self.successResultOf(done)
            replies = self.peer.take()
            self.assertEqual([reply["id"] for reply in replies], [9, 9])

    def test_unknown_session(self) -> None:
        """An unknown session is not an error."""
        for node in (self.first, self.second):
            self.successResultOf(self.send(node, self.quoted(), session="x"))
            self.successResultOf(self.send(node, self.quoted(), session=""))
        self.assertEqual(self.peer.take(), [])

    def test_unknown_node(self) -> None:
        """A node that is not there is one."""
        for name in ("x", ""):
            done = self.send(self.second, self.quoted(), node=name)
            self.failureResultOf(done, UnknownNode)

    def test_no_string(self) -> None:
        """Data that is not a JSON string is dropped, and the client stays connected."""
        for data in (Raw(b"{}"), Raw(b"17"), Raw(b"{"), EMPTY):
            self.successResultOf(self.send(self.second, data))
        self.assertEqual((self.peer.take(), self.peer.closed), ([], 0))

    def test_half_a_surrogate(self) -> None:
        """A cut emoji in the string is replace_lone_surrogates, as everywhere."""
        data = Raw(json.dumps(RPC.decode()).encode()[:-1] + b'\\ud83d"')
        self.successResultOf(self.send(self.first, data))
        self.assertEqual([reply["id"] for reply in self.peer.take()], [9])

    def test_malformed(self) -> None:
        """Data that is not a command closes the client with 3501."""
        self.successResultOf(self.send(self.second, self.quoted(b"nonsense")))
        self.assertEqual(self.peer.closed, 3501)

    def test_other_transports(self) -> None:
        """A client that can speak for itself is not spoken for."""
        transport = MemoryTransport(
            wire=websocket_json(), info=TransportInfo(unidirectional=True)
        )
        other = Peer(self.first.connect(transport), transport)
        other.ask(connect={})
        self.assertTrue(other.client.session)
        self.successResultOf(self.send(self.second, self.quoted(), other))
        self.assertEqual(other.take(), [])

    def test_protobuf(self) -> None:
        """Commands of a Protobuf client are not quoted."""
        transport = EmulatedTransport(
            wire=http_stream_protobuf(),
            info=TransportInfo("http_stream", "protobuf", emulated=True),
        )
        other = Peer(self.first.connect(transport), transport)
        other.client.receive(b"\x04\x08\x01\x22\x00")
        transport.frames.clear()
        self.assertEqual([each.id for each in decode_commands(BINARY_RPC)], [9])
        self.successResultOf(self.send(self.second, Raw(BINARY_RPC), other))
        self.assertEqual([frame[1:3] for frame in transport.frames], [b"\x08\x09"])

    def test_on_the_bus(self) -> None:
        """Nodes pass requests on as a survey, as the reference does."""
        session, data = self.peer.client.session, self.quoted()
        request = EmulationRequest(self.first.id, session, data)
        answers = self.second.survey(
            "centrifuge_emulation", encode_emulation(request), self.first.id
        )
        self.assertEqual(self.successResultOf(answers), {self.first.id: (0, b"")})
        for name, body, code in (("x", b'""', 2), (session, b"{}", 1)):
            request = EmulationRequest(self.first.id, name, Raw(body))
            answers = self.second.survey(
                "centrifuge_emulation", encode_emulation(request), self.first.id
            )
            self.assertEqual(
                self.successResultOf(answers), {self.first.id: (code, b"")}
            )
        answers = self.second.survey("centrifuge_emulation", b"\xff", self.first.id)
        self.assertEqual(self.successResultOf(answers), {self.first.id: (1, b"")})

    def test_counted(self) -> None:
        """Each request counts as a separate survey, whichever node has the session."""
        for node in (self.first, self.second):
            self.send(node, self.quoted())
            ((labels, histogram),) = (
                (dict(labels), histogram)
                for name, labels, histogram in node.metrics.histograms()
                if name == "node_survey_duration_seconds_histogram"
            )
            self.assertEqual(labels, {"op": "centrifuge_emulation"})
            self.assertEqual(sum(histogram.counts), 1)

    def test_silent_node(self) -> None:
        """A node that does not answer within 10 s is given up."""
        del self.bus.nodes[self.first.id]
        done = self.send(self.second, self.quoted())
        self.clock.pump([1] * 9)
        self.assertNoResult(done)
        self.clock.advance(1)
        self.failureResultOf(done, SurveyFailed)

    def test_busy(self) -> None:
        """While too many commands wait, requests wait, and keep their order."""
        slow: Deferred[Raw] = Deferred()
        other: Deferred[Raw] = Deferred()
        self.policy.answer = slow
        self.send(self.first, self.quoted())
        self.policy.answer = other
        self.send(self.first, self.quoted())
        self.policy.answer = Raw(b"1")
        many = b"\n".join(b'{"id":%d,"rpc":{}}' % i for i in range(100, 165))
        self.successResultOf(self.send(self.first, self.quoted(many)))
        late = [
            self.send(node, self.quoted(b'{"id":%d,"rpc":{}}' % id))
            for node, id in ((self.first, 201), (self.second, 202))
        ]
        for done in late:
            self.assertNoResult(done)
        slow.callback(Raw(b"1"))
        self.clock.advance(0)
        for done in late:
            self.successResultOf(done)
        found = [reply["id"] for reply in self.peer.take()]
        self.assertEqual(found, [9, *range(100, 165), 201, 202])
        other.callback(Raw(b"1"))

    def test_busy_for_long(self) -> None:
        """Requests do not wait longer than 10 s."""
        transport = self.peer.client.transport
        transport.pause()
        waiting = [self.send(node, self.quoted()) for node in (self.first, self.second)]
        self.clock.advance(10)
        for done in waiting:
            self.failureResultOf(done, SurveyFailed)
        transport.resume()
        self.assertEqual(len(self.peer.take()), 2)
