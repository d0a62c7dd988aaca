"""A certificate authority for one control plane: real X.509, short-lived, only in its folder."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=7)
_EARLIER = timedelta(minutes=5)  # clocks that differ a little


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """Issues certificates for servers and clients into its folder, where its own key lies too."""

    folder: Path
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate(self) -> Path:
        """What others trust."""
        return self.folder / "ca.crt"

    @classmethod
    def create(cls, folder: Path) -> Authority:
        """A new authority in `folder`."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = cls(folder, ec.generate_private_key(ec.SECP256R1()))
        certificate = (
            _begin(_CA, _CA, made.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(made.key, hashes.SHA256())
        )
        made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_private(folder / "ca.key", made.key)
        return made

    @classmethod
    def load(cls, folder: Path) -> Authority:
        """The authority that was created in `folder`."""
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            message = f"{folder} holds no key of an authority"
            raise TypeError(message)
        return cls(folder, key)

    def server(self, file: str, hosts: list[str]) -> KeyPair:
        """A certificate for a server under `hosts`, names and addresses alike."""
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        return self._issue(file, _name(hosts[0], None), ExtendedKeyUsageOID.SERVER_AUTH, names)

    def client(self, file: str, user: str, group: str | None = None) -> KeyPair:
        """A certificate that a control plane takes as `user` in `group`."""
        return self._issue(file, _name(user, group), ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _issue(
        self,
        file: str,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _begin(subject, _CA, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        pair = KeyPair(self.folder / f"{file}.crt", self.folder / f"{file}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_private(pair.key, key)
        return pair


def signing_pair(folder: Path, file: str) -> KeyPair:
    """A key for service-account tokens and, in place of a certificate, its public half."""
    key = ec.generate_private_key(ec.SECP256R1())
    pair = KeyPair(folder / f"{file}.pub", folder / f"{file}.key")
    pair.certificate.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    write_private(pair.key, key)
    return pair


def write_private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """The key as a PEM file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


def _begin(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + LIFETIME)
    )


def _name(common: str, organisation: str | None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organisation is not None:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


_CA = _name("joulegate-test-ca", None)
