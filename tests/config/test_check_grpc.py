"""Rules of proxies that are called over gRPC (event proxies, "gRPC form")."""

from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.check import problems

from .test_check import config_of

try:
    import grpc  # noqa: F401
except ImportError:
    raise SkipTest("grpcio is not installed") from None

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def found(endpoint: str = "host:1", **options: Any) -> list[str]:
    """Return the problems of a named proxy, without its path."""
    named = {"name": "own", "endpoint": endpoint, "grpc": options}
    lines = problems(config_of({"proxies": [named]}))
    prefix = "proxies.[0]."
    assert all(line.startswith(prefix) for line in lines), lines
    return [line.removeprefix(prefix) for line in lines]


class GRPCProxyTests(SynchronousTestCase):
    """Endpoints, metadata and certificates."""

    def test_good(self) -> None:
        """Targets of all kinds, and all options."""
        for endpoint in ("host:1", "grpc://h:1", "grpc://h:1/x", "dns:///h", "unix:/x"):
            self.assertEqual(found(endpoint), [])
        tls = {"enabled": True, "server_name": "x", "server_ca_pem": PEM}
        good = {
            "static_metadata": {"X-One": "1", "x-bin": "\n"},
            "credentials_key": "key",
            "credentials_value": "secret",
            "compression": True,
            "tls": tls,
        }
        self.assertEqual(found(**good), [])

    def test_endpoint(self) -> None:
        """A URL needs a host and a port."""
        for endpoint in ("grpc://", "grpc://h", "grpc://h:", "grpc://:1", "grpc://h:x"):
            expected = [f"endpoint: {endpoint!r} must have a host and a port"]
            self.assertEqual(found(endpoint), expected)

    def test_metadata(self) -> None:
        """Names and values are such as HTTP/2 can carry."""
        for name in ("", "a b", "ä", "grpc-timeout", ":path"):
            expected = [
                f"grpc.static_metadata: {name!r} must be the name of metadata",
            ]
            self.assertEqual(found(static_metadata={name: "x"}), expected)
        expected = ["grpc.static_metadata: a: must be printable ASCII"]
        self.assertEqual(found(static_metadata={"a": "\n"}), expected)
        self.assertEqual(found(static_metadata={"a": "ä"}), expected)

    def test_credentials(self) -> None:
        """A value needs a key; the value is not shown."""
        expected = ["grpc.credentials_key: must be set, as credentials_value is"]
        self.assertEqual(found(credentials_value="secret"), expected)
        expected = ["grpc.credentials_key: a: must be printable ASCII"]
        given = {"credentials_key": "a", "credentials_value": "sécret"}
        self.assertEqual(found(**given), expected)

    def test_tls(self) -> None:
        """Certificates come with keys, and are always verified."""
        [line] = found(tls={"enabled": True, "cert_pem": PEM})
        self.assertEqual(line, "grpc.tls: needs both cert_pem and key_pem, or neither")
        [line] = found(tls={"enabled": True, "insecure_skip_verify": True})
        self.assertIn("grpc.tls.insecure_skip_verify: grpcio always verifies", line)
