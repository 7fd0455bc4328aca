"""`fluxshard certs`: what it makes works, is private, and never replaces anything."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509

from fluxshard_core.commands.certs import command
from fluxshard_core.errors import FluxShardError
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.messages import ShardFrame
from fluxshard_core.offload.security import ClientSecurity, SecurityError, ServerSecurity
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.transport import LinkError


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A CA, a cloud and a robot."""
    out = tmp_path / "certs"
    run("--out", str(out), "--cloud", "localhost", "--cloud", "127.0.0.1", "--robot", "r1")
    return out


def test_keys_are_for_their_owner_only(folder: Path) -> None:
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {name for name, mode in modes.items() if mode == 0o600} == {
        "ca.key",
        "cloud.key",
        "robot-r1.key",
    }
    assert len(modes) == 6


def _admitted(folder: Path, robot: str) -> str:
    """Connect a robot over mutual TLS; return why it failed, or nothing."""

    def never(frame: ShardFrame) -> object:
        raise AssertionError(frame)

    server_security = ServerSecurity(
        folder / "cloud.crt", folder / "cloud.key", folder / "ca.crt", require_certificate=True
    )
    client_security = ClientSecurity(
        folder / "ca.crt", folder / f"{robot}.crt", folder / f"{robot}.key"
    )
    with (
        InferenceServer(never, security=server_security) as server,
        TcpTransport("localhost", server.port, security=client_security) as transport,
    ):
        try:
            transport._loop_thread.submit(transport._link._first_attempt.wait()).result(5.0)
        except LinkError as error:
            return str(error)
        return "" if transport.connected else transport._link._reason


def test_the_files_let_a_robot_in_and_a_later_robot_too(folder: Path) -> None:
    assert _admitted(folder, "robot-r1") == ""
    assert "signed by the CA that was in" in run("--out", str(folder), "--robot", "r2")
    assert _admitted(folder, "robot-r2") == ""
    assert "before it admitted" in _admitted(folder, "cloud")


def test_nothing_is_overwritten_and_nothing_half_made_is_left(folder: Path) -> None:
    before = {file: file.read_bytes() for file in folder.iterdir()}
    for arguments in (
        ["--robot", "r1"],
        ["--cloud", "localhost"],
        ["--robot", "r3", "--robot", "r1"],
    ):
        with pytest.raises(SecurityError, match="already exists"):
            run("--out", str(folder), *arguments)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("missing", ["ca.key", "ca.crt"])
def test_half_a_ca_is_not_replaced_by_a_new_one(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(SecurityError, match="no CA that can be used"):
        run("--out", str(folder), "--robot", "r2")
    assert not (folder / "robot-r2.crt").exists()


def test_the_key_of_another_ca_is_not_used(folder: Path, tmp_path: Path) -> None:
    run("--out", str(tmp_path / "other"), "--robot", "x")
    (folder / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    with pytest.raises(SecurityError, match="does not belong"):
        run("--out", str(folder), "--robot", "r2")


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "-x", "x" * 64, "a\nb"])
def test_a_name_that_cannot_be_a_file_and_an_identity_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FluxShardError, match="cannot name a robot"):
        run("--out", str(tmp_path / "out"), "--robot", name)
    assert not (tmp_path / "out").exists()


def test_a_host_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match="neither an IP address nor a host name"):
        run("--out", str(tmp_path / "out"), "--cloud", "https://cloud")


@pytest.mark.parametrize("arguments", [[], ["--robot", "a", "--robot", "a"]])
def test_a_call_that_asks_for_nothing_or_twice_is_explained(
    tmp_path: Path, arguments: list[str]
) -> None:
    result = CliRunner().invoke(command, ["--out", str(tmp_path), *arguments])
    assert result.exit_code == 2
    assert "--robot" in result.output


def test_certificates_say_what_they_are_for(folder: Path) -> None:
    for name, server, client in (("cloud", True, False), ("robot-r1", False, True)):
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert (x509.oid.ExtendedKeyUsageOID.SERVER_AUTH in uses) == server
        assert (x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH in uses) == client
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert not constraints.value.ca
    ca = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
