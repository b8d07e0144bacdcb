"""TLS of outgoing connections, and files that hold keys of tokens."""

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from centrifugo_tx.certificate_renewal import with_new_files
from centrifugo_tx.config.load import load
from centrifugo_tx.config.tls_sections import outgoing_tls

from ..integration.certificates import Authority
from .test_check import CheckCase, config_of

MALFORMED = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


class OutgoingTests(CheckCase):
    """Certificates that the server uses as a client."""

    def redis(self, **tls: Any) -> dict[str, Any]:
        """Return a configuration with TLS to Redis."""
        return {"engine": {"type": "redis", "redis": {"tls": {"enabled": True, **tls}}}}

    def test_good(self) -> None:
        """An authority, and a certificate with its key."""
        authority = Authority()
        cert, key = authority.issue("client")
        self.assertFine(self.redis(server_ca_pem=authority.pem))
        self.assertFine(self.redis(cert_pem=cert, key_pem=key))

    def test_malformed(self) -> None:
        """What no connection could use is found before the start."""
        said = "engine.redis.tls: a certificate or key is malformed"
        self.assertProblem(self.redis(server_ca_pem=MALFORMED), said)
        cert, key = Authority().issue("client")
        self.assertProblem(self.redis(cert_pem=MALFORMED, key_pem=key), said)
        self.assertProblem(
            self.redis(cert_pem=cert),
            "engine.redis.tls: needs both cert_pem and key_pem",
        )
        self.assertFine(self.redis(enabled=False, server_ca_pem=MALFORMED))

    def test_sections(self) -> None:
        """Ports are no such sections, and consumers that are off have none."""
        paths = outgoing_tls(config_of({"consumers": [{"name": "aa"}]}))
        self.assertIn("engine.redis.tls", paths)
        self.assertNotIn("http_server.tls", paths)
        self.assertFalse([path for path in paths if path.startswith("consumers")])


class KeyFileTests(CheckCase):
    """Public keys of tokens in files."""

    def key(self) -> str:
        """Return a new public key."""
        public = rsa.generate_private_key(65537, 2048).public_key()
        return public.public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        ).decode()

    def test_followed(self) -> None:
        """A key is read from its file, at the start and when the file changes."""
        path, config = Path(self.mktemp()), Path(self.mktemp() + ".json")
        first, second = self.key(), self.key()
        path.write_text(first)
        token = {"rsa_public_key": str(path)}
        config.write_text(json.dumps({"client": {"token": token}}))
        loaded = load(str(config), {})
        self.assertEqual(loaded.config.client.token.rsa_public_key, first)
        option = "client.token.rsa_public_key"
        self.assertEqual(loaded.pem_files, {option: str(path)})
        path.write_text(second)
        renewed = with_new_files(loaded.config, loaded.pem_files)
        self.assertEqual(renewed.client.token.rsa_public_key, second)

    def test_text(self) -> None:
        """The text of a key in the file of the configuration is still one."""
        key = self.key()
        config = config_of({"client": {"token": {"rsa_public_key": key}}})
        self.assertEqual(config.client.token.rsa_public_key, key)
