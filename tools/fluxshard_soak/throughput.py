"""How many frames a second one cloud answers, robots served together against one by one."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from fluxshard_core.baselines.in_process import InProcessTransport
from fluxshard_core.cloud_process import ProcessSettings
from fluxshard_core.cloud_processes import CloudProcesses
from fluxshard_core.cloud_service import IDLE_S, MAX_MEMORY_MB, CloudService
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload.inference_worker import InferenceWorker
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.session import EdgeSession, Engine, SessionConfig
from fluxshard_core.shared_cores import WORTH_A_THREAD, SharedCores
from fluxshard_soak.robot import pictures


@dataclass(frozen=True)
class Throughput:
    """Frames a second of robots that are served together, and of the same ones served one by one:
    on as many cores as each frame is worth, and on all of them; ``compute_ratio`` is the mean."""

    together_fps: float
    worth_fps: float
    all_cores_fps: float
    compute_ratio: float
    robots: int

    @property
    def one_by_one_fps(self) -> float:
        """The faster way to serve one robot after another."""
        return max(self.worth_fps, self.all_cores_fps)

    @property
    def gain(self) -> float:
        """How many times as many frames the same machine answers."""
        return self.together_fps / self.one_by_one_fps


Requests = Sequence[Sequence[ShardFrame]]
Served = tuple[float, list[InferenceResult]]


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
    """Replay ``frames`` recorded requests of each robot to a fresh cloud, every way in turn.

    Together every robot sends its next frame when it has the answer to the last one, to the queue
    and the processes of a real cloud. One by one each frame has a process and all cores to itself.
    The frames of a session's start, which are computed whole, are served before the clock runs.
    """
    cores = len(os.sched_getaffinity(0))
    engine = Engine(Detector.load(model, random_seed=random_seed, threads=cores))
    requests = [_record(engine, size, offset, frames) for offset in range(robots)]
    settings = ProcessSettings(model, random_seed, cores, [size], robots, MAX_MEMORY_MB, IDLE_S)
    with CloudProcesses(settings, cores) as processes:
        ways = {
            "together": partial(_together, processes),
            "worth": partial(_one_by_one, engine),
            "all cores": partial(_one_by_one, engine, worth_a_thread=1),
        }
        fastest = dict.fromkeys(ways, math.inf)
        ratios: list[float] = []
        for _ in range(rounds):
            for way, serve in ways.items():
                seconds, ratios = _replay(requests, serve)
                fastest[way] = min(seconds, fastest[way])
    together, worth, all_cores = (len(ratios) / seconds for seconds in fastest.values())
    return Throughput(together, worth, all_cores, float(np.mean(ratios)), len(requests))


def _record(engine: Engine, size: tuple[int, int], offset: int, count: int) -> list[ShardFrame]:
    recorder = _Recorder(engine)
    # Only what is found with confidence counts as salient, so that few blocks are active.
    config = SessionConfig(path="cloud", reuse=ReuseConfig(salience_threshold=0.7))
    with EdgeSession(engine, config, recorder) as session:
        for frame in islice(pictures(size, offset), count + 1):
            session.process(frame)
    return recorder.requests


def _replay(
    requests: Requests, serve: Callable[[Requests, Requests], Served]
) -> tuple[float, list[float]]:
    """Return the seconds that ``serve`` took, and the frames' compute ratios."""
    first, later = [one[:1] for one in requests], [one[1:] for one in requests]
    seconds, answers = serve(first, later)
    for answer in answers:
        if answer.error:
            raise RuntimeError(answer.error)
    return seconds, [answer.compute_ratio for answer in answers]


def _one_by_one(
    engine: Engine, first: Requests, later: Requests, worth_a_thread: int = WORTH_A_THREAD
) -> Served:
    cores = SharedCores(worth_a_thread)
    service = CloudService(engine, max_sessions=len(first), cores=cores)
    service.handle_many([frames[0] for frames in first])
    started = time.perf_counter()
    answers = [service.handle(frame) for turn in zip(*later, strict=True) for frame in turn]
    return time.perf_counter() - started, answers


def _together(cloud: CloudProcesses, first: Requests, later: Requests) -> Served:
    for frames in first:
        cloud.handle(frames[0])
    worker = InferenceWorker(
        cloud.handle, len(first), serve=cloud.serve, lanes=cloud.lanes, lane_of=cloud.lane_of
    )
    answers: list[InferenceResult] = []
    answered = threading.Semaphore(0)

    def send(robot: int, number: int) -> None:
        def deliver(answer: InferenceResult) -> None:
            answers.append(answer)
            if number + 1 < len(later[robot]):
                send(robot, number + 1)
            answered.release()

        worker.submit(robot, later[robot][number], deliver)

    worker.start()
    started = time.perf_counter()
    for robot in range(len(later)):
        send(robot, 0)
    for _ in range(sum(map(len, later))):
        answered.acquire()
    seconds = time.perf_counter() - started
    worker.drain(1.0)
    return seconds, answers
