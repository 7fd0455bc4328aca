"""The kernels' threads: results are the same however many help, whoever else has a job."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fluxshard_core.motion.field import block_grid
from fluxshard_core.sparse.compiled.backend import CompiledBackend
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.threads import computing
from fluxshard_kernels.cpu.library import load
from fluxshard_kernels.cpu.records import BUFFER


def outputs(plan: Plan, scene: list[Any], threads: int) -> list[torch.Tensor]:
    executor = Executor(plan, CompiledBackend(), ExecutorOptions(crossing=9.0))
    spec = plan.tensors[plan.inputs[0]]
    rng = np.random.default_rng(0)
    found: list[torch.Tensor] = []
    for frame, motion in scene:
        blocks = rng.random(block_grid(spec.height, spec.width)) < 0.3
        with computing(threads):
            found += executor.run(frame, motion, blocks).outputs
    return found


def test_many_jobs_at_a_time_give_what_each_gives_alone(
    random_plan: Callable[[int], Plan], random_scene: Callable[..., Any]
) -> None:
    plans = [random_plan(seed) for seed in range(4)]
    scenes = [random_scene(plan, seed, 30) for seed, plan in enumerate(plans)]
    alone = [outputs(*pair, 1) for pair in zip(plans, scenes, strict=True)]
    together: list[list[torch.Tensor]] = [[] for _ in plans]

    def run(index: int) -> None:
        together[index] = outputs(plans[index], scenes[index], 2 + index)

    robots = [threading.Thread(target=run, args=(index,)) for index in range(len(plans))]
    for robot in robots:
        robot.start()
    for robot in robots:
        robot.join()
    for ours, theirs in zip(together, alone, strict=True):
        assert len(ours) == len(theirs) > 0
        assert all(map(torch.equal, ours, theirs))


def moved_by_one(threads: int) -> bool:
    maps = [np.arange(100, dtype=np.float32) for _ in range(8)]
    records = np.array([(one.ctypes.data, 4) for one in maps], dtype=BUFFER)
    load().move(records, np.arange(99), np.arange(1, 100), threads)
    return all((one == np.maximum(np.arange(100) - 1, 0)).all() for one in maps)


def test_a_forked_process_has_helpers_of_its_own() -> None:
    assert moved_by_one(3)
    child = os.fork()
    if child == 0:
        os._exit(0 if all(moved_by_one(3) for _ in range(20)) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
