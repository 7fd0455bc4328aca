"""How many frames a second one cloud answers, robots served together against one by one."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from fluxshard_core.baselines.in_process import InProcessTransport
from fluxshard_core.cloud_service import CloudService
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload.inference_worker import InferenceWorker
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.session import EdgeSession, Engine, SessionConfig
from fluxshard_soak.robot import pictures


@dataclass(frozen=True)
class Throughput:
    """Frames a second of robots that are served together, and of the same ones served one by one;
    ``compute_ratio`` is the frames' mean."""

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
    threads: int | None = None,
) -> Throughput:
    """Replay ``frames`` recorded requests of each robot to a fresh cloud, both ways in turn.

    Together every robot sends its next frame when it has the answer to the last one, to the queue
    and the lanes of a real cloud. One by one each frame has the cloud to itself, all its threads.
    ``threads``: PyTorch's, by default all cores.

    The frames of a session's start, which are computed whole, are served before the clock runs.
    """
    engine = Engine(Detector.load(model, random_seed=random_seed, threads=threads))
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
    """Return the seconds it took, and the frames' compute ratios."""
    service = CloudService(engine, max_sessions=len(requests))
    service.handle_many([frames[0] for frames in requests])
    frames = [one[1:] for one in requests]
    started = time.perf_counter()
    answers = _together(service, frames) if together else _one_by_one(service, frames)
    seconds = time.perf_counter() - started
    for answer in answers:
        if answer.error:
            raise RuntimeError(answer.error)
    return seconds, [answer.compute_ratio for answer in answers]


def _one_by_one(
    service: CloudService, requests: Sequence[Sequence[ShardFrame]]
) -> list[InferenceResult]:
    return [service.handle(frame) for turn in zip(*requests, strict=True) for frame in turn]


def _together(
    service: CloudService, requests: Sequence[Sequence[ShardFrame]]
) -> list[InferenceResult]:
    answers: list[InferenceResult] = []
    left = threading.Semaphore(0)
    worker = InferenceWorker(
        service.handle, len(requests), serve=service.serve, lanes=service.cores.lanes
    )

    def send(robot: int, number: int) -> None:
        def deliver(answer: InferenceResult) -> None:
            answers.append(answer)
            if number + 1 < len(requests[robot]):
                send(robot, number + 1)
            left.release()

        worker.submit(robot, requests[robot][number], deliver)

    worker.start()
    for robot in range(len(requests)):
        send(robot, 0)
    for _ in range(sum(map(len, requests))):
        left.acquire()
    worker.drain(1.0)
    return answers
