"""A private CA for a small fleet: certificates for the cloud and for each robot, as files.

Keys are ECDSA P-256. A robot's certificate is good for nothing but being a client, the cloud's
for nothing but being a server.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from fluxshard_core.offload.security import NAME_PATTERN, SecurityError

CA_DAYS: Final = 3650
_CLOCK_SKEW: Final = dt.timedelta(days=1)
"""A robot without a network clock may lag behind by this much."""

_KEY_MODE: Final = 0o600
_CERTIFICATE_MODE: Final = 0o644

_USES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, folder: Path, name: str) -> None:
        """Write ``name.crt`` and ``name.key`` (mode 0600); existing files raise."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write_new(folder / f"{name}.key", key, _KEY_MODE)
        certificate = self.certificate.public_bytes(serialization.Encoding.PEM)
        _write_new(folder / f"{name}.crt", certificate, _CERTIFICATE_MODE)


class Authority:
    """A CA that signs certificates for one fleet."""

    def __init__(self, issued: Issued) -> None:
        self.issued = issued

    @classmethod
    def create(cls, name: str = "FluxShard private CA") -> Authority:
        """Make a new CA, valid for ten years."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, key, dt.timedelta(days=CA_DAYS))
        builder = builder.issuer_name(_subject(name))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        builder = builder.add_extension(_key_usage("key_cert_sign", "crl_sign"), True)
        return cls(Issued(builder.sign(key, hashes.SHA256()), key))

    @classmethod
    def load(cls, folder: Path) -> Authority:
        """Read ``ca.crt`` and ``ca.key``; raise ``SecurityError`` when they are no CA."""
        try:
            certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
            key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise SecurityError(f"{folder} holds no CA that can be used: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SecurityError(f"{folder / 'ca.key'} is not an elliptic-curve key")
        if certificate.public_key() != key.public_key():
            raise SecurityError(f"{folder}/ca.key does not belong to ca.crt")
        return cls(Issued(certificate, key))

    def cloud(self, hosts: Sequence[str], days: int) -> Issued:
        """Sign a server's certificate for host names and IP addresses, the first as its name."""
        names = [_general_name(host) for host in hosts]
        return self._sign(hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, dt.timedelta(days=days), names)

    def robot(self, name: str, days: int) -> Issued:
        """Sign a client's certificate; ``name`` becomes the robot's identity."""
        if NAME_PATTERN.fullmatch(name) is None:
            raise SecurityError(
                f"{name!r} cannot name a robot: use up to 63 letters, digits, '.', '_' and '-'"
            )
        return self._sign(name, ExtendedKeyUsageOID.CLIENT_AUTH, dt.timedelta(days=days), [])

    def _sign(
        self,
        name: str,
        use: ObjectIdentifier,
        lifetime: dt.timedelta,
        alternatives: list[x509.GeneralName],
    ) -> Issued:
        issuer = self.issued.certificate
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, key, lifetime).issuer_name(issuer.subject)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_key_usage("digital_signature"), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), False)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.issued.key.public_key())
        builder = builder.add_extension(signer, False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        return Issued(builder.sign(self.issued.key, hashes.SHA256()), key)


def _builder(
    name: str, key: ec.EllipticCurvePrivateKey, lifetime: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in allowed for use in _USES})


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if NAME_PATTERN.fullmatch(host) is None:
        raise SecurityError(f"{host!r} is neither an IP address nor a host name")
    return x509.DNSName(host)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
