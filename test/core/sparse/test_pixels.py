"""A byte is read as ``value / 255``, to the bit, whoever turns it into a number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.layout import Halo, LevelLayout
from fluxshard_core.sparse.pixels import as_numbers
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_core.sparse.store import FeatureStore


def frame(seed: int, height: int, width: int) -> torch.Tensor:
    """All bytes there are, ``(1, 3, H, W)`` channels last."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image.reshape(-1)[: min(256, image.size)] = np.arange(min(256, image.size))
    return torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 37), (33, 96)])
def test_a_store_takes_bytes_as_it_takes_their_numbers(
    dtype: torch.dtype, height: int, width: int
) -> None:
    layout = LevelLayout(Level(1, height, width), Halo(1, 2, 3))
    stores = [FeatureStore(layout, 3, dtype, float("-inf"), Scratch()) for _ in range(2)]
    image = frame(0, height, width)
    for store, values in zip(stores, (image, as_numbers(image)), strict=True):
        store.write(values.permute(0, 2, 3, 1))
    assert torch.equal(*(store.frame() for store in stores))
    assert torch.equal(*(store.gather_cells(torch.arange(layout.size)) for store in stores))


@pytest.mark.parametrize("mode", ["block", "bounded"])
def test_a_frame_of_bytes_gives_what_its_numbers_give(
    mode: Any, plan_builder: Any, new_backend: Any
) -> None:
    builder = plan_builder(3, 64, 96, seed=2)
    plan = builder.build(builder.conv(builder.conv("image", 8, stride=2), 8, stride=2))
    backend, options = new_backend(), ExecutorOptions(mode=mode)
    one, other = Executor(plan, backend, options), Executor(plan, backend, options)
    blocks = np.eye(4, 6, dtype=bool) if mode == "block" else None
    for seed in range(2):
        image = frame(seed, 64, 96)
        motion = MotionField.zero(64, 96)
        runs = one.run(image, motion, blocks), other.run(as_numbers(image), motion, blocks)
        assert all(map(torch.equal, runs[0].outputs, runs[1].outputs))
