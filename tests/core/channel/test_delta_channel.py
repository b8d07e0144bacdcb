"""Deltas in channels."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.channel import deltas as core_deltas
from centrifugo_tx.options import (
    NOWHERE,
    Admission,
    HistoryQuery,
    NodeOptions,
    PublishOptions,
    SubscribeOptions,
)
from centrifugo_tx.protocol.delta import make
from centrifugo_tx.protocol.messages import Publication, Raw

from ...support import World, unframed
from .delta_client import WIRES, DeltaClient, payload, publications_in

ALLOWED = SubscribeOptions(delta_types=("fossil",))
RECOVERABLE = SubscribeOptions(
    positioned=True, recoverable=True, delta_types=("fossil",)
)
POSITIONED = SubscribeOptions(
    positioned=True, delta_types=("fossil",), tags_filter=True
)
DELTA = {"delta": "fossil"}


class Deltas:
    """A world in which every client may have deltas."""

    def __init__(self, subscription: SubscribeOptions = RECOVERABLE) -> None:
        self.world = World(options=NodeOptions(ping_interval=-1))
        self.world.policy.subscription = subscription
        self.node = self.world.node

    def client(self, wire: str = "json") -> DeltaClient:
        return DeltaClient(self.node, WIRES[wire]())

    def publish(self, n: int, **options: Any) -> bytes:
        """Publish into the stream, with a delta; return the payload."""
        data = payload(n)
        self.send(data, **options)
        return data

    def send(self, data: bytes, **options: Any) -> None:
        asked = {"history_size": 10, "history_ttl": 60.0, "delta": True, **options}
        self.node.publish("c", data, PublishOptions(**asked))


def subscribe(client: DeltaClient, **request: Any) -> Any:
    """Subscribe with deltas; return the result, its publications accepted."""
    (message,) = client.ask(subscribe={"channel": "c", **DELTA, **request})
    client.accept_all([message])
    return message["subscribe"]


class NegotiationTests(SynchronousTestCase):
    """Deltas are agreed on when subscribing."""

    def test_agreed(self) -> None:
        """The reply confirms deltas that are permitted."""
        deltas = Deltas()
        self.assertTrue(subscribe(deltas.client())["delta"])

    def test_not_asked(self) -> None:
        """A client that does not ask for deltas gets payloads unchanged."""
        deltas = Deltas()
        client = deltas.client()
        (reply,) = client.ask(subscribe={"channel": "c"})
        self.assertNotIn("delta", reply["subscribe"])
        for n in (1, 2):
            deltas.publish(n)
        found = [json.loads(payload(n)) for n in (1, 2)]
        self.assertEqual([p["data"] for p in publications_in(client.take())], found)

    def test_not_allowed(self) -> None:
        """Without permission the reply does not mention deltas."""
        deltas = Deltas(SubscribeOptions(positioned=True))
        client = deltas.client()
        (reply,) = client.ask(subscribe={"channel": "c", **DELTA})
        self.assertNotIn("delta", reply["subscribe"])
        deltas.publish(1)
        (publication,) = publications_in(client.take())
        self.assertEqual(publication["data"], json.loads(payload(1)))

    def test_unknown(self) -> None:
        """A delta of another kind is a protocol error."""
        client = Deltas().client()
        client.ask(subscribe={"channel": "c", "delta": "vcdiff"})
        self.assertEqual(client.closed, 3501)

    def test_filter(self) -> None:
        """A filter excludes deltas, since it drops the payloads they apply to."""
        deltas = Deltas(POSITIONED)
        client = deltas.client()
        tf = {"key": "k", "cmp": "ex"}
        (reply,) = client.ask(subscribe={"channel": "c", **DELTA, "tf": tf})
        self.assertNotIn("delta", reply["subscribe"])
        for n in (1, 2):
            deltas.publish(n, tags={"k": "v"})
        found = [json.loads(payload(n)) for n in (1, 2)]
        self.assertEqual([p["data"] for p in publications_in(client.take())], found)

    def test_server_side(self) -> None:
        """A client may ask for deltas in the subscriptions it is given."""
        deltas = Deltas()
        deltas.publish(1)
        deltas.publish(2)
        deltas.world.policy.admission = Admission(subs={"c": RECOVERABLE, "d": ALLOWED})
        client = deltas.client()
        subs = {"c": {"recover": True, **DELTA}, "d": {"delta": "unknown"}}
        (reply,) = client.connect(subs=subs)
        results = reply["connect"]["subs"]
        self.assertTrue(results["c"]["delta"])
        self.assertNotIn("delta", results["d"])
        found = client.accept_all([reply])
        self.assertEqual(found, [(1, payload(1), False), (2, payload(2), True)])
        deltas.publish(3)
        self.assertEqual(client.accept_all(client.take()), [(3, payload(3), True)])

    def test_unidirectional(self) -> None:
        """Unidirectional clients may ask for deltas as well."""
        deltas = Deltas()
        deltas.publish(1)
        deltas.world.policy.admission = Admission(subs={"c": RECOVERABLE})
        client = deltas.client("uni_sse")
        (told,) = client.connect(subs={"c": {"recover": True, **DELTA}})
        self.assertTrue(told["connect"]["subs"]["c"]["delta"])
        self.assertEqual(client.accept_all([told]), [(1, payload(1), False)])
        deltas.publish(2)
        self.assertEqual(client.accept_all(client.take()), [(2, payload(2), True)])


class LiveTests(SynchronousTestCase):
    """Live publications."""

    def setUp(self) -> None:
        self.deltas = Deltas()

    def check(self, client: DeltaClient, *expected: bool) -> None:
        """Publish as often as *expected* says, whether as a delta."""
        first = len(client.got) + 1
        for n, delta in enumerate(expected, first):
            data = self.deltas.publish(n)
            found = client.accept_all(client.take())
            self.assertEqual([each[1:] for each in found], [(data, delta)])

    def test_example(self) -> None:
        """The documented exchange (client protocol, "Deltas")."""
        client = self.deltas.client()
        subscribe(client)
        base = b'{"lamp":"kitchen","level":41,"mode":"night"}'
        self.deltas.send(base)
        self.deltas.send(base.replace(b"41", b"87"))
        frames = client.transport.frames
        self.assertEqual(
            unframed(frames[0])[0],
            b'{"push":{"channel":"c","pub":{"data":"{\\"lamp\\":\\"kitchen\\",'
            b'\\"level\\":41,\\"mode\\":\\"night\\"}","offset":1}}}',
        )
        self.assertEqual(
            unframed(frames[1])[0],
            b'{"push":{"channel":"c","pub":{"data":"h\\nQ@0,2:87G@S,ogJ_P;",'
            b'"offset":2,"delta":true}}}',
        )

    def test_first_in_full(self) -> None:
        """The first one is whole, the others are deltas, in all encodings."""
        for wire in ("json", "protobuf", "sse", "http_stream_protobuf"):
            with self.subTest(wire=wire):
                self.deltas = Deltas()
                client = self.deltas.client(wire)
                subscribe(client)
                self.check(client, False, True, True)

    def test_each_for_itself(self) -> None:
        """A later subscriber starts with a full payload while others get deltas."""
        for wire in ("json", "protobuf"):
            self.deltas = Deltas()
            early = self.deltas.client(wire)
            subscribe(early)
            self.check(early, False, True)
            late = self.deltas.client(wire)
            subscribe(late)
            for n, whole in ((3, True), (4, False)):
                data = self.deltas.publish(n)
                for client, delta in ((early, True), (late, not whole)):
                    found = client.accept_all(client.take())
                    self.assertEqual(found, [(n, data, delta)])

    def test_not_asked_for(self) -> None:
        """Without the publisher's wish everything is whole, and quoted."""
        client = self.deltas.client()
        subscribe(client)
        for n in (1, 2):
            data = self.deltas.publish(n, delta=False)
            self.assertEqual(client.accept_all(client.take()), [(n, data, False)])
        self.check(client, True)

    def test_longer(self) -> None:
        """A delta that is not shorter is not sent."""
        for wire in ("json", "protobuf"):
            client = self.deltas.client(wire)
            subscribe(client)
            for data in (b'{"a":1}', b"[2,3]", b'"x"'):
                self.deltas.send(data)
                (found,) = client.accept_all(client.take())
                self.assertEqual(found[1:], (data, False))

    def test_previous_gone(self) -> None:
        """After the history was removed, the next one is whole."""
        client = self.deltas.client()
        subscribe(client)
        self.check(client, False, True)
        self.deltas.node.remove_history("c")
        self.check(client, False, True)

    def test_without_place(self) -> None:
        """No delta applies to a publication without a position."""
        for wire in ("json", "protobuf"):
            self.deltas = Deltas()
            client = self.deltas.client(wire)
            subscribe(client)
            self.check(client, False, True)
            self.deltas.send(payload(0, "loose"), history_size=0)
            found = client.accept_all(client.take())
            self.assertEqual(found, [(0, payload(0, "loose"), False)])
            self.check(client, False, True)

    def test_predecessor_without_place(self) -> None:
        """The broker's previous publication is used only within a stream."""
        client = self.deltas.client()
        subscribe(client)
        self.check(client, False, True)
        loose = Publication(data=Raw(payload(0, "loose")))
        before = Publication(data=Raw(payload(1, "loose")))
        self.deltas.node.streams.handle_publication("c", loose, NOWHERE, before)
        found = client.accept_all(client.take())
        self.assertEqual(found, [(0, payload(0, "loose"), False)])

    def test_not_positioned(self) -> None:
        """Without a place in the stream everything is whole, and quoted."""
        for wire in ("json", "protobuf"):
            self.deltas = Deltas(ALLOWED)
            client = self.deltas.client(wire)
            self.assertTrue(subscribe(client)["delta"])
            self.check(client, False, False, False)

    def test_fields(self) -> None:
        """Info and tags stay; epoch and version do not travel with deltas."""
        json_client, binary = self.deltas.client(), self.deltas.client("protobuf")
        for client in (json_client, binary):
            subscribe(client)
        epoch = ""
        for n in (1, 2):
            self.deltas.publish(n, tags={"k": "v"}, version=n)
            epoch = epoch or self.deltas.node.hub.channels["c"].epoch
            (quoted,) = publications_in(json_client.take())
            (plain,) = publications_in(binary.take())
            for publication in (quoted, plain):
                del publication["data"]
            change = {"offset": n, "tags": {"k": "v"}}
            if n == 2:
                change["delta"] = True
            self.assertEqual(quoted, change)
            more = {"epoch": epoch, "version": "1"} if n == 1 else {}
            self.assertEqual(plain, {**change, **more})

    def test_white_space(self) -> None:
        """Payloads come through to the byte, and deltas build on those."""
        for wire in ("json", "protobuf"):
            self.deltas = Deltas()
            client = self.deltas.client(wire)
            subscribe(client)
            base = (
                b'{\n "list": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],\r\n "x": 1}'
            )
            for data in (base, base.replace(b"6,", b"\n66,\n")):
                self.deltas.send(data)
            first, second = client.accept_all(client.take())
            self.assertEqual(first[1], base)
            self.assertTrue(second[2])

    def test_no_json(self) -> None:
        """A payload that is not JSON closes JSON clients with 3506, and no others."""
        for data in (b"\xff\xfe", b"\xff" + payload(3), b"no json", b"{"):
            for first in (0, 1):
                deltas = self.deltas = Deltas()
                clients = [deltas.client("json"), deltas.client("sse")]
                binary, plain = deltas.client("protobuf"), deltas.client("protobuf")
                for client in (*clients, binary):
                    subscribe(client)
                plain.ask(subscribe={"channel": "c"})
                for n in range(first):
                    deltas.publish(n)
                deltas.send(data)
                self.assertEqual([c.closed for c in clients], [3506, 3506])
                for client in (binary, plain):
                    self.assertEqual(client.accept_all(client.take())[-1][1], data)
                deltas.publish(9)
                found = binary.accept_all(binary.take())
                self.assertEqual([each[1] for each in found], [payload(9)])

    def test_left(self) -> None:
        """A subscriber that has left gets nothing, in lanes of any kind."""
        for moved in (False, True):
            self.deltas = Deltas()
            clients = [self.deltas.client() for _ in range(3)]
            for client in clients[:2]:
                subscribe(client)
            self.deltas.publish(1)
            subscribe(clients[2])
            if moved:
                self.deltas.publish(2)
            for gone in range(1, 4):
                clients[-gone].ask(unsubscribe={"channel": "c"})
                for client in clients:
                    client.take()
                self.deltas.publish(3)
                there = [bool(client.take()) for client in clients]
                self.assertEqual(there, [n < 3 - gone for n in range(3)])
            again = clients[0]
            subscribe(again)
            data = self.deltas.publish(4)
            ((_, *found),) = again.accept_all(again.take())
            self.assertEqual(found, [data, False])

    def test_slices(self) -> None:
        """In slices, too, each client gets full payloads first, in order."""
        self.deltas.world = World(options=NodeOptions(broadcast_slice=2))
        self.deltas.world.policy.subscription = RECOVERABLE
        self.deltas.node = self.deltas.world.node
        clients = [self.deltas.client() for _ in range(5)]
        for client in clients[:4]:
            subscribe(client)
        sent = [self.deltas.publish(1), self.deltas.publish(2)]
        subscribe(clients[4])
        sent.append(self.deltas.publish(3))
        for _ in range(10):
            self.deltas.world.clock.advance(0)
        for client in clients:
            client.accept_all(client.take())
        wanted = list(zip(sent, (False, True, True), strict=True))
        self.assertEqual([client.got for client in clients[:4]], [wanted] * 4)
        self.assertEqual(clients[4].got, [(sent[2], False)])


