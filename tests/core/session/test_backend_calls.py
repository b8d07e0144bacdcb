"""Calls to the application's backend, and clients that do not wait for them."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.interfaces import IClient
from centrifugo_tx.options import Admission, NodeOptions
from centrifugo_tx.protocol.messages import Raw, RPCRequest

from ...support import Peer, Permissive, World


class Slow(Permissive):
    """A policy whose backend answers when the test wants."""

    def rpc(self, client: IClient, request: RPCRequest) -> "Deferred[Raw]":
        """Wait."""
        waiting: Deferred[Raw] = Deferred()
        client.cancel_on_close(waiting)
        self.calls.append(("rpc", waiting))
        return waiting

    def waiting(self) -> list[Any]:
        """Return the calls that wait."""
        return [call for name, call in self.calls if name == "rpc"]


class BackendCallTests(SynchronousTestCase):
    """One client whose commands wait."""

    def world(self, **options: Any) -> tuple[Slow, Peer]:
        """Return a policy, and a client of its node."""
        self.policy = Slow()
        world = World(NodeOptions(version="1", **options), policy=self.policy)
        return self.policy, world.connected("u")

    def test_cancelled(self) -> None:
        """When the connection is lost, its calls are cancelled, and all is quiet."""
        policy, peer = self.world(concurrency=2)
        peer.send({"id": 1, "rpc": {"method": "a"}})
        peer.send({"id": 1, "rpc": {"method": "b"}})
        calls = policy.waiting()
        self.assertEqual([call.called for call in calls], [False, False])
        peer.client.transport_lost()
        for call in calls:
            self.assertTrue(call.called)
        self.assertEqual(peer.transport.closed, [])

    def test_closed_by_server(self) -> None:
        """The same when the server closes."""
        policy, peer = self.world()
        peer.send({"id": 1, "rpc": {"method": "a"}})
        [call] = policy.waiting()
        failed: list[Any] = []
        call.addErrback(failed.append)
        peer.client.unregister()
        self.assertFalse(call.called)
        peer.client.transport_lost()
        self.assertTrue(call.called)
        self.assertEqual(failed, [])  # the command has taken the failure

    def test_answered(self) -> None:
        """A call that was answered is not cancelled any more."""
        policy, peer = self.world()
        peer.send({"id": 1, "rpc": {"method": "a"}})
        [call] = policy.waiting()
        call.callback(Raw(b"1"))
        self.assertIn(b'"rpc":{"data":1}', peer.transport.frames[-1])
        peer.client.transport_lost()

    def test_order(self) -> None:
        """Commands run one after another, unless concurrency allows more."""
        for concurrency, running in ((1, 1), (2, 2), (3, 3)):
            policy, peer = self.world(concurrency=concurrency)
            for method in "abc":
                peer.send({"id": 1, "rpc": {"method": method}})
            self.assertEqual(len(policy.waiting()), running)
            policy.waiting()[running - 1].callback(Raw(b"1"))
            self.assertEqual(len(policy.waiting()), min(running + 1, 3))

    def test_cancellation(self) -> None:
        """A cancelled call fails with CancelledError."""
        _, peer = self.world()
        waiting: Deferred[Any] = Deferred()
        peer.client.cancel_on_close(waiting)
        peer.client.transport_lost()
        self.failureResultOf(waiting, CancelledError)

    def test_emulated_headers(self) -> None:
        """The client keeps the headers that the policy names."""
        world = World()
        world.policy.admission = Admission(emulated_headers={"a": "b"})
        peer = world.open()
        peer.ask(connect={})
        self.assertEqual(peer.client.emulated_headers, {"a": "b"})
        self.assertEqual(world.connected().client.emulated_headers, {})
