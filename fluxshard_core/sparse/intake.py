"""Intake: which frames, motion and block sets an executor takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import BLOCK_SIZE, MotionField, block_grid
from fluxshard_core.sparse.active import Blocks
from fluxshard_core.sparse.plan import Plan

Mode = Literal["exact", "bounded", "block"]


class Intake:
    """Refuses what does not fit one plan of one input and the mode it is run in."""

    def __init__(self, plan: Plan, mode: Mode) -> None:
        """:raises InputError: if the plan has not one input."""
        if len(plan.inputs) != 1:
            raise InputError(f"a frame feeds one input; the plan has {len(plan.inputs)}")
        self._mode = mode
        spec = plan.tensors[plan.inputs[0]]
        self._frame_shape = (1, spec.channels, spec.height, spec.width)
        self._computed_strides = {
            plan.tensors[name].stride for node in plan.nodes for name in node.outputs
        } - {0}

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        return self._frame_shape[2], self._frame_shape[3]

    def check_frame(self, frame: torch.Tensor) -> None:
        """:raises InputError: for another shape, NaN or infinity."""
        if tuple(frame.shape) != self._frame_shape:
            raise InputError(
                f"frame has shape {tuple(frame.shape)}; this executor was built for "
                f"{self._frame_shape}, another size needs another plan"
            )
        if not frame.is_floating_point():
            return
        # One pass over the pixels; only a sum that overflowed or met such a value looks closer.
        if not bool(frame.sum().isfinite()) and not bool(frame.isfinite().all()):
            raise InputError("frame contains NaN or infinity")

    def check_request(self, motion: MotionField | None, blocks: Blocks | None) -> None:
        """:raises InputError: for motion of another grid, missing or unexpected block sets."""
        if motion is not None:
            grid = block_grid(*self._frame_shape[2:], motion.block_size)
            if motion.valid.shape != grid:
                raise InputError(
                    f"motion field is {motion.valid.shape} blocks; the frame has {grid}"
                )
        self._check_blocks(blocks)

    def _check_blocks(self, blocks: Blocks | None) -> None:
        if (blocks is None) == (self._mode == "block"):
            need = "needs" if blocks is None else "decides itself and takes no"
            raise InputError(f"{self._mode} mode {need} block set")
        if blocks is None:
            return
        grid = block_grid(*self._frame_shape[2:], BLOCK_SIZE)
        sets = blocks if isinstance(blocks, Mapping) else dict.fromkeys((0,), blocks)
        for stride, wanted in sets.items():
            if wanted.shape != grid or wanted.dtype != np.bool_:
                raise InputError(
                    f"block set of level {stride} is {wanted.dtype} {wanted.shape}; "
                    f"expected bool {grid}"
                )
        if isinstance(blocks, Mapping) and (missing := self._computed_strides - blocks.keys()):
            raise InputError(f"no block set for the levels {sorted(missing)}")
