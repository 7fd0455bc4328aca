"""Runs every method over every rate: a real cloud in one namespace, a real edge in the other."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from fluxshard_core.evaluation.netlab.link import CLOUD_ADDRESS, NetlabError, ShapedLink
from fluxshard_core.evaluation.netlab.methods import Specification
from fluxshard_core.evaluation.netlab.processor import ProcessorShare
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
    """One method over one rate; milliseconds from frame in to result out, warm-up left out.

    ``lines`` is what the edge said of every frame.
    """

    rate: str
    method: str
    frames: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    mean_bytes: float
    on_cloud: float
    compute_ratio: float
    fallbacks: int
    lines: Sequence[dict[str, Any]] = field(repr=False, default=())


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
    edge_share: float = 1.0,
) -> Iterator[Row]:
    """Yield a row as soon as a method has run over a rate, each in an edge process of its own,
    on ``edge_share`` of a core's time once it has started up.

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
                order = replace(_with_keys(replay, keys, robot), method=method.text)
                yield _row(rate, method, _run_one(link, rate, order, edge_share))


def _run_one(
    link: ShapedLink, rate: Rate, replay: Replay, edge_share: float
) -> list[dict[str, Any]]:
    """Return what the edge said of every frame. The rate begins to change after the warm-up."""
    edge = link.inside(link.edge, sys.executable, "-m", "fluxshard_core.evaluation.netlab.replay")
    lines: list[dict[str, Any]] = []
    with ExitStack() as running:
        processor = None
        if edge_share < 1:
            processor = running.enter_context(ProcessorShare(edge_share))
            edge = processor.inside(*edge)
        link.shape(rate.steps[0].mbit)
        robot = running.enter_context(_process(edge, replay.to_json()))
        assert robot.stdout is not None
        for text in robot.stdout:
            lines.append(json.loads(text))
            if processor and len(lines) == 1:
                processor.limit()
            if len(lines) == max(1, replay.warm_up):
                running.enter_context(rate.replayed(link.shape))
        if robot.wait():
            raise NetlabError(f"the edge running {replay.method} failed; its message is above")
    return lines


def _row(rate: Rate, method: Specification, said: Sequence[dict[str, Any]]) -> Row:
    lines = [line for line in said if line["counted"]]
    if not lines:
        raise NetlabError("no frame was left after the warm-up: give more frames")
    times = np.array([line["ms"] for line in lines])
    p50, p95, p99 = (float(np.percentile(times, share)) for share in (50, 95, 99))
    return Row(
        rate.name,
        method.text,
        len(lines),
        float(np.mean(times)),
        p50,
        p95,
        p99,
        float(np.mean([line["tx_bytes"] for line in lines])),
        float(np.mean([line["path"] == "cloud" for line in lines])),
        float(np.mean([line["compute_ratio"] for line in lines])),
        sum(bool(line["fallback"]) for line in lines),
        said,
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
