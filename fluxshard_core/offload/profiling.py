"""Measures a latency profile: sparse frames of rising compute on this machine, and dense ones."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

import numpy as np
import torch

from fluxshard_core.errors import InputError
from fluxshard_core.models.detector import DEFAULT_IOU, Detector
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.models.network import network_bytes
from fluxshard_core.offload.latency_profile import LatencyProfile, monotone
from fluxshard_core.sparse.backends import default_backend
from fluxshard_core.sparse.bench_scene import BenchScene
from fluxshard_core.sparse.capture import capture
from fluxshard_core.sparse.executor import Executor
from fluxshard_core.sparse.frame_run import FrameRun

SHARES: Final = (0.03, 0.06, 0.12, 0.25, 0.4, 0.6, 0.8)
"""Shares of critical blocks measured; one too small for the scene's motion is left out."""

_WARM_UP: Final = 6  # frames until the batch sizes that the pan brings have been met
_CONFIDENCE: Final = 0.25

Done = Callable[[int, int], None]
"""Called with the frames measured so far and all there are to measure."""


def measure_profile(
    detector: Detector,
    size: tuple[int, int],
    machine: str,
    *,
    shares: Sequence[float] = SHARES,
    repeats: int = 7,
    done: Done = lambda _count, _all: None,
) -> LatencyProfile:
    """Return the medians of ``repeats`` frames for every share, decoding included.

    ``size`` is ``(height, width)`` of the network's input, ``machine`` what the profile says it
    was made on. The scene pans, so caches move as they do on a robot.

    :raises InputError: if no share fits the scene.
    """
    run = _Run(detector, size)
    usable = [share for share in shares if run.fits(share)]
    if not usable:
        raise InputError(f"none of the shares {list(shares)} can be measured at {size}")
    total = (len(usable) + 1) * (repeats + _WARM_UP)
    ratios, sparse_ms = [], []
    for index, share in enumerate(usable):
        ratio, spent = run.sparse(share, repeats)
        ratios.append(ratio)
        sparse_ms.append(spent)
        done((index + 1) * (repeats + _WARM_UP), total)
    dense_ms = run.dense(repeats)
    done(total, total)
    curve = monotone(ratios, sparse_ms)
    name, threads = str(detector.name), torch.get_num_threads()
    return LatencyProfile(name, detector.model_hash, size, machine, threads, *curve, dense_ms)


class _Run:
    """One executor on one scene."""

    def __init__(self, detector: Detector, size: tuple[int, int]) -> None:
        self._detector = detector
        self._executor = Executor(capture(detector.network, *size), default_backend())
        self._scene = BenchScene(*size)
        self._letterbox = Letterbox.fit(*size)
        rng = np.random.default_rng(0)
        self._image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        self._count = 0

    def fits(self, share: float) -> bool:
        """Whether the scene's own motion leaves so few blocks critical."""
        try:
            self._scene.blocks(share, "clustered")
        except InputError:
            return False
        return True

    def sparse(self, share: float, repeats: int) -> tuple[float, float]:
        """Return the mean compute ratio and the median milliseconds of frames at ``share``."""
        blocks = self._scene.blocks(share, "clustered")

        def frame() -> FrameRun:
            self._count += 1
            motion = self._scene.motion(self._count)
            return self._executor.run(network_bytes(self._image), motion, blocks)

        runs, spent = self._timed(frame, repeats)
        return statistics.mean(run.compute_ratio for run in runs), statistics.median(spent)

    def dense(self, repeats: int) -> float:
        """Return the median milliseconds of frames computed whole."""
        everything = self._scene.blocks(1.0, "clustered")

        def frame() -> FrameRun:
            self._executor.reset()
            return self._executor.run(network_bytes(self._image), None, everything)

        return statistics.median(self._timed(frame, repeats)[1])

    def _timed(
        self, frame: Callable[[], FrameRun], repeats: int
    ) -> tuple[list[FrameRun], list[float]]:
        runs, spent = [], []
        for _ in range(_WARM_UP + repeats):
            start = perf_counter()
            run = frame()
            self._detector.decode(
                run.outputs, self._letterbox, confidence=_CONFIDENCE, iou=DEFAULT_IOU
            )
            spent.append((perf_counter() - start) * 1e3)
            runs.append(run)
        return runs[_WARM_UP:], spent[_WARM_UP:]
