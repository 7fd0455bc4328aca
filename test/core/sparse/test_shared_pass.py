"""A pass shared by several endpoints gives each what it would have computed alone."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fluxshard_core.errors import InputError
from fluxshard_core.models.detector import Detector
from fluxshard_core.motion.field import MotionField, block_grid
from fluxshard_core.sparse.binding import Binding
from fluxshard_core.sparse.capture import capture
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.frame_run import FrameRun
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.together import Job, run_together

ROBOTS = 4
Frames = list[tuple[torch.Tensor, MotionField, np.ndarray]]


@pytest.fixture(autouse=True)
def one_thread(two_threads: None) -> None:
    torch.set_num_threads(1)


class Fleet:
    """The same robots twice: some run together, their doubles each alone."""

    def __init__(
        self, plan: Plan, new_backend: Any, *, exact: bool = True, crossing: float = 0.8
    ) -> None:
        backend, options = new_backend(exact=exact), ExecutorOptions(crossing=crossing)
        binding = Binding(plan, backend)
        self.plan = plan
        self.together, self.alone = (
            [Executor(plan, backend, options, binding) for _ in range(ROBOTS)] for _ in range(2)
        )

    def frames(self, rng: np.random.Generator, shares: list[float]) -> Frames:
        """One frame for each robot, its ``share`` of the blocks critical."""
        spec = self.plan.tensors[self.plan.inputs[0]]
        grid = block_grid(spec.height, spec.width)
        frames = []
        for share in shares:
            pixels = rng.standard_normal((1, spec.channels, spec.height, spec.width))
            vectors = rng.integers(-90, 90, (*grid, 2)).astype(np.int16)
            vectors[rng.random(grid) < 0.8] = rng.integers(-40, 40, 2)
            motion = MotionField(vectors, rng.random(grid) < 0.97)
            image = torch.from_numpy(pixels.astype(np.float32))
            frames.append((image, motion, rng.random(grid) < share))
        return frames

    def run(self, frames: Frames) -> list[tuple[FrameRun, FrameRun]]:
        """Return each robot's run in company and its double's."""
        jobs = [
            Job(executor, image, executor.scheduler.next(motion, blocks))
            for executor, (image, motion, blocks) in zip(self.together, frames, strict=True)
        ]
        alone = [one.run(*frame) for one, frame in zip(self.alone, frames, strict=True)]
        return list(zip(run_together(jobs), alone, strict=True))


@pytest.mark.parametrize("seed", range(12))
def test_an_exact_backend_gives_the_same_bits_in_company_and_alone(
    random_plan: Callable[[int], Plan], seed: int, new_backend: Any
) -> None:
    fleet, rng = Fleet(random_plan(seed), new_backend, crossing=9.0), np.random.default_rng(seed)
    fleet.run(fleet.frames(rng, [1.0] * ROBOTS))
    for shares in ([0.1, 0.4, 0.0, 0.2], [0.0, 0.0, 0.3, 0.0], [0.6, 0.05, 0.05, 1.0]):
        for together, alone in fleet.run(fleet.frames(rng, shares)):
            assert together.dense_reason == alone.dense_reason == ""
            for one, other in zip(together.outputs, alone.outputs, strict=True):
                assert torch.equal(one, other)
            for level, cells in together.recomputed.items():
                assert np.array_equal(cells, alone.recomputed[level])


def test_yolo11n_finds_the_same_in_company_up_to_rounding(new_backend: Any) -> None:
    plan = capture(Detector.load("yolo11n", random_seed=0).network, 128, 160)
    fleet, rng = Fleet(plan, new_backend, exact=False), np.random.default_rng(0)
    shared = 0
    for shares in ([1.0] * ROBOTS, [0.1, 0.3, 0.05, 1.0], [0.0, 0.2, 0.02, 0.1]):
        for together, alone in fleet.run(fleet.frames(rng, shares)):
            assert together.dense_reason == alone.dense_reason
            shared += not together.dense_reason
            for one, other in zip(together.outputs, alone.outputs, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert shared == 7, "the first frames and one that is mostly active are computed whole"


def test_what_company_costs_is_divided_among_all(
    random_plan: Callable[[int], Plan], new_backend: Any
) -> None:
    fleet, rng = Fleet(random_plan(3), new_backend, crossing=9.0), np.random.default_rng(3)
    fleet.run(fleet.frames(rng, [1.0] * ROBOTS))
    runs = fleet.run(fleet.frames(rng, [0.3, 0.3, 0.1, 0.1]))
    together, alone = (sum(run.executed for run in side) for side in zip(*runs, strict=True))
    assert 0 < together <= alone * 1.13, "a batch is padded by at most an eighth"


def test_one_executor_cannot_run_two_frames_at_once(
    random_plan: Callable[[int], Plan], new_backend: Any
) -> None:
    fleet, rng = Fleet(random_plan(0), new_backend), np.random.default_rng(0)
    (image, motion, blocks), *_ = fleet.frames(rng, [1.0] * ROBOTS)
    executor = fleet.together[0]
    job = Job(executor, image, executor.scheduler.next(motion, blocks))
    with pytest.raises(InputError, match="one frame at a time"):
        run_together([job, job])


def test_after_a_pass_that_failed_every_member_starts_whole(
    random_plan: Callable[[int], Plan], monkeypatch: pytest.MonkeyPatch, new_backend: Any
) -> None:
    fleet, rng = Fleet(random_plan(5), new_backend, crossing=9.0), np.random.default_rng(5)
    fleet.run(fleet.frames(rng, [1.0] * ROBOTS))
    with monkeypatch.context() as broken:
        for robot in fleet.together:
            runner = SimpleNamespace(blocks=lambda *_: 1 / 0)
            broken.setattr(robot.network, "runner", runner)
        with pytest.raises(ZeroDivisionError):
            fleet.run(fleet.frames(rng, [0.2] * ROBOTS))
    for together, _ in fleet.run(fleet.frames(rng, [0.2] * ROBOTS)):
        assert together.dense_reason == "the previous frame failed"
