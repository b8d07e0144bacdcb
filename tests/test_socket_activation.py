"""Sockets that systemd hands over, and the addresses that they serve."""

import os
import socket

from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from centrifugo_tx.errors import ConfigError
from centrifugo_tx.socket_activation import inherited_listeners, match_listeners


class MatchTests(SynchronousTestCase):
    """Which socket serves which address."""

    def bound(
        self, host: str = "127.0.0.1", kind: int = socket.SOCK_STREAM
    ) -> socket.socket:
        """Return a socket that is bound to a free port."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.socket(family, kind)
        self.addCleanup(made.close)
        made.bind((host, 0))
        return made

    def listener(self, host: str = "127.0.0.1") -> tuple[int, int]:
        """Return the descriptor of a socket that listens, and its port."""
        made = self.bound(host)
        made.listen()
        return made.fileno(), made.getsockname()[1]

    def refusal(self, descriptor: int, *addresses: tuple[str, int]) -> str:
        """Return why a socket is refused."""
        error = self.assertRaises(ConfigError, match_listeners, [descriptor], addresses)
        return str(error)

    def test_none(self) -> None:
        """Without systemd there are no sockets."""
        reactor = MemoryReactor()
        self.assertEqual(inherited_listeners(reactor, [("", 8000)]), {})

    def test_addresses(self) -> None:
        """Host and port decide; without a host it is a socket for all addresses."""
        local, port = self.listener()
        everywhere, other = self.listener("0.0.0.0")
        addresses = [("localhost", port), ("", other), ("", other)]
        found = match_listeners([everywhere, local], addresses)
        self.assertEqual(found, {("localhost", port): local, ("", other): everywhere})
        self.assertFalse(os.get_inheritable(local))
        self.assertFalse(os.get_blocking(local))

    def test_all_families(self) -> None:
        """A socket of systemd for a bare port takes IPv4 and IPv6."""
        if not socket.has_dualstack_ipv6():
            raise SkipTest("there is no IPv6")
        descriptor, port = self.listener("::")
        self.assertEqual(
            match_listeners([descriptor], [("", port)]), {("", port): descriptor}
        )

    def test_other_address(self) -> None:
        """A socket at another address is refused; the line says which are right."""
        descriptor, port = self.listener()
        for host, wanted in (("", port), ("127.0.0.2", port), ("127.0.0.1", port + 1)):
            said = self.refusal(descriptor, (host, wanted))
            self.assertEqual(
                said,
                f"socket from systemd: 127.0.0.1:{port} is no address of this server,"
                f" set ListenStream= to {host}:{wanted}",
            )
        self.assertIn("is no address", self.refusal(descriptor, ("no.invalid", port)))

    def test_no_listener(self) -> None:
        """A descriptor that is not a TCP listener is refused."""
        local = socket.socket(socket.AF_UNIX)
        self.addCleanup(local.close)
        local.bind(f"\0centrifugo-test-{os.getpid()}")
        local.listen()
        for made in self.bound(), self.bound(kind=socket.SOCK_DGRAM), local:
            said = self.refusal(made.fileno(), ("", 8000))
            self.assertIn("does not listen on TCP", said)
