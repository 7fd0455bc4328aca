"""A schedule drawn up from the plan alone is what the executor then does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fluxshard_core.motion.field import MotionField, block_grid
from fluxshard_core.sparse.executor import Executor
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.schedule import BlockScheduler


@pytest.fixture(autouse=True)
def one_thread(two_threads: None) -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("seed", range(12))
def test_a_scheduler_elsewhere_knows_what_the_executor_recomputes(
    random_plan: Callable[[int], Plan], seed: int, new_backend: Any
) -> None:
    plan = random_plan(seed)
    spec = plan.tensors["image"]
    executor, elsewhere = Executor(plan, new_backend()), BlockScheduler(plan)
    rng = np.random.default_rng(seed)
    grid = block_grid(spec.height, spec.width)
    frame = torch.randn((1, 3, spec.height, spec.width), generator=torch.Generator())
    executor.run(frame, None, np.ones(grid, dtype=np.bool_))
    for _ in range(6):
        vectors = rng.integers(-90, 90, (*grid, 2)).astype(np.int16)
        vectors[rng.random(grid) < 0.8] = (7, -3)
        motion = MotionField(vectors, rng.random(grid) < 0.95)
        blocks = rng.random(grid) < rng.choice([0.05, 0.3, 0.7])
        schedule = elsewhere.next(motion, blocks)
        run = executor.run(frame, motion, blocks)
        assert schedule.dense_reason == run.dense_reason
        assert schedule.recomputed.keys() == run.recomputed.keys()
        for level, cells in run.recomputed.items():
            assert np.array_equal(schedule.recomputed[level], cells)
        elsewhere.settle(schedule)


def test_a_schedule_that_is_not_settled_changes_nothing(random_plan: Callable[[int], Plan]) -> None:
    plan = random_plan(1)
    spec = plan.tensors["image"]
    scheduler = BlockScheduler(plan)
    nothing = np.zeros(block_grid(spec.height, spec.width), dtype=np.bool_)
    vectors = np.full((*nothing.shape, 2), 5, dtype=np.int16)
    motion = MotionField(vectors, ~nothing)
    first, again = scheduler.next(motion, nothing), scheduler.next(motion, nothing)
    for level, moved in first.moved.items():
        assert np.array_equal(moved.shift, again.moved[level].shift)
        assert np.array_equal(first.recomputed[level], again.recomputed[level])
    scheduler.settle(first)
    third = scheduler.next(motion, nothing)
    assert any(
        not np.array_equal(first.moved[level].shift, third.moved[level].shift)
        or (
            first.moved[level].residual is not None
            and not np.array_equal(first.moved[level].residual, third.moved[level].residual)
        )
        for level in first.moved
    )
