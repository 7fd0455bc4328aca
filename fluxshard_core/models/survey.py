"""One look at a network's outputs: whether they are sound, and which cells are worth another."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fluxshard_core.threads import compute_threads
from fluxshard_kernels.cpu.library import Library, Records, load_if_built
from fluxshard_kernels.cpu.records import SURVEYED

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Survey:
    """``finite``: whether all numbers are. ``peaks`` ``(H * W,)``: the largest of each cell, where
    they were asked for; worth nothing where not all is finite."""

    finite: bool
    peaks: Float32 | None = None


def survey(outputs: Sequence[Tensor], peaked: Collection[int]) -> list[Survey]:
    """Look at outputs ``(1, C, H, W)``; those at the indices ``peaked`` get peaks.

    In one call of compiled code where that is there anyway: a detection alone builds none.
    """
    library = load_if_built()
    cells = [cells_of(output) for output in outputs]
    suits = all(one.dtype is torch.float32 and one.is_contiguous() for one in cells)
    if library is None or not suits:
        return survey_plainly(outputs, peaked)
    return _survey_compiled(library, [one.numpy() for one in cells], peaked)


def survey_plainly(outputs: Sequence[Tensor], peaked: Collection[int]) -> list[Survey]:
    """Do what :func:`survey` does, in PyTorch."""
    # A sum is finite only if every term is, and costs a third of testing each one.
    sums = [output.sum(dtype=torch.float32).item() for output in outputs]
    peaks = {index: cells_of(outputs[index]).amax(1).float().numpy() for index in peaked}
    return [Survey(math.isfinite(total), peaks.get(index)) for index, total in enumerate(sums)]


def cells_of(output: Tensor) -> Tensor:
    """View ``(1, C, H, W)`` as ``(H * W, C)``; free for channels-last tensors."""
    return output[0].permute(1, 2, 0).flatten(0, 1)


def _survey_compiled(
    library: Library, cells: Sequence[Float32], peaked: Collection[int]
) -> list[Survey]:
    peaks = {index: np.empty(len(cells[index]), dtype=np.float32) for index in peaked}
    records: Records = np.array(
        [
            (one.ctypes.data, *one.shape, peaks[i].ctypes.data if i in peaks else 0, False)
            for i, one in enumerate(cells)
        ],
        dtype=SURVEYED,
    )
    library.survey(records, compute_threads())
    return [Survey(bool(sound), peaks.get(i)) for i, sound in enumerate(records["finite"])]
