"""The frames of several executors in one pass, where they can share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fluxshard_core.errors import InputError
from fluxshard_core.sparse.binding import Binding
from fluxshard_core.sparse.executor import Executor
from fluxshard_core.sparse.frame_run import FrameRun
from fluxshard_core.sparse.schedule import Schedule


@dataclass(frozen=True, eq=False)
class Job:
    """One endpoint's next frame, as for :meth:`Executor.execute`."""

    executor: Executor
    frame: torch.Tensor
    schedule: Schedule

    @property
    def multiply_accumulates(self) -> float:
        """What it will take, about."""
        whole = self.executor.runs_whole(self.schedule)
        ratio = 1.0 if whole else self.schedule.compute_ratio
        return ratio * self.executor.scheduler.dense_cost


@torch.inference_mode()
def run_together(jobs: Sequence[Job]) -> list[FrameRun]:
    """Run a frame of each of several executors; each result is what it would be alone.

    Bit for bit where the backend is exact, else up to rounding. Executors that share a binding
    share a pass; a frame that is computed whole, or has no company, runs on its own.

    :raises InputError: an executor that occurs twice, or a frame that its executor refuses.
    """
    if len({id(job.executor) for job in jobs}) < len(jobs):
        raise InputError("an executor can run one frame at a time")
    runs: dict[int, FrameRun] = {}
    groups: dict[Binding, list[int]] = {}
    for index, job in enumerate(jobs):
        if not job.executor.runs_whole(job.schedule):
            groups.setdefault(job.executor.network.binding, []).append(index)
    for members in groups.values():
        if len(members) > 1:
            together = _run_shared([jobs[index] for index in members])
            runs |= dict(zip(members, together, strict=True))
    for index, job in enumerate(jobs):
        if index not in runs:
            runs[index] = job.executor.execute(job.frame, job.schedule)
    return [runs[index] for index in range(len(jobs))]


def _run_shared(jobs: Sequence[Job]) -> list[FrameRun]:
    images = [job.executor.begin(job.frame, job.schedule) for job in jobs]
    networks = [job.executor.network for job in jobs]
    executed = networks[0].runner.blocks(networks, images, [job.schedule for job in jobs])
    return [
        job.executor.finish(job.schedule, spent) for job, spent in zip(jobs, executed, strict=True)
    ]
