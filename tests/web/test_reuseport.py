"""One port for several sockets, on the loopback interface."""

import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Port
from twisted.trial.unittest import TestCase

from centrifugo_tx.web.reuseport import listen_reuseport, reserve_port
from centrifugo_tx.web.site import Endpoints, ListenerSettings, listen

HOST = "127.0.0.1"


class SharingTests(TestCase):
    """Which processes may listen on an address."""

    timeout = 60

    def setUp(self) -> None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port: int = probe.getsockname()[1]

    def hold(self) -> socket.socket:
        """Hold the address."""
        held = reserve_port(self.port, HOST)
        self.addCleanup(held.close)
        return held

    def assert_refused(self) -> None:
        """Another server, which would set SO_REUSEADDR alone, cannot listen."""
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with self.assertRaises(OSError):
                other.bind((HOST, self.port))

    def serve(self, factory: Factory) -> Any:
        """Listen together with others."""
        port = listen_reuseport(reactor, self.port, HOST, factory, 50)
        self.addCleanup(port.stopListening)
        return port

    def test_held(self) -> None:
        """A reserved address accepts no connections and no second reservation."""
        self.hold()
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection((HOST, self.port))
        with self.assertRaises(CannotListenError):
            reserve_port(self.port, HOST)
        self.assert_refused()

    def test_taken(self) -> None:
        """An address on which a server listens, sharing or not, cannot be reserved."""
        alone: Any = reactor.listenTCP(0, Factory(), interface=HOST)  # type: ignore[attr-defined]
        self.addCleanup(alone.stopListening)
        with self.assertRaises(CannotListenError):
            reserve_port(alone.getHost().port, HOST)
        self.serve(Factory())
        with self.assertRaises(CannotListenError):
            reserve_port(self.port, HOST)

    async def test_shared(self) -> None:
        """Several listen at an address that is held; connections reach them all."""
        self.hold()
        met: list[str] = []
        done: Deferred[None] = Deferred()
        for name in ("one", "two"):
            factory = Factory()
            factory.buildProtocol = lambda _, name=name: self.meet(met, name, done)  # type: ignore[method-assign, misc]
            self.serve(factory)
        for _ in range(40):
            connection = socket.create_connection((HOST, self.port))
            self.addCleanup(connection.close)
        await done
        self.assertEqual(set(met), {"one", "two"})

    def meet(
        self, met: list[str], name: str, done: "Deferred[None]"
    ) -> Protocol | None:
        """Record which socket accepted a connection, and refuse it."""
        met.append(name)
        if len(met) == 40:
            done.callback(None)
        return None

    def leave_time_wait(self, *options: int) -> None:
        """Serve one connection, and end it first, so that this end has to wait."""
        with socket.socket() as server:
            for option in options:
                server.setsockopt(socket.SOL_SOCKET, option, 1)
            server.bind((HOST, self.port))
            server.listen()
            with socket.create_connection((HOST, self.port)):
                accepted, _ = server.accept()
                accepted.close()

    async def test_again(self) -> None:
        """Connections of workers that have just ended do not prevent a new start."""
        held = self.hold()
        self.leave_time_wait(socket.SO_REUSEADDR, socket.SO_REUSEPORT)
        held.close()
        alone: Any = reactor.listenTCP(self.port, Factory(), interface=HOST)  # type: ignore[attr-defined]
        await alone.stopListening()
        self.hold()

    def test_after_a_single_process(self) -> None:
        """Nor do those of a single process; the reservation is as strict as ever."""
        self.leave_time_wait(socket.SO_REUSEADDR)
        self.hold()
        with self.assertRaises(CannotListenError):
            reserve_port(self.port, HOST)
        self.assert_refused()
        self.serve(Factory())
        self.serve(Factory())

    def test_as_alone(self) -> None:
        """A shared port has its transports made by a guard, as any other has."""
        settings = ListenerSettings(interface=HOST, port=self.port, shared=True)
        port: Any = listen(reactor, Endpoints(), settings)
        self.addCleanup(port.stopListening)
        self.assertIsInstance(port, Port)
        self.assertEqual(port.transport, port.factory.accept_limiter._accept)
