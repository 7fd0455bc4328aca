"""Who may talk to whom: the TLS settings of both ends, the shared token, the name in a certificate.

TLS 1.3 only, and only the CA that is named is trusted, never the system's. A robot is admitted by
a certificate of that CA, or by the token, which nothing but the environment can hold.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxshard_core.errors import FluxShardError

TOKEN_VARIABLE: Final = "FLUXSHARD_TOKEN"
MIN_TOKEN_CHARACTERS: Final = 32
PROOF_BYTES: Final = 32

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""Names a certificate may give a robot or a cloud."""

PathOrNone = Path | str | None

_log = logging.getLogger(__name__)


class SecurityError(FluxShardError):
    """Settings, files or peers that do not keep the link safe."""


class Token:
    """A shared secret of which only a digest of fixed length is kept, sent and compared."""

    def __init__(self, secret: str) -> None:
        if len(secret) < MIN_TOKEN_CHARACTERS:
            raise SecurityError(
                f"the token has {len(secret)} characters, at least {MIN_TOKEN_CHARACTERS} are "
                f"needed: make one with `openssl rand -hex 32`"
            )
        self.proof = hashlib.sha256(b"fluxshard token\0" + secret.encode()).digest()

    @classmethod
    def from_environment(cls) -> Token | None:
        """Return the token in ``FLUXSHARD_TOKEN``, or ``None`` when it is empty or not set."""
        secret = os.environ.get(TOKEN_VARIABLE, "")
        return cls(secret) if secret else None

    def proven_by(self, proof: bytes | memoryview) -> bool:
        """Compare in a time that tells nothing about where the two differ."""
        return hmac.compare_digest(self.proof, proof)


@dataclass(frozen=True)
class ServerSecurity:
    """How a server proves itself and whom it admits.

    :param certificate: the server's certificate chain, PEM.
    :param key: its private key, PEM, not encrypted.
    :param robot_ca: CA of the robots' certificates; ``None`` when they have none.
    :param require_certificate: without one no robot is admitted. Otherwise robots that show none
        must prove ``token``.
    """

    certificate: Path
    key: Path
    robot_ca: Path | None = None
    require_certificate: bool = False
    token: Token | None = None

    @classmethod
    def of_paths(
        cls, certificate: PathOrNone, key: PathOrNone, ca: PathOrNone, require_certificate: bool
    ) -> ServerSecurity | None:
        """Make one from parameters, where empty is absent; ``None`` when all are absent.

        :raises SecurityError: when they contradict each other or the token is too short.
        """
        if not (certificate or key or ca or require_certificate):
            return None
        if not (certificate and key):
            raise SecurityError(
                "TLS needs both the server's certificate and its key (`fluxshard certs` makes them)"
            )
        if require_certificate and not ca:
            raise SecurityError("requiring client certificates needs the CA that signs them")
        security = cls(
            Path(certificate),
            Path(key),
            Path(ca) if ca else None,
            require_certificate,
            Token.from_environment(),
        )
        if ca and not security.authenticates:
            raise SecurityError(
                "a CA for robots' certificates admits nobody by itself: also require the "
                f"certificates, or set {TOKEN_VARIABLE} for the robots that have none"
            )
        return security

    @property
    def authenticates(self) -> bool:
        """Whether a stranger is kept out, not only kept from listening."""
        return self.require_certificate or self.token is not None

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings; raise ``SecurityError`` for files that cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # A resumed session would outlive the certificate it was opened with.
        context.num_tickets = 0
        _load_certificate(context, self.certificate, self.key)
        if self.robot_ca is not None:
            _load_ca(context, self.robot_ca)
            required = self.require_certificate
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        return context


@dataclass(frozen=True)
class ClientSecurity:
    """How a robot knows the cloud, and proves itself.

    :param cloud_ca: CA that must have signed the cloud's certificate, PEM.
    :param certificate: the robot's own certificate chain; with ``key``, or both ``None``.
    :param token: proof for a cloud that asks for no certificate.
    """

    cloud_ca: Path
    certificate: Path | None = None
    key: Path | None = None
    token: Token | None = None

    @classmethod
    def of_paths(
        cls, ca: PathOrNone, certificate: PathOrNone, key: PathOrNone
    ) -> ClientSecurity | None:
        """Make one from parameters, where empty is absent; ``None`` when all are absent.

        :raises SecurityError: when they contradict each other or the token is too short.
        """
        if not (ca or certificate or key):
            return None
        if not ca:
            raise SecurityError("TLS needs the CA that signed the cloud's certificate")
        if bool(certificate) != bool(key):
            raise SecurityError("a robot's certificate and its key are only useful together")
        token = Token.from_environment()
        if not (certificate and key):
            return cls(Path(ca), token=token)
        return cls(Path(ca), Path(certificate), Path(key), token)

    @property
    def authenticates(self) -> bool:
        """Whether this end can prove who it is."""
        return self.certificate is not None or self.token is not None

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings; raise ``SecurityError`` for files that cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks the host name
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        _load_ca(context, self.cloud_ca)
        if self.certificate is not None and self.key is not None:
            _load_certificate(context, self.certificate, self.key)
        return context


def certificate_name(certificate: Mapping[str, Any]) -> str:
    """Return the one common name of a peer's certificate, as ``SSLSocket.getpeercert`` gives it.

    :raises SecurityError: when there is none, several, or one that ``NAME_PATTERN`` forbids.
    """
    subject = certificate.get("subject", ())
    names = [value for part in subject for key, value in part if key == "commonName"]
    if len(names) != 1 or NAME_PATTERN.fullmatch(names[0]) is None:
        raise SecurityError(f"the certificate must name its robot once, with letters: {names}")
    return str(names[0])


def explain(error: Exception) -> str:
    """Say what a failed connection or handshake means, in the words of someone who can mend it."""
    text = str(error) or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or text} (are both ends set up for TLS?)"
    return text


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _check_readable(certificate, key)
    if key.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        _log.warning("others can read the private key %s: `chmod 600` keeps it private", key)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, OSError) as error:
        raise SecurityError(
            f"{certificate} and {key} are not a PEM certificate and its key: {error}"
        ) from error


def _load_ca(context: ssl.SSLContext, ca: Path) -> None:
    _check_readable(ca)
    try:
        context.load_verify_locations(ca)
    except (ssl.SSLError, OSError) as error:
        raise SecurityError(f"{ca} is not a PEM CA certificate: {error}") from error


def _check_readable(*files: Path) -> None:
    for file in files:
        if not (file.is_file() and os.access(file, os.R_OK)):
            raise SecurityError(f"{file} does not exist or cannot be read")


def _no_password() -> str:
    """Without it OpenSSL would ask the terminal, which a service does not have."""
    raise SecurityError("the private key is encrypted: a service needs it without a passphrase")
