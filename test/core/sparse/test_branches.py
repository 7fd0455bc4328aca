"""Heads and shape branches: found from the graph, recomputed apart, exact where asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fluxshard_core.models.network import network_input
from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.level_keys import head_key, shape_key
from fluxshard_core.session import Engine
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.plan import Plan

SIZE = (96, 128)


@pytest.fixture(scope="module")
def plan(random_engine: Callable[[str], Engine]) -> Plan:
    return random_engine("yolo11n-seg").plan(*SIZE)


def frame(seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return network_input(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))


def blocks(value: bool) -> np.ndarray:
    return np.full((SIZE[0] // 16, SIZE[1] // 16), value)


def test_a_segmentation_network_has_a_head_a_stride_and_a_shape_branch(plan: Plan) -> None:
    assert plan.level_keys == (
        *(1, 2, 4, 8, 16, 32),
        *(head_key(8), head_key(16), head_key(32)),
        shape_key(4),
    )
    branches = {name: spec.branch for name, spec in plan.tensors.items()}
    assert branches["head.box.0.0.conv"] == branches["head.classes.0.2"] == head_key(8)
    assert branches["head.prototypes.cv1.conv"] == shape_key(4)
    assert branches["layers.16.cv2.conv"] == branches["image"] == 0


def test_a_branch_left_alone_keeps_its_outputs_and_costs_nothing(
    plan: Plan, new_backend: Any
) -> None:
    executor = Executor(plan, new_backend(), ExecutorOptions(crossing=2.0))
    before = executor.run(frame(0), None, blocks(True)).outputs
    sets = dict.fromkeys(plan.level_keys, blocks(True)) | {head_key(8): blocks(False)}
    run = executor.run(frame(1), None, sets)
    dense = Executor(plan, new_backend()).run(frame(1), None, blocks(True)).outputs
    for index, (old, new, wanted) in enumerate(zip(before, run.outputs, dense, strict=True)):
        stale = plan.tensors[plan.outputs[index]].branch == head_key(8)
        assert torch.equal(new, old if stale else wanted)
    assert run.executed < 0.95 * run.dense


def test_without_sets_of_their_own_branches_go_with_the_trunk(plan: Plan, new_backend: Any) -> None:
    executor = Executor(plan, new_backend(), ExecutorOptions(crossing=2.0))
    executor.run(frame(0), None, blocks(True))
    run = executor.run(frame(1), None, dict.fromkeys(plan.strides, blocks(True)))
    dense = Executor(plan, new_backend()).run(frame(1), None, blocks(True)).outputs
    assert all(map(torch.equal, run.outputs, dense))


def test_outputs_tell_how_far_their_reused_content_has_to_move(
    plan: Plan, new_backend: Any
) -> None:
    executor = Executor(plan, new_backend(), ExecutorOptions(crossing=2.0))
    first = executor.run(frame(0), None, blocks(True))
    assert all(offset is None for offset in first.offsets)
    motion = MotionField.zero(*SIZE)
    motion.vectors[...] = 4 * 3, 0  # 3 px to the right: no whole cell of 8
    sets = dict.fromkeys(plan.level_keys, blocks(False))
    offsets = executor.run(frame(1), motion, sets).offsets
    for name, offset in zip(plan.outputs, offsets, strict=True):
        spec = plan.tensors[name]
        if spec.stride >= 8:
            assert offset is not None
            assert offset.shape == (2, spec.height, spec.width)
            assert (offset[:, :, spec.width // 2] == [[0], [12]]).all()