class RecoveryTests(SynchronousTestCase):
    """Publications in the reply, and after it."""

    def setUp(self) -> None:
        self.deltas = Deltas()

    def since(self, offset: int) -> dict[str, Any]:
        """Return the request to recover the publications after *offset*."""
        top = self.deltas.node.history("c", HistoryQuery())
        epoch = self.successResultOf(top).position.epoch
        return {"recover": True, "offset": offset, "epoch": epoch}

    def test_list(self) -> None:
        """The first is whole, each other a delta to the one before it."""
        for wire in ("json", "protobuf"):
            self.deltas = Deltas()
            sent = [self.deltas.publish(n) for n in range(4)]
            client = self.deltas.client(wire)
            result = subscribe(client, **self.since(1))
            self.assertTrue(result["recovered"])
            forms = zip(sent[1:], (False, True, True), strict=True)
            self.assertEqual(client.got, list(forms))

    def test_list_without_wish(self) -> None:
        """Recovered ones are deltas also when the publisher did not ask for them."""
        for n in range(3):
            self.deltas.publish(n, delta=False)
        client = self.deltas.client()
        subscribe(client, **self.since(0))
        self.assertEqual([delta for _, delta in client.got], [False, True, True])

    def test_goes_on(self) -> None:
        """After recovered ones the next may be a delta at once."""
        for wire in ("json", "protobuf"):
            self.deltas = Deltas()
            for n in range(3):
                self.deltas.publish(n)
            client = self.deltas.client(wire)
            subscribe(client, **self.since(1))
            data = self.deltas.publish(4)
            self.assertEqual(client.accept_all(client.take()), [(4, data, True)])

    def test_nothing_recovered(self) -> None:
        """Without any, the client may have no base: the next is whole."""
        self.deltas.publish(1)
        client = self.deltas.client()
        self.assertTrue(subscribe(client, **self.since(1))["recovered"])
        for n, delta in ((2, False), (3, True)):
            data = self.deltas.publish(n)
            self.assertEqual(client.accept_all(client.take()), [(n, data, delta)])

    def test_not_recovered(self) -> None:
        """A client that lost publications starts with a full payload."""
        for n in range(20):
            self.deltas.publish(n)
        client = self.deltas.client()
        result = subscribe(client, **self.since(2))
        self.assertNotIn("recovered", result)
        self.assertEqual(client.got, [])
        data = self.deltas.publish(20)
        self.assertEqual(client.accept_all(client.take()), [(21, data, False)])

    def test_cache(self) -> None:
        """In cache mode the latest one comes whole, and deltas follow."""
        options = SubscribeOptions(
            positioned=True,
            recoverable=True,
            recovery_mode="cache",
            auto_recover=True,
            delta_types=("fossil",),
        )
        self.deltas = Deltas(options)
        for n in range(3):
            self.deltas.publish(n)
        client = self.deltas.client()
        subscribe(client)
        self.assertEqual(client.got, [(payload(2), False)])
        data = self.deltas.publish(3)
        self.assertEqual(client.accept_all(client.take()), [(4, data, True)])

    def test_history(self) -> None:
        """History shows payloads as they are, also to those with deltas."""
        client = self.deltas.client()
        subscribe(client)
        self.deltas.publish(1)
        self.deltas.publish(2)
        client.take()
        (reply,) = client.ask(history={"channel": "c", "limit": 10})
        found = [each["data"] for each in reply["history"]["publications"]]
        self.assertEqual(found, [json.loads(payload(n)) for n in (1, 2)])

    def test_no_json(self) -> None:
        """A list with a payload that is not JSON disconnects a JSON client with
        3506.
        """
        for data in (b"\xff", b"no json"):
            self.deltas = Deltas()
            self.deltas.publish(1)
            self.deltas.send(data)
            client = self.deltas.client()
            request = {"channel": "c", **DELTA, **self.since(0)}
            self.assertEqual(client.ask(subscribe=request), [])
            self.assertEqual(client.closed, 3506)
            binary = self.deltas.client("protobuf")
            subscribe(binary, **self.since(0))
            self.assertEqual(binary.got[1][0], data)

    def test_no_json_on_connect(self) -> None:
        """So does one that comes with the connect reply."""
        self.deltas.send(b"\xff")
        self.deltas.world.policy.admission = Admission(subs={"c": RECOVERABLE})
        client = self.deltas.client()
        client.connect(subs={"c": {**self.since(0), **DELTA}})
        self.assertEqual(client.closed, 3506)
        self.assertEqual(self.deltas.node.hub.num_subscriptions, 1)


