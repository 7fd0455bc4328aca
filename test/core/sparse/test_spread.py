"""The three rules of receptive-field alignment: two are exact, the published one is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import MotionField
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.operators import Backend
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.spread import RfapRule, accumulated_fields

Scene = list[tuple[torch.Tensor, MotionField]]


@pytest.fixture(autouse=True)
def one_thread(two_threads: None) -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def backend(new_backend: Any) -> Backend:
    return new_backend()


def wrong_frames(
    rule: RfapRule, plan: Plan, scene: Scene, backend: Backend
) -> tuple[int, list[int]]:
    """How many frames differ from the dense run, and what each executed."""
    options = ExecutorOptions("exact", crossing=9.0, rfap=rule)
    sparse, dense = (Executor(plan, backend, options) for _ in range(2))
    wrong, executed = 0, []
    for frame, motion in scene:
        run = sparse.run(frame, motion)
        executed.append(run.executed)
        dense.reset()
        wrong += not all(map(torch.equal, run.outputs, dense.run(frame).outputs))
    return wrong, executed


@pytest.mark.parametrize("seed", range(30))
def test_the_compact_rule_is_exact_too(
    random_plan: Callable[[int], Plan],
    random_scene: Callable[..., Scene],
    backend: Backend,
    seed: int,
) -> None:
    plan = random_plan(seed)
    assert wrong_frames("compact", plan, random_scene(plan, seed, 4), backend)[0] == 0


def test_the_compact_rule_recomputes_no_less_than_the_check_of_every_layer(
    random_plan: Callable[[int], Plan], random_scene: Callable[..., Scene], backend: Backend
) -> None:
    more = 0
    for seed in range(20):
        plan = random_plan(seed)
        scene = random_scene(plan, seed, 4)
        each = wrong_frames("per_layer", plan, scene, backend)[1]
        once = wrong_frames("compact", plan, scene, backend)[1]
        assert all(a <= b for a, b in zip(each, once, strict=True))
        more += sum(once) > sum(each)
    assert more >= 5


def test_without_a_rule_wrong_values_are_reused(
    random_plan: Callable[[int], Plan], random_scene: Callable[..., Scene], backend: Backend
) -> None:
    wrong = 0
    for seed in range(20):
        plan = random_plan(seed)
        wrong += wrong_frames("none", plan, random_scene(plan, seed, 4), backend)[0]
    assert wrong >= 10


def test_fields_end_at_dense_islands_and_grow_through_every_window(
    plan_builder: Any, new_backend: Any
) -> None:
    builder = plan_builder(3, 48, 64)
    a = builder.conv("image", 4, stride=2)
    b = builder.conv(a, 4)
    plan = builder.build(b)
    fields = accumulated_fields(Executor(plan, new_backend()).network.binding)
    assert fields[a].size == (3, 3)
    assert fields[b].size == (7, 7)
    assert fields[b].stride == 2


def test_a_layer_may_have_its_own_threshold(plan_builder: Any, new_backend: Any) -> None:
    builder = plan_builder(3, 48, 64)
    a = builder.conv("image", 4, activation=None)
    plan = builder.build(builder.conv(a, 4, activation=None))
    frame = torch.randn((1, 3, 48, 64), generator=torch.Generator().manual_seed(0))
    drifted = frame + 0.01
    executed = []
    for thresholds in ({}, {a: 10.0}):
        options = ExecutorOptions("bounded", layer_thresholds=thresholds, crossing=9.0)
        executor = Executor(plan, new_backend(), options)
        executor.run(frame)
        executed.append(executor.run(drifted).executed)
    assert 0 < executed[1] < executed[0]
    with pytest.raises(InputError, match="no maps of the plan"):
        Executor(plan, new_backend(), ExecutorOptions("bounded", layer_thresholds={"x": 1.0}))
