"""`fluxshard cloud`: ready when it says so, closed to strangers, and stopped in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fluxshard_core.commands.cloud import command
from fluxshard_core.errors import FluxShardError
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.offload import shard_codec
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.messages import ShardFrame
from fluxshard_core.offload.transport import LinkDown

CLOUD = [sys.executable, "-c", "from fluxshard_core.cli import main; main()", "cloud"]


@dataclass
class Cloud:
    """The command as a process that prints JSON."""

    process: subprocess.Popen[str]

    def event(self) -> dict[str, Any]:
        """Return what its next line says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return dict(json.loads(line))


@pytest.fixture
def cloud(fleet: Any) -> Iterator[Cloud]:
    """A cloud on every address of this machine that admits the fleet's certificates."""
    paths = {name: str(fleet.folder / name) for name in ("cloud.crt", "cloud.key", "ca.crt")}
    arguments = [
        *("--model", "yolo11n", "--random-weights", "--threads", "1"),
        *("--host", "0.0.0.0", "--port", "0", "--require-client-cert"),
        *("--tls-cert", paths["cloud.crt"], "--tls-key", paths["cloud.key"]),
        *("--tls-ca", paths["ca.crt"], "--status-every", "0.2", "--json"),
    ]
    process = subprocess.Popen(
        [*CLOUD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield Cloud(process)
    process.kill()
    process.communicate()


def _request() -> ShardFrame:
    """A frame for a model that no cloud has."""
    shards = shard_codec.encode(np.zeros((32, 32, 3), np.uint8), shard_codec.all_blocks(32, 32))
    letterbox = Letterbox.fit(32, 32, (32, 32))
    return ShardFrame("mine", 1, 1, 1, "0" * 64, letterbox, 0.25, 0.7, shards)


def test_it_serves_the_fleet_tells_how_it_does_and_stops_in_order(cloud: Cloud, fleet: Any) -> None:
    ready = cloud.event()
    assert ready["event"] == "ready"
    assert (ready["tls"], ready["certificates"], ready["token"]) == (True, True, False)
    with TcpTransport("localhost", ready["port"], security=fleet.robot("robot-alice")) as transport:
        assert "this cloud runs yolo11n" in transport.infer(_request(), 20.0).error
        status = cloud.event()
        while status["frames"] == 0:
            status = cloud.event()
        assert (status["event"], status["robots"], status["errors"]) == ("status", 1, 1)
        cloud.process.send_signal(signal.SIGTERM)
        said, errors = cloud.process.communicate(timeout=20)
        with pytest.raises(LinkDown):
            transport.infer(_request(), 1.0)
    assert cloud.process.returncode == 0
    last = [json.loads(line)["event"] for line in said.splitlines()][-2:]
    assert last == ["stopping", "stopped"]
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("options", "token", "why"),
    [
        (["--host", "0.0.0.0"], "", "any other needs TLS and a proof"),
        (["--host", "0.0.0.0"], "t" * 32, "any other needs TLS and a proof"),
        (["--host", "192.0.2.1"], "", "any other needs TLS and a proof"),
        (["--require-client-cert"], "", "both the server's certificate and its key"),
        (["--host", "::", "--tls-cert", "c", "--tls-key", "k"], "", "needs TLS and a proof"),
        (["--host", "::", "--tls-cert", "c", "--tls-key", "k"], "short", "at least 32 are needed"),
    ],
)
def test_it_does_not_start_open_to_the_network(
    monkeypatch: pytest.MonkeyPatch, options: list[str], token: str, why: str
) -> None:
    monkeypatch.setitem(os.environ, "FLUXSHARD_TOKEN", token)
    arguments = ["--model", "yolo11n", "--random-weights", *options]
    with pytest.raises(FluxShardError, match=why) as refused:
        CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert not token or token not in str(refused.value)
