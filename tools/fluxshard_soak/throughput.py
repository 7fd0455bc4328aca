"""How many frames a second one cloud answers, robots sharing passes against one by one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice

import numpy as np

from fluxshard_core.baselines.in_process import InProcessTransport
from fluxshard_core.cloud_service import CloudService
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.session import EdgeSession, Engine, SessionConfig
from fluxshard_soak.robot import pictures


@dataclass(frozen=True)
class Throughput:
    """Frames a second with passes shared and without; ``compute_ratio`` is the frames' mean."""

    together_fps: float
    one_by_one_fps: float
    compute_ratio: float
    robots: int

    @property
    def gain(self) -> float:
        """How many times as many frames the same machine answers."""
        return self.together_fps / self.one_by_one_fps


class _Recorder(InProcessTransport):
    """Keeps the requests a robot makes."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.requests: list[ShardFrame] = []

    def infer(self, frame: ShardFrame, timeout_s: float) -> InferenceResult:
        self.requests.append(frame)
        return super().infer(frame, timeout_s)


def measure(
    model: str,
    size: tuple[int, int],
    robots: int,
    frames: int,
    *,
    random_seed: int | None = None,
    rounds: int = 3,
) -> Throughput:
    """Replay ``frames`` recorded requests of each robot to a fresh cloud, both ways in turn.

    The frames of a session's start, which are computed whole, are served before the clock runs.
    """
    engine = Engine(Detector.load(model, random_seed=random_seed, threads=1))
    requests = [_record(engine, size, offset, frames) for offset in range(robots)]
    best: dict[bool, float] = {}
    ratios: list[float] = []
    for _ in range(rounds):
        for together in (True, False):
            seconds, ratios = _replay(engine, requests, together)
            best[together] = min(seconds, best.get(together, seconds))
    served = len(ratios)
    return Throughput(
        served / best[True], served / best[False], float(np.mean(ratios)), len(requests)
    )


def _record(engine: Engine, size: tuple[int, int], offset: int, count: int) -> list[ShardFrame]:
    recorder = _Recorder(engine)
    # Only what is found with confidence counts as salient, so that few blocks are active.
    config = SessionConfig(path="cloud", reuse=ReuseConfig(salience_threshold=0.7))
    with EdgeSession(engine, config, recorder) as session:
        for frame in islice(pictures(size, offset), count + 1):
            session.process(frame)
    return recorder.requests


def _replay(
    engine: Engine, requests: list[list[ShardFrame]], together: bool
) -> tuple[float, list[float]]:
    service = CloudService(engine, max_sessions=len(requests))
    turns = list(zip(*requests, strict=True))
    service.handle_many(turns[0])
    ratios = []
    started = time.perf_counter()
    for turn in turns[1:]:
        answers = service.handle_many(turn) if together else [service.handle(one) for one in turn]
        for answer in answers:
            if answer.error:
                raise RuntimeError(answer.error)
            ratios.append(answer.compute_ratio)
    return time.perf_counter() - started, ratios
