"""The edge's end of a `netlab` run, a process in its own namespace: prints a JSON line a frame."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice

from fluxshard_core.evaluation.datasets import open_frames
from fluxshard_core.evaluation.netlab.decisions import decide
from fluxshard_core.evaluation.netlab.methods import Runner, Specification
from fluxshard_core.frame import Frame
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.dispatcher import Decision
from fluxshard_core.offload.security import ClientSecurity
from fluxshard_core.session import Engine


@dataclass(frozen=True)
class Replay:
    """What one run does; travels to the process as JSON.

    The first ``warm_up`` of ``frames`` are printed but not meant to be counted. ``fps`` 0 takes
    the next frame when the last one is done. ``decisions`` names a trained model that says what is
    in the frames in place of ``model``, whose weights may be random.
    """

    method: str
    model: str
    random_seed: int | None
    size: tuple[int, int] | None
    path: str
    frames: int
    warm_up: int
    fps: float
    threads: int
    host: str = ""
    port: int = 0
    ca: str = ""
    certificate: str = ""
    key: str = ""
    decisions: str = ""

    def to_json(self) -> str:
        """Return what :meth:`from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Replay:
        """Read what ``to_json`` wrote."""
        values = json.loads(text)
        size = values.pop("size")
        return cls(**values, size=(size[0], size[1]) if size else None)


def run(replay: Replay) -> Iterator[dict[str, object]]:
    """Yield what came of every frame; ``ms`` is from frame in to result out."""
    method = Specification.parse(replay.method)
    detector = Detector.load(
        replay.model,
        input_size=replay.size,
        random_seed=replay.random_seed,
        threads=replay.threads,
    )
    with ExitStack() as stack:
        transport = None
        if method.needs_cloud:
            security = ClientSecurity.of_paths(replay.ca, replay.certificate, replay.key)
            transport = stack.enter_context(
                TcpTransport(replay.host, replay.port, security=security)
            )
        frames = list(islice(open_frames(replay.path), replay.frames))
        told = decide(replay.decisions, frames, method.config) if replay.decisions else None
        runner = method.open(Engine(detector), transport, told)
        for number, frame in enumerate(_paced(frames, replay.fps, runner)):
            started = time.perf_counter()
            result = runner.process(frame)
            yield {
                "number": number,
                "counted": number >= replay.warm_up,
                "ms": (time.perf_counter() - started) * 1e3,
                "at": started,
                "path": result.path,
                "realised_ms": result.realised_ms,
                **_decision(result.decision),
                "tx_bytes": result.tx_bytes,
                "rx_bytes": result.rx_bytes,
                "stage_ms": result.stage_ms,
                "compute_ratio": result.compute_ratio,
                "background_bytes": result.background.tx_bytes,
                "fallback": result.fallback_reason,
            }


def _decision(decision: Decision | None) -> dict[str, object]:
    if decision is None:
        return {}
    return {
        "edge_ms": decision.edge_ms,
        "cloud_ms": decision.cloud_ms,
        "reason": decision.reason,
    }


def _paced(frames: Sequence[Frame], fps: float, runner: Runner) -> Iterator[Frame]:
    """Yield the frames, each when it is due; until then the session is idle."""
    due = time.perf_counter()
    for frame in frames:
        if fps:
            runner.session.idle(partial(_reached, due))
            time.sleep(max(0.0, due - time.perf_counter()))
            due = max(due + 1.0 / fps, time.perf_counter())
        yield frame


def _reached(due: float) -> bool:
    return time.perf_counter() >= due


def main() -> None:
    """Run what stands on standard input."""
    for line in run(Replay.from_json(sys.stdin.read())):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
