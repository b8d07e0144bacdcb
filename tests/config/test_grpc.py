"""Checks of gRPC options before the start."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config import check_servers
from centrifugo_tx.config.check import problems

from .test_check import config_of


class UniGRPCTests(SynchronousTestCase):
    """The section ``uni_grpc``."""

    section = "uni_grpc"

    def found(self, installed: bool = True, **options: Any) -> list[str]:
        """Return the problems, with or without grpcio."""
        find: Callable[[str], object] = find_spec if installed else lambda name: None
        self.patch(check_servers, "find_spec", find)
        return problems(config_of({self.section: {"enabled": True, **options}}))

    def test_missing(self) -> None:
        """Without grpcio one line names the option and the remedy."""
        (line,) = self.found(installed=False)
        self.assertTrue(line.startswith(f"{self.section}.enabled: needs grpcio"), line)
        self.assertIn("pip install centrifugo-tx[grpc]", line)
        self.assertEqual(self.found(installed=False, enabled=False), [])

    def test_port(self) -> None:
        """The port is one."""
        for port, wrong in ((11000, False), (-1, True), (65536, True)):
            found = self.found(port=port)
            self.assertEqual(bool(found), wrong, port)
            self.assertTrue(all(f"{self.section}.port" in line for line in found))

    def test_tls(self) -> None:
        """TLS needs a certificate and a key."""
        (line,) = self.found(tls={"enabled": True})
        self.assertEqual(line, f"{self.section}.tls: needs cert_pem and key_pem")

    def test_size(self) -> None:
        """The largest message has a size that gRPC can take; 0 is its default."""
        for size, wrong in ((0, False), (2**31 - 1, False), (-1, True), (2**31, True)):
            found = self.found(max_receive_message_size=size)
            self.assertEqual(bool(found), wrong, size)


class GRPCAPITests(UniGRPCTests):
    """The section ``grpc_api``."""

    section = "grpc_api"

    def test_error_mode(self) -> None:
        """Errors are in the response, or become statuses."""
        self.assertEqual(self.found(error_mode="transport"), [])
        (line,) = self.found(error_mode="http")
        self.assertTrue(line.startswith("grpc_api.error_mode"), line)

    def test_double(self) -> None:
        """No other section may have the same port."""
        both = {"enabled": True, "port": 12345}
        (line,) = problems(config_of({"grpc_api": both, "uni_grpc": both}))
        self.assertIn("12345 is already used by grpc_api.port", line)