class CostTests(SynchronousTestCase):
    """The cost of a publication's deltas does not grow with the subscribers."""

    def test_once(self) -> None:
        """One delta, and each form of each wire once."""
        deltas = Deltas(POSITIONED)
        made: list[bytes] = []

        def counted(base: bytes, target: bytes) -> bytes:
            made.append(target)
            return make(base, target)

        self.patch(core_deltas, "make", counted)
        encoded: list[tuple[str, bool]] = []
        names = ("http_stream_protobuf", "json", "protobuf", "sse")
        tf = {"tf": {"key": "k", "cmp": "ex"}}
        for name in names:
            self.count(WIRES[name](), name, encoded)
            subscribe(deltas.client(name))
        deltas.publish(1)
        for name in names:
            for request in ({}, DELTA, DELTA, tf, tf, {}):
                client = deltas.client(name)
                client.ask(subscribe={"channel": "c", **request})
        encoded.clear()
        made.clear()
        deltas.publish(2, tags={"k": "v"})
        # Plain, whole and quoted, delta; Protobuf has nothing to quote.
        wanted = [("http_stream_protobuf", False), ("http_stream_protobuf", True)]
        wanted += [("json", False), ("json", False), ("json", True)]
        wanted += [("protobuf", False), ("protobuf", True)]
        wanted += [("sse", False), ("sse", False), ("sse", True)]
        self.assertEqual(sorted(encoded), wanted)
        self.assertEqual(made, [payload(2)])
        encoded.clear()
        deltas.publish(3)
        # Now there are deltas for all, and those with filters get nothing.
        self.assertEqual(sorted(encoded), sorted((n, d) for n in names for d in (0, 1)))
        self.assertEqual(made, [payload(2), payload(3)])

    def count(self, wire: Any, name: str, encoded: list[Any]) -> None:
        """Take note of every publication that *wire* encodes."""
        push = wire.push

        def counted(message: Any) -> Any:
            if message.pub is not None:
                encoded.append((name, message.pub.delta))
            return push(message)

        self.patch(wire, "push", counted)

    def test_not_for_nothing(self) -> None:
        """Without subscribers that use deltas, no delta is made."""
        deltas = Deltas()
        self.patch(core_deltas, "make", None)
        client = deltas.client()
        client.ask(subscribe={"channel": "c"})
        fresh = deltas.client()
        subscribe(fresh)
        deltas.publish(1)
        fresh.ask(unsubscribe={"channel": "c"})
        deltas.publish(2)
        self.assertEqual(len(publications_in(client.take())), 2)

    def test_nothing_left(self) -> None:
        """When the last special subscriber left, the channel is an ordinary one."""
        deltas = Deltas()
        plain, client = deltas.client(), deltas.client()
        plain.ask(subscribe={"channel": "c"})
        subscribe(client)
        channel = deltas.node.hub.channels["c"]
        deltas.publish(1)
        self.assertIsNotNone(channel._variants)
        client.ask(unsubscribe={"channel": "c"})
        self.assertIsNone(channel._variants)
