"""What must be right for gRPC, before anything starts."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config import check
from centrifugo_tx.config.check import problems

from .test_check import config_of


class UniGRPCTests(SynchronousTestCase):
    """The section ``uni_grpc``."""

    def found(self, installed: bool = True, **options: Any) -> list[str]:
        """Return what is wrong, with or without grpcio."""
        find: Callable[[str], object] = find_spec if installed else lambda name: None
        self.patch(check, "find_spec", find)
        return problems(config_of({"uni_grpc": {"enabled": True, **options}}))

    def test_missing(self) -> None:
        """Without grpcio one line says which option needs it, and what to do."""
        (line,) = self.found(installed=False)
        self.assertTrue(line.startswith("uni_grpc.enabled: needs grpcio"), line)
        self.assertIn("pip install centrifugo-tx[grpc]", line)
        self.assertEqual(self.found(installed=False, enabled=False), [])

    def test_port(self) -> None:
        """The port is one."""
        for port, wrong in ((11000, False), (-1, True), (65536, True)):
            found = self.found(port=port)
            self.assertEqual(bool(found), wrong, port)
            self.assertTrue(all("uni_grpc.port" in line for line in found))

    def test_tls(self) -> None:
        """TLS needs a certificate and a key."""
        (line,) = self.found(tls={"enabled": True})
        self.assertEqual(line, "uni_grpc.tls: needs cert_pem and key_pem")
