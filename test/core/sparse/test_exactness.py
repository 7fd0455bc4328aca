"""Exact mode equals the dense run bit for bit, whatever the network, the motion and the content.

``FLUXSHARD_EXACTNESS_EXAMPLES`` sets how many random networks each property draws (default 150;
each runs several frames).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from fluxshard_core.evaluation.exactness import moved_image, random_motion
from fluxshard_core.models.catalog import ModelName
from fluxshard_core.models.loading import random_model
from fluxshard_core.models.network import network_input
from fluxshard_core.motion.field import MotionField, block_grid
from fluxshard_core.reuse.rfap import ReceptiveFieldCheck
from fluxshard_core.sparse.capture import capture
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.frame_run import FrameRun
from fluxshard_core.sparse.intake import Mode
from fluxshard_core.sparse.operators import Backend
from fluxshard_core.sparse.ops.backend import CpuBackend
from fluxshard_core.sparse.plan import Plan

Scene = list[tuple[torch.Tensor, MotionField]]

EXAMPLES = int(os.environ.get("FLUXSHARD_EXACTNESS_EXAMPLES", "150"))


def examples(share: float) -> settings:
    """Hypothesis settings for a share of the examples."""
    return settings(
        max_examples=max(1, round(EXAMPLES * share)),
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


SEEDS = st.integers(0, 2**31 - 1)


@pytest.fixture(scope="module")
def backend(new_backend: Callable[..., Backend]) -> Backend:
    """One backend for all networks: what it learns about convolutions is shared."""
    return new_backend()


@pytest.fixture
def one_thread(two_threads: None) -> None:
    """Small maps run several times faster on one thread; ``two_threads`` puts the number back."""
    torch.set_num_threads(1)


def always_tiles(mode: Mode = "exact") -> ExecutorOptions:
    """Options that never fall back to a dense run."""
    return ExecutorOptions(mode=mode, crossing=math.inf)


def moving_picture(plan: Plan, seed: int, frames: int) -> Scene:
    """Frames of noise under the motion that ``fluxshard verify`` draws: much of it reusable."""
    spec = plan.tensors[plan.inputs[0]]
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (spec.height, spec.width, 3), dtype=np.uint8)
    scene = [(network_input(image), MotionField.zero(spec.height, spec.width))]
    for _ in range(frames - 1):
        motion = random_motion(rng, spec.height, spec.width)
        image = moved_image(rng, image, motion)
        scene.append((network_input(image), motion))
    return scene


def run_beside_dense(
    plan: Plan, backend: Backend, scene: Scene, mode: Mode = "exact"
) -> Iterator[tuple[FrameRun, bool]]:
    """Run a scene; yield each frame's run and whether every output equals the dense one."""
    sparse, dense = (Executor(plan, backend, always_tiles(mode)) for _ in range(2))
    for frame, motion in scene:
        run = sparse.run(frame, motion)
        dense.reset()
        outputs = dense.run(frame).outputs
        yield run, all(map(torch.equal, run.outputs, outputs))


def assert_identical(plan: Plan, backend: Backend, scene: Scene, mode: Mode = "exact") -> None:
    for index, (_, same) in enumerate(run_beside_dense(plan, backend, scene, mode)):
        assert same, f"frame {index} differs in\n{plan}"


@given(seed=SEEDS)
@examples(1.0)
@pytest.mark.usefixtures("one_thread")
def test_exact_mode_is_bit_identical_to_dense(
    random_plan: Callable[[int], Plan],
    random_scene: Callable[..., Scene],
    backend: Backend,
    seed: int,
) -> None:
    plan = random_plan(seed)
    note(str(plan))
    assert_identical(plan, backend, random_scene(plan, seed, 3))
    assert_identical(plan, backend, moving_picture(plan, seed, 4))


@given(seed=SEEDS)
@example(seed=7956)  # a branch whose cells had moved otherwise than those of the trunk it reads
@examples(0.3)
@pytest.mark.usefixtures("one_thread")
def test_bounded_mode_without_thresholds_is_bit_identical_while_it_carries_remainders(
    random_plan: Callable[[int], Plan],
    random_scene: Callable[..., Scene],
    backend: Backend,
    seed: int,
) -> None:
    plan = random_plan(seed)
    assert_identical(plan, backend, random_scene(plan, seed, 6, whole_pixels=False), "bounded")


