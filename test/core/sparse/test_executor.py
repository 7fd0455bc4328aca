"""The executor frame by frame: block and bounded mode, dense fallbacks, and refused input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import MotionField, block_grid
from fluxshard_core.sparse.active import requested_tiles
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.frame_run import FrameRun
from fluxshard_core.sparse.ops.backend import CpuBackend
from fluxshard_core.sparse.plan import Plan

NO_MOTION = None


@pytest.fixture(autouse=True)
def one_thread(two_threads: None) -> None:
    """Small maps run several times faster on one thread."""
    torch.set_num_threads(1)


@pytest.fixture
def small_plan(plan_builder: Any) -> Plan:
    """Strides 2 to 8 with a residual, a merge of levels, an island and two outputs."""
    builder = plan_builder(3, 96, 128, seed=3)
    a = builder.conv("image", 8, stride=2)
    b = builder.conv(a, 16, stride=2)
    c = builder.conv(b, 16)
    d = builder.binary(b, c)
    e = builder.conv(d, 16, stride=2)
    f = builder.attention(builder.conv(e, 16, kernel=1))
    g = builder.pool(f, "max", 5, 1, 2)
    h = builder.concat(builder.upsample(g), d)
    return builder.build(builder.conv(h, 8, activation=None), builder.conv(g, 4))


def picture(seed: int, height: int = 96, width: int = 128) -> torch.Tensor:
    return torch.randn((1, 3, height, width), generator=torch.Generator().manual_seed(seed))


def some_blocks(share: float, seed: int = 0, grid: tuple[int, int] = (6, 8)) -> Any:
    blocks = np.random.default_rng(seed).random(grid) < share
    blocks[grid[0] // 2, grid[1] // 2] = True
    return blocks


def equal(run: FrameRun, other: FrameRun) -> bool:
    return all(map(torch.equal, run.outputs, other.outputs))


def spoil(executor: Executor, blocks: Any) -> None:
    """Fill every active tile of every cache with NaN."""
    network = executor.network
    for level, tiles in requested_tiles(network.grid, blocks).items():
        cells = torch.from_numpy(network.grid[level].cells(tiles))
        for name in network.cache.names:
            if network.level[name] == level:
                network.cache[name].frame()[cells] = float("nan")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("seed", range(25))
def test_block_mode_restores_spoiled_tiles_bit_for_bit(
    random_plan: Callable[[int], Plan], seed: int, dtype: torch.dtype, new_backend: Any
) -> None:
    plan = random_plan(seed)
    spec = plan.tensors["image"]
    sizes = dict.fromkeys((1, 2, 4, 8), int(np.random.default_rng(seed).choice([1, 2, 4, 8])))
    executor = Executor(plan, new_backend(dtype), ExecutorOptions(crossing=9.0, tile_sizes=sizes))
    frame = picture(seed, spec.height, spec.width)
    blocks = some_blocks(0.3, seed, block_grid(spec.height, spec.width))
    dense = executor.run(frame, NO_MOTION, blocks)
    spoil(executor, blocks)
    assert equal(executor.run(frame, NO_MOTION, blocks), dense)


def test_block_mode_leaves_other_cells_as_they_were(small_plan: Plan, new_backend: Any) -> None:
    executor = Executor(small_plan, new_backend(), ExecutorOptions(crossing=9.0))
    before = executor.run(picture(0), NO_MOTION, some_blocks(0.1))
    after = executor.run(picture(1), NO_MOTION, some_blocks(0.1))
    for level, recomputed in after.recomputed.items():
        for name, old, new in zip(small_plan.outputs, before.outputs, after.outputs, strict=True):
            if executor.network.level[name] == level:
                kept = torch.from_numpy(~recomputed)
                assert torch.equal(new[0][:, kept], old[0][:, kept])
                assert not torch.equal(new, old)
    assert 0.0 < after.compute_ratio < 0.6
    assert 0.5 < after.reuse_ratio < 1.0
    assert not after.dense_reason


def test_all_blocks_in_block_mode_equal_the_dense_run(small_plan: Plan, new_backend: Any) -> None:
    tiled = Executor(small_plan, new_backend(), ExecutorOptions(crossing=9.0))
    dense = Executor(small_plan, new_backend())
    everything = np.ones((6, 8), bool)
    tiled.run(picture(0), NO_MOTION, everything)
    run = tiled.run(picture(1), NO_MOTION, everything)
    assert not run.dense_reason
    assert equal(run, dense.run(picture(1), NO_MOTION, everything))


def test_block_sets_may_differ_by_level(small_plan: Plan, new_backend: Any) -> None:
    executor = Executor(small_plan, new_backend(), ExecutorOptions(crossing=9.0))
    none, all_ = np.zeros((6, 8), bool), np.ones((6, 8), bool)
    executor.run(picture(0), NO_MOTION, dict.fromkeys((2, 4, 8), none))
    run = executor.run(picture(1), NO_MOTION, {2: none, 4: none, 8: all_})
    assert {level.stride: bool(cells.all()) for level, cells in run.recomputed.items()} == {
        1: False,
        2: False,
        4: False,
        8: True,
    }
    with pytest.raises(InputError, match="no block set for the levels \\[8\\]"):
        executor.run(picture(1), NO_MOTION, {2: none, 4: none})


def test_block_mode_moves_the_outputs_with_the_picture(small_plan: Plan, new_backend: Any) -> None:
    executor = Executor(small_plan, new_backend(), ExecutorOptions(crossing=9.0))
    none = np.zeros((6, 8), bool)
    before = executor.run(picture(0), NO_MOTION, none).outputs[0]
    field = MotionField.zero(96, 128)
    vectors = field.vectors.copy()
    vectors[..., 0] = 8 * 4
    run = executor.run(picture(1), MotionField(vectors, field.valid), none)
    kept = torch.from_numpy(~run.recomputed[executor.network.level[small_plan.outputs[0]]])
    moved = torch.roll(before, 2, dims=3)
    assert torch.equal(run.outputs[0][0][:, kept], moved[0][:, kept])
    assert not kept[:, :2].any()
    assert kept[:, 8:].all()


def test_outputs_belong_to_the_caller(small_plan: Plan, new_backend: Any) -> None:
    executor = Executor(small_plan, new_backend())
    everything = np.ones((6, 8), bool)
    first = executor.run(picture(0), NO_MOTION, everything)
    copies = [output.clone() for output in first.outputs]
    executor.run(picture(1), NO_MOTION, everything)
    assert all(map(torch.equal, first.outputs, copies))


def test_executed_cost_counts_tiles_and_islands(small_plan: Plan, new_backend: Any) -> None:
    executor = Executor(small_plan, new_backend(), ExecutorOptions(crossing=9.0))
    none = np.zeros((6, 8), bool)
    executor.run(picture(0), NO_MOTION, none)
    island = 1000
    assert executor.run(picture(0), NO_MOTION, none).executed == island
    one = none.copy()
    one[1, 1] = True
    dense = small_plan.total_multiply_accumulates
    # One of 48 blocks, at each level a batch of two tiles or eight cells.
    assert dense // 48 < executor.run(picture(0), NO_MOTION, one).executed < dense // 10
    executor.reset()
    assert executor.run(picture(0), NO_MOTION, one).executed == dense


def test_a_frame_that_is_mostly_active_is_run_dense(small_plan: Plan, new_backend: Any) -> None:
    executor = Executor(small_plan, new_backend())
    executor.run(picture(0), NO_MOTION, some_blocks(0.1))
    assert executor.run(picture(1), NO_MOTION, np.ones((6, 8), bool)).dense_reason
    exact = Executor(small_plan, new_backend(), ExecutorOptions("exact"))
    exact.run(picture(0))
    run = exact.run(picture(1))
    assert run.dense_reason
    assert run.compute_ratio == 1.0


@pytest.mark.parametrize("mode", ["exact", "bounded", "block"])
def test_first_frame_and_frames_after_a_reset_are_dense(
    small_plan: Plan, mode: Any, new_backend: Any
) -> None:
    executor = Executor(small_plan, new_backend(), ExecutorOptions(mode))
    blocks = some_blocks(0.1) if mode == "block" else None
    first = executor.run(picture(0), NO_MOTION, blocks)
    executor.run(picture(1), NO_MOTION, blocks)
    executor.reset()
    again = executor.run(picture(0), NO_MOTION, blocks)
    assert (first.dense_reason, again.dense_reason) == ("first frame", "reset")
    assert equal(first, again)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_frame_with_nan_or_infinity_is_refused_and_changes_nothing(
    small_plan: Plan, value: float, new_backend: Any
) -> None:
    executor = Executor(small_plan, new_backend(), ExecutorOptions("exact"))
    first = executor.run(picture(0))
    bad = picture(1)
    bad[0, 1, 5, 7] = value
    with pytest.raises(InputError, match="NaN or infinity"):
        executor.run(bad)
    again = executor.run(picture(0))
    assert not again.dense_reason
    assert again.executed == 0
    assert equal(first, again)


def test_wrong_shapes_are_refused_with_what_to_do(small_plan: Plan, new_backend: Any) -> None:
    executor = Executor(small_plan, new_backend())
    blocks = some_blocks(0.1)
    with pytest.raises(InputError, match="another size needs another plan"):
        executor.run(picture(0, 64, 128), NO_MOTION, blocks)
    with pytest.raises(InputError, match="the frame has \\(6, 8\\)"):
        executor.run(picture(0), MotionField.zero(112, 128), blocks)
    with pytest.raises(InputError, match="expected bool \\(6, 8\\)"):
        executor.run(picture(0), NO_MOTION, blocks[1:])
    with pytest.raises(InputError, match="expected bool"):
        executor.run(picture(0), NO_MOTION, blocks.astype(np.int64))
    with pytest.raises(InputError, match="block mode needs"):
        executor.run(picture(0))
    with pytest.raises(InputError, match="decides itself"):
        Executor(small_plan, new_backend(), ExecutorOptions("exact")).run(
            picture(0), NO_MOTION, blocks
        )


def test_after_a_failed_frame_the_next_one_is_dense(
    small_plan: Plan, monkeypatch: pytest.MonkeyPatch, new_backend: Any
) -> None:
    executor = Executor(small_plan, new_backend(), ExecutorOptions("exact"))
    first = executor.run(picture(0))
    with monkeypatch.context() as patch:
        patch.setattr(executor.network, "steps", [None])
        with pytest.raises(AttributeError):
            executor.run(picture(0) + torch.eye(96, 128) * 0.1)
    again = executor.run(picture(0))
    assert again.dense_reason == "the previous frame failed"
    assert equal(again, first)


def test_exact_mode_computes_nothing_for_an_unchanged_frame(
    small_plan: Plan, new_backend: Any
) -> None:
    executor = Executor(small_plan, new_backend(), ExecutorOptions("exact"))
    first = executor.run(picture(0))
    still = executor.run(picture(0))
    assert still.executed == 0
    assert still.reuse_ratio == 1.0
    assert equal(first, still)


def test_bounded_mode_without_thresholds_is_exact(
    random_plan: Callable[[int], Plan], random_scene: Callable[..., Any], new_backend: Any
) -> None:
    plan = random_plan(11)
    backend = new_backend()
    bounded = Executor(plan, backend, ExecutorOptions("bounded", crossing=9.0))
    exact = Executor(plan, backend, ExecutorOptions("exact", crossing=9.0))
    for frame, motion in random_scene(plan, 11, 6):
        assert equal(bounded.run(frame, motion), exact.run(frame, motion))


def test_bounded_mode_drops_small_changes_but_not_their_sum(
    plan_builder: Any, new_backend: Any
) -> None:
    builder = plan_builder(3, 48, 64)
    plan = builder.build(builder.conv("image", 4, activation=None))
    options = ExecutorOptions("bounded", {1: 0.1}, crossing=9.0)
    executor = Executor(plan, new_backend(), options)
    reach = float(plan.nodes[0].weight.abs().sum(dim=(1, 2, 3)).max())  # type: ignore[attr-defined]
    frame = picture(0, 48, 64)
    executor.run(frame)
    skipped = 0
    for step in range(1, 9):
        drifted = frame + 0.03 * step
        run = executor.run(drifted)
        skipped += run.executed == 0
        dense = Executor(plan, new_backend(), ExecutorOptions("exact")).run(drifted)
        error = (run.outputs[0] - dense.outputs[0]).abs().max()
        assert error <= 0.1 * reach + 1e-4
    assert 4 <= skipped < 8


def test_thresholds_truncate_what_spreads(small_plan: Plan, new_backend: Any) -> None:
    frame = picture(0)
    changed = frame.clone()
    changed[:, :, 40:44, 60:64] += 0.01
    executed = []
    for thresholds in ({}, {2: 0.05, 4: 0.05, 8: 0.05}):
        executor = Executor(
            small_plan, new_backend(), ExecutorOptions("bounded", thresholds, crossing=9.0)
        )
        executor.run(frame)
        executed.append(executor.run(changed).executed)
    assert 0 < executed[1] < executed[0] / 2


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.parametrize("mode", ["exact", "block"])
def test_memory_stays_flat_over_two_hundred_frames(
    small_plan: Plan, random_scene: Callable[..., Any], mode: Any, new_backend: Any
) -> None:
    executor = Executor(small_plan, new_backend(), ExecutorOptions(mode, crossing=9.0))
    check = Executor(small_plan, executor.network.backend, ExecutorOptions("exact"))
    scene = random_scene(small_plan, 5, 20)
    blocks = [some_blocks(0.2, seed) if mode == "block" else None for seed in range(len(scene))]
    seen = []
    for index in range(200):
        frame, motion = scene[index % len(scene)]
        if index % len(scene) == 0:
            motion = MotionField.invalid(96, 128)
        run = executor.run(frame, motion, blocks[index % len(scene)])
        if index % 40 == 39:
            seen.append(resident_bytes())
            if mode == "exact":
                check.reset()
                assert equal(run, check.run(frame))
    assert seen[-1] - seen[1] < 4e6
    assert executor.cache_bytes == executor.network.cache.bytes


def test_cache_is_smaller_than_all_activations(small_plan: Plan, new_backend: Any) -> None:
    activations = sum(spec.channels * spec.cells for spec in small_plan.tensors.values()) * 4
    assert Executor(small_plan, new_backend()).cache_bytes < activations


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(InputError, match="float32 or bfloat16"):
        CpuBackend(torch.float16)
