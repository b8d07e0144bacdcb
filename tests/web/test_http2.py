"""HTTP/2 connections whose peer gives them no window."""

from typing import Any
from unittest import SkipTest

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import Answer
from centrifugo_tx.web.site import Endpoints, HTTPSite

from ..transports.websocket_stream import Stream

HEAD = [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "a")]
BODY = b"x" * 100


class WindowTests(SynchronousTestCase):
    """A client that gives a stream a window of 10 bytes, for an answer of 100."""

    def setUp(self) -> None:
        try:
            from h2.connection import H2Connection as Peer
            from h2.settings import SettingCodes

            from centrifugo_tx.web.http2 import HTTP2Factory
        except ImportError:
            raise SkipTest("h2 is not installed") from None
        self.clock, self.network = Clock(), Stream()
        endpoints = Endpoints(handlers={b"/": lambda request: Answer(200, BODY)})
        site = HTTPSite(self.clock, endpoints)
        self.server: Any = HTTP2Factory(site).buildProtocol(None)
        self.server.makeConnection(self.network)
        self.addCleanup(lambda: self.network.lose(self.server))
        self.peer = Peer()
        self.peer.initiate_connection()
        self.window = SettingCodes.INITIAL_WINDOW_SIZE
        self.give(10)
        self.settle()

    def give(self, window: int) -> None:
        """Change the window of all streams."""
        self.peer.update_settings({self.window: window})

    def settle(self) -> bytes:
        """Let both ends talk; return the data that came."""
        data = b""
        for _ in range(10):
            self.server.dataReceived(self.peer.data_to_send())
            self.clock.advance(0)
            for event in self.peer.receive_data(self.network.take()):
                data += getattr(event, "data", b"")
        return data

    def ask(self, id: int = 1) -> bytes:
        """Begin a stream; return the data that came."""
        self.peer.send_headers(id, HEAD, end_stream=True)
        return self.settle()

    def at_rest(self) -> bool:
        """Whether the reactor has nothing to do for it at once."""
        now = self.clock.seconds()
        return all(call.getTime() > now for call in self.clock.getDelayedCalls())

    def test_rest(self) -> None:
        """Data without a window waits, and costs nothing meanwhile."""
        self.assertEqual(self.ask(), BODY[:10])
        self.assertTrue(self.at_rest())

    def test_stream_window(self) -> None:
        """A larger window for the stream lets it go on, to its end."""
        self.ask()
        self.peer.increment_flow_control_window(20, stream_id=1)
        self.assertEqual(self.settle(), BODY[:20])
        self.assertTrue(self.at_rest())
        self.peer.increment_flow_control_window(1000, stream_id=1)
        self.assertEqual(self.settle(), BODY[:70])
        self.assertEqual(self.server.streams, {})

    def test_settings(self) -> None:
        """So does a larger window for all streams."""
        self.ask()
        self.give(1000)
        self.assertEqual(self.settle(), BODY[:90])

    def test_connection_window(self) -> None:
        """More for the connection is of no use to a stream without a window."""
        self.ask()
        self.peer.increment_flow_control_window(1000)
        self.assertEqual(self.settle(), b"")
        self.assertTrue(self.at_rest())

    def test_other_streams(self) -> None:
        """A stream that waits does not keep others from going on."""
        self.ask(1)
        self.assertEqual(self.ask(3), BODY[:10])
        self.peer.increment_flow_control_window(1000, stream_id=3)
        self.assertEqual(self.settle(), BODY[:90])
        self.assertTrue(self.at_rest())

    def test_reset(self) -> None:
        """A stream that is given up while it waits is forgotten."""
        self.ask(1)
        self.peer.reset_stream(1)
        self.settle()
        self.assertEqual(self.ask(3), BODY[:10])
        self.assertEqual(set(self.server.streams), {3})

    def test_timeout(self) -> None:
        """A client that never opens its window is disconnected after the timeout."""
        self.ask()
        self.clock.advance(31)
        self.assertTrue(self.network.disconnecting)
        self.clock.advance(15)
        self.assertTrue(self.network.aborted)

    def test_goodbye(self) -> None:
        """A client that sends GOAWAY is disconnected, and its data dropped."""
        self.ask()
        self.peer.close_connection()
        self.settle()
        self.assertTrue(self.network.disconnecting)
        self.assertEqual(self.server.streams, {})