@given(seed=SEEDS)
@examples(0.3)
@pytest.mark.usefixtures("one_thread")
def test_motion_that_is_not_true_costs_reuse_and_never_exactness(
    random_plan: Callable[[int], Plan],
    random_scene: Callable[..., Scene],
    backend: Backend,
    seed: int,
) -> None:
    """The vectors of one scene with the pictures of another, half of which stand still."""
    plan = random_plan(seed)
    pictures, vectors = (random_scene(plan, seed + other, 5) for other in (0, 1))
    rng = np.random.default_rng(seed)
    frame, scene = pictures[0][0], []
    for (new, _), (_, motion) in zip(pictures, vectors, strict=True):
        frame = new if rng.random() < 0.5 else frame
        scene.append((frame, motion))
    assert_identical(plan, backend, scene)


@given(seed=SEEDS)
@examples(0.06)
def test_two_threads_and_bfloat16_are_bit_identical_too(
    random_plan: Callable[[int], Plan], random_scene: Callable[..., Scene], seed: int
) -> None:
    plan = random_plan(seed)
    assert_identical(plan, BFLOAT16, random_scene(plan, seed, 4))


BFLOAT16 = CpuBackend(torch.bfloat16)


@pytest.mark.usefixtures("one_thread")
def test_the_random_trials_reuse_a_good_part_of_the_work(
    random_plan: Callable[[int], Plan], backend: Backend
) -> None:
    """Or their equality would say little."""
    ratios = []
    for seed in range(40):
        plan = random_plan(seed)
        runs = [run for run, _ in run_beside_dense(plan, backend, moving_picture(plan, seed, 4))]
        ratios += [run.compute_ratio for run in runs[1:]]
    assert np.mean(np.array(ratios) < 0.7) > 0.2


@pytest.mark.usefixtures("one_thread")
def test_the_same_trials_differ_without_the_receptive_field_check(
    random_plan: Callable[[int], Plan],
    random_scene: Callable[..., Scene],
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Flags alone, with neither the geometric conditions nor the border rule, are not enough."""
    monkeypatch.setattr(ReceptiveFieldCheck, "breaks", lambda *_: None)
    wrong = 0
    for seed in range(30):
        plan = random_plan(seed)
        results = run_beside_dense(plan, backend, random_scene(plan, seed, 4))
        wrong += not all(same for _, same in results)
    assert wrong >= 10


@pytest.mark.usefixtures("one_thread")
def test_two_hundred_frames_in_a_row_stay_identical(
    random_plan: Callable[[int], Plan], random_scene: Callable[..., Scene], backend: Backend
) -> None:
    plan = random_plan(7)
    assert_identical(plan, backend, random_scene(plan, 7, 200))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["yolo11n-seg", "yolov8n-pose"])
def test_a_captured_yolo_is_bit_identical_while_its_picture_moves(
    backend: Backend, name: str
) -> None:
    plan = capture(random_model(ModelName.parse(name), 0).network, 160, 224)
    assert_identical(plan, backend, moving_picture(plan, 0, 5))


def test_a_still_picture_costs_nothing_and_a_pan_by_whole_cells_little(
    backend: Backend, plan_builder
) -> None:
    builder = plan_builder(3, 96, 320)
    x = builder.conv(builder.conv("image", 8, stride=2), 8, stride=2)
    plan = builder.build(builder.conv(x, 8))
    wide = torch.randn(1, 3, 96, 384, generator=torch.Generator().manual_seed(0))
    pan = MotionField.zero(96, 320)
    pan.vectors[..., 0] = -64 * 4
    still = MotionField(np.zeros((*block_grid(96, 320), 2), np.int16), np.ones((6, 20), bool))
    scene = [(wide[..., :320], still), (wide[..., :320], still), (wide[..., 64:], pan)]
    runs = []
    for run, same in run_beside_dense(plan, backend, scene):
        assert same
        runs.append(run)
    assert runs[1].executed == 0
    # A fifth is new, its reach and the left border, and tiles of eight cells round up.
    assert runs[2].compute_ratio < 0.5
