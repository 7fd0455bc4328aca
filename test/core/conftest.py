"""What tests of several rooms share: engines with random weights, and a fleet's certificates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from fluxshard_core.models.detector import Detector
from fluxshard_core.offload.certificates import Authority
from fluxshard_core.offload.security import ClientSecurity, ServerSecurity, Token
from fluxshard_core.session import Engine


@pytest.fixture(scope="session")
def random_engine() -> Callable[[str], Engine]:
    """``random_engine("yolo11n")``: weights of seed 0, one engine a model for all tests.

    To capture a plan takes seconds, once for each size. Nobody may change its network.
    """
    return cache(lambda model: Engine(Detector.load(model, random_seed=0)))


@dataclass(frozen=True)
class Fleet:
    """A CA's folder of files, and the settings of both ends made from them."""

    folder: Path
    authority: Authority
    token: Token

    @classmethod
    def create(cls, folder: Path) -> Fleet:
        authority = Authority.create()
        fleet = cls(folder, authority, Token("the fleet's secret of 32 characters or more"))
        authority.issued.write(folder, "ca")
        authority.cloud(["localhost", "127.0.0.1", "::1"], 30).write(folder, "cloud")
        authority.cloud(["localhost", "127.0.0.1"], 0).write(folder, "cloud-expired")
        authority.cloud(["cloud.example"], 30).write(folder, "cloud-elsewhere")
        for name in ("alice", "bob"):
            authority.robot(name, 30).write(folder, f"robot-{name}")
        authority.robot("alice", 0).write(folder, "robot-expired")
        return fleet

    def cloud(
        self, name: str = "cloud", *, certificates: bool = True, token: bool = False
    ) -> ServerSecurity:
        """The settings of a server that asks for certificates, the token, or both."""
        ca = self.folder / "ca.crt" if certificates else None
        return ServerSecurity(
            self.folder / f"{name}.crt",
            self.folder / f"{name}.key",
            robot_ca=ca,
            require_certificate=certificates and not token,
            token=self.token if token else None,
        )

    def robot(self, name: str | None, token: Token | None = None) -> ClientSecurity:
        """The settings of a robot with a certificate, a token, both or neither."""
        security = ClientSecurity(self.folder / "ca.crt", token=token)
        if name is None:
            return security
        return replace(
            security,
            certificate=self.folder / f"{name}.crt",
            key=self.folder / f"{name}.key",
        )


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The fleet under test: a cloud, the robots alice and bob, and bad certificates."""
    return Fleet.create(tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Another fleet, with the same names and another CA and token."""
    other = Fleet.create(tmp_path_factory.mktemp("strangers"))
    return replace(other, token=Token("another secret of 32 characters or more"))
