"""An authority, and the certificates it signs, made for one test."""

import datetime
from ipaddress import ip_address
from pathlib import Path

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Authority", "locked"]


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@define(eq=False)
class Authority:
    """Signs certificates that are good for an hour."""

    _key: ec.EllipticCurvePrivateKey = field(
        factory=lambda: ec.generate_private_key(ec.SECP256R1()), init=False
    )
    pem: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pem = self._sign("authority", self._key, x509.BasicConstraints(True, None))

    def issue(self, *hosts: str) -> tuple[str, str]:
        """Return the certificate of *hosts*, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = []
        for host in hosts:
            try:
                names.append(x509.IPAddress(ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        return self._sign(hosts[0], key, x509.SubjectAlternativeName(names)), _pem(key)

    def files(self, folder: Path, *hosts: str) -> tuple[Path, Path, Path]:
        """Write certificate, key and the authority's certificate into *folder*."""
        texts = (*self.issue(*hosts), self.pem)
        paths = (folder / "cert.pem", folder / "key.pem", folder / "ca.pem")
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        return paths

    def _sign(
        self, name: str, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> str:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(extension, critical=False)
        )
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()


def locked(key: str) -> str:
    """Return *key* as it is under a passphrase."""
    return (
        serialization.load_pem_private_key(key.encode(), None)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        .decode()
    )
