"""Runs every method over every rate: a real cloud in one namespace, a real edge in the other."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from fluxshard_core.evaluation.netlab.link import CLOUD_ADDRESS, NetlabError, ShapedLink
from fluxshard_core.evaluation.netlab.methods import Specification
from fluxshard_core.evaluation.netlab.rates import Rate
from fluxshard_core.evaluation.netlab.replay import Replay
from fluxshard_core.offload.certificates import Authority

_PORT = 7447
_START_S = 120.0
_STOP_S = 10.0
_DAYS = 1
_FLUXSHARD = "from fluxshard_core.cli import main; main()"


@dataclass(frozen=True)
class Row:
    """One method over one rate; milliseconds from frame in to result out, warm-up left out."""

    rate: str
    method: str
    frames: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    mean_bytes: float
    on_cloud: float
    compute_ratio: float
    fallbacks: int


@dataclass(frozen=True)
class Cloud:
    """How the cloud process is started; ``size`` is the input it prepares for."""

    model: str
    size: tuple[int, int]
    random_weights: bool
    threads: int

    def command(self, keys: Path) -> list[str]:
        """Return its command line, for the namespace."""
        weights = ["--random-weights"] if self.random_weights else []
        tls = [f"--tls-cert={keys / 'cloud.crt'}", f"--tls-key={keys / 'cloud.key'}"]
        trust = [f"--tls-ca={keys / 'ca.crt'}", "--require-client-cert"]
        where = ["--host", CLOUD_ADDRESS, "--port", str(_PORT)]
        how = ["--threads", str(self.threads), "--json", "--status-every", "0"]
        model = ["cloud", "--model", self.model, "--size", f"{self.size[0]}x{self.size[1]}"]
        return [sys.executable, "-c", _FLUXSHARD, *model, *where, *how, *tls, *trust, *weights]


def run_lab(
    rates: Sequence[Rate],
    methods: Sequence[Specification],
    replay: Replay,
    cloud: Cloud,
    *,
    delay_ms: float = 0.0,
) -> Iterator[Row]:
    """Yield a row as soon as a method has run over a rate, each in an edge process of its own.

    Whatever ends the loop, no process, namespace or key is left behind.

    :raises NetlabError: when the link cannot be made, or a process fails.
    """
    with tempfile.TemporaryDirectory(prefix="fluxshard-netlab-") as folder:
        keys = Path(folder)
        authority = _make_keys(keys)
        with (
            ShapedLink(rates[0].steps[0].mbit, delay_ms) as link,
            _process(link.inside(link.cloud, *cloud.command(keys))) as server,
        ):
            _wait_until_ready(server)
            for number, (rate, method) in enumerate(product(rates, methods)):
                # A robot of its own, because one robot has few sessions at the same time.
                robot = f"netlab-{number}"
                authority.robot(robot, _DAYS).write(keys, robot)
                yield _run_one(link, rate, method, _with_keys(replay, keys, robot))


def _run_one(link: ShapedLink, rate: Rate, method: Specification, replay: Replay) -> Row:
    edge = link.inside(link.edge, sys.executable, "-m", "fluxshard_core.evaluation.netlab.replay")
    order = replace(replay, method=method.text).to_json()
    with rate.replayed(link.shape), _process(edge, order) as robot:
        assert robot.stdout is not None
        lines = [json.loads(line) for line in robot.stdout]
        if robot.wait():
            raise NetlabError(f"the edge running {method.text} failed; its message is above")
    return _row(rate, method, [line for line in lines if line["counted"]])


def _row(rate: Rate, method: Specification, lines: Sequence[dict[str, Any]]) -> Row:
    if not lines:
        raise NetlabError("no frame was left after the warm-up: give more frames")
    times = np.array([line["ms"] for line in lines])
    p50, p95, p99 = (float(np.percentile(times, share)) for share in (50, 95, 99))
    return Row(
        rate.name,
        method.text,
        len(lines),
        p50,
        p95,
        p99,
        float(np.mean([line["tx_bytes"] for line in lines])),
        float(np.mean([line["path"] == "cloud" for line in lines])),
        float(np.mean([line["compute_ratio"] for line in lines])),
        sum(bool(line["fallback"]) for line in lines),
    )


def _make_keys(folder: Path) -> Authority:
    authority = Authority.create("FluxShard netlab")
    authority.issued.write(folder, "ca")
    authority.cloud([CLOUD_ADDRESS], _DAYS).write(folder, "cloud")
    return authority


def _with_keys(replay: Replay, keys: Path, robot: str) -> Replay:
    return replace(
        replay,
        host=CLOUD_ADDRESS,
        port=_PORT,
        ca=str(keys / "ca.crt"),
        certificate=str(keys / f"{robot}.crt"),
        key=str(keys / f"{robot}.key"),
    )


@contextmanager
def _process(command: Sequence[str], order: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run a process in a session of its own until the block ends, so that Ctrl-C reaches only us
    and the order of the end is ours."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(order)
        process.stdin.close()
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(server: subprocess.Popen[str]) -> None:
    """Wait for the line the cloud prints when it serves, at most ``_START_S``."""
    watchdog = threading.Timer(_START_S, server.kill)
    watchdog.start()
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if json.loads(line).get("event") == "ready":
                return
    finally:
        watchdog.cancel()
    raise NetlabError("the cloud process did not start; its message is above")
