"""Settings that would leave a door open, or cannot work, are refused with what to do."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from fluxshard_core.offload.certificates import Authority
from fluxshard_core.offload.security import (
    TOKEN_VARIABLE,
    ClientSecurity,
    SecurityError,
    ServerSecurity,
    Token,
    certificate_name,
)

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


def test_a_token_proves_itself_and_nothing_else_does() -> None:
    token = Token(SECRET)
    assert token.proven_by(Token(SECRET).proof)
    for proof in (b"", SECRET.encode(), Token(SECRET + "x").proof, token.proof[:-1]):
        assert not token.proven_by(proof)
    assert SECRET not in repr(token)


def test_a_token_that_is_too_short_is_refused() -> None:
    with pytest.raises(SecurityError, match="31 characters, at least 32"):
        Token("x" * 31)


def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Token.from_environment() is None
    monkeypatch.setenv(TOKEN_VARIABLE, "")
    assert Token.from_environment() is None
    monkeypatch.setenv(TOKEN_VARIABLE, SECRET)
    token = Token.from_environment()
    assert token is not None
    assert token.proven_by(Token(SECRET).proof)


@pytest.mark.parametrize(
    ("certificate", "key", "ca", "require", "why"),
    [
        ("c", "", "", False, "both the server's certificate and its key"),
        ("", "k", "", False, "both the server's certificate and its key"),
        ("", "", "a", False, "both the server's certificate and its key"),
        ("c", "k", "", True, "needs the CA"),
        ("c", "k", "a", False, "admits nobody by itself"),
    ],
)
def test_a_server_with_half_of_what_it_needs_is_refused(
    certificate: str, key: str, ca: str, require: bool, why: str
) -> None:
    with pytest.raises(SecurityError, match=why):
        ServerSecurity.of_paths(certificate, key, ca, require)


@pytest.mark.parametrize(
    ("ca", "certificate", "key", "why"),
    [
        ("", "c", "k", "needs the CA that signed the cloud's"),
        ("a", "c", "", "only useful together"),
        ("a", "", "k", "only useful together"),
    ],
)
def test_a_robot_with_half_of_what_it_needs_is_refused(
    ca: str, certificate: str, key: str, why: str
) -> None:
    with pytest.raises(SecurityError, match=why):
        ClientSecurity.of_paths(ca, certificate, key)


def test_nothing_set_is_no_security_and_tls_alone_admits_no_stranger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ServerSecurity.of_paths("", "", "", False) is None
    assert ClientSecurity.of_paths("", "", "") is None
    server = ServerSecurity.of_paths("c", "k", "", False)
    client = ClientSecurity.of_paths("a", "", "")
    assert server is not None
    assert client is not None
    assert not server.authenticates
    assert not client.authenticates
    monkeypatch.setenv(TOKEN_VARIABLE, SECRET)
    with_token = ServerSecurity.of_paths("c", "k", "a", False)
    assert with_token is not None
    assert with_token.authenticates
    required = ServerSecurity.of_paths("c", "k", "a", True)
    assert required is not None
    assert required.authenticates


def _encrypt(path: Path) -> None:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


@pytest.fixture
def files(tmp_path: Path) -> ServerSecurity:
    """A server's own files, to be spoilt."""
    authority = Authority.create()
    authority.issued.write(tmp_path, "ca")
    authority.cloud(["localhost"], 1).write(tmp_path, "cloud")
    paths = [str(tmp_path / name) for name in ("cloud.crt", "cloud.key", "ca.crt")]
    security = ServerSecurity.of_paths(*paths, require_certificate=True)
    assert security is not None
    return security


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda s: s.certificate.unlink(), r"cloud\.crt does not exist"),
        (lambda s: s.key.unlink(), r"cloud\.key does not exist"),
        (lambda s: s.robot_ca.unlink(), r"ca\.crt does not exist"),
        (lambda s: s.robot_ca.write_text("nonsense"), r"ca\.crt is not a PEM CA"),
        (lambda s: s.certificate.write_text("nonsense"), "not a PEM certificate and its key"),
        (lambda s: _encrypt(s.key), "is encrypted"),
    ],
)
def test_files_that_cannot_be_used_are_named(files: Any, spoil: Any, why: str) -> None:
    files.context()
    spoil(files)
    with pytest.raises(SecurityError, match=why):
        files.context()


def test_the_key_of_another_certificate_is_refused(files: Any) -> None:
    Authority.create().issued.write(files.key.parent, "other")
    files.key.write_bytes((files.key.parent / "other.key").read_bytes())
    with pytest.raises(SecurityError, match="not a PEM certificate and its key"):
        files.context()


def test_a_key_that_others_can_read_is_warned_about(
    files: Any, caplog: pytest.LogCaptureFixture
) -> None:
    files.key.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        files.context()
    assert "chmod 600" in caplog.text


@pytest.mark.parametrize(
    "subject",
    [
        (),
        ((("organizationName", "x"),),),
        ((("commonName", "a"),), (("commonName", "b"),)),
        ((("commonName", "a/b"),),),
        ((("commonName", ""),),),
        ((("commonName", "a" * 64),),),
        ((("commonName", "a\n"),),),
    ],
)
def test_a_certificate_that_does_not_name_one_robot_is_refused(subject: Any) -> None:
    with pytest.raises(SecurityError, match="must name its robot"):
        certificate_name({"subject": subject})


def test_the_common_name_is_the_robots_identity() -> None:
    subject = ((("organizationName", "fleet"),), (("commonName", "alice.front-2"),))
    assert certificate_name({"subject": subject}) == "alice.front-2"
