"""Names of Twisted that are not public, and that this server leans on."""

from twisted.internet.abstract import FileDescriptor
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel


class PrivateNameTests(SynchronousTestCase):
    """A Twisted that lacks one of them fails here, and not in production."""

    def test_channel(self) -> None:
        """What the HTTP channel reads and sets to step aside, or to be quick."""
        channel = HTTPChannel()
        channel.makeConnection(StringTransport())
        channel.dataReceived(b"GET / HTTP/1.1\r\n")
        for name in (
            *("_networkProducer", "_HTTPChannel__first_line", "_buffer", "_command"),
            *("_path", "_version", "requests", "length", "line_mode"),
        ):
            self.assertTrue(hasattr(channel, name), name)
        self.assertTrue(hasattr(channel._networkProducer, "unregisterProducer"))
        channel.setTimeout(None)

    def test_transport(self) -> None:
        """What the eager transport looks at before it sends."""
        descriptor = FileDescriptor(reactor=object())  # type: ignore[arg-type]
        self.assertEqual((descriptor.dataBuffer, descriptor._tempDataLen), (b"", 0))
        self.assertFalse(descriptor._writeDisconnected)
