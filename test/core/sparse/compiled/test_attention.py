"""Frames of YOLO11 with the attention kernel: what the network computes, sparse as dense."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fluxshard_core.motion.field import MotionField, block_grid
from fluxshard_core.session import Engine
from fluxshard_core.sparse.binding import IslandStep
from fluxshard_core.sparse.compiled.attention import CompiledAttention
from fluxshard_core.sparse.compiled.backend import CompiledBackend
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.threads import computing

SIZE = 128, 160
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])


@pytest.fixture
def engine(random_engine: Callable[[str], Engine]) -> Engine:
    return random_engine("yolo11n")


def executor(plan: Plan, dtype: torch.dtype, **options: Any) -> Executor:
    made = Executor(plan, CompiledBackend(dtype), ExecutorOptions(crossing=math.inf, **options))
    (island,) = (step for step in made.network.steps if isinstance(step, IslandStep))
    assert isinstance(island.operator, CompiledAttention)
    return made


def test_a_frame_is_what_the_network_computes(engine: Engine) -> None:
    image = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    everywhere = np.ones(block_grid(*SIZE), dtype=bool)
    found = executor(engine.plan(*SIZE), torch.float32).run(image, None, everywhere).outputs
    with torch.inference_mode():
        expected = engine.detector.network(image)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * max(1, other.abs().max()))


@dtypes
def test_exact_frames_on_three_threads_have_the_bits_of_dense_ones_on_one(
    engine: Engine, random_scene: Callable[..., Any], dtype: torch.dtype
) -> None:
    plan = engine.plan(*SIZE)
    sparse, dense = (executor(plan, dtype, mode="exact") for _ in range(2))
    for frame, motion in random_scene(plan, 0, 3):
        with computing(3):
            found = sparse.run(frame, motion).outputs
        dense.reset()
        with computing(1):
            expected = dense.run(frame).outputs
        assert all(map(torch.equal, found, expected))


@dtypes
def test_blocks_of_a_still_frame_restore_what_was_computed_whole(
    engine: Engine, dtype: torch.dtype
) -> None:
    plan, still = engine.plan(*SIZE), MotionField.zero(*SIZE)
    image = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    one = executor(plan, dtype)
    blocks = np.random.default_rng(2).random(block_grid(*SIZE)) < 0.3
    with computing(1):
        whole = one.run(image, None, np.ones_like(blocks)).outputs
    for threads in (1, 2, 3):
        with computing(threads):
            run = one.run(image, still, blocks)
        assert not run.dense_reason
        assert all(map(torch.equal, run.outputs, whole))
