"""Cells are lost where no cached content belongs to them, and seams are no such places."""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.reuse.level import Level, LevelMotion
from fluxshard_core.sparse.active import lost_cells, lost_cells_plainly


def motion(rng: np.random.Generator, *, residual: bool) -> LevelMotion:
    """Cells with sources inside and outside of the frame, near and far away."""
    level = Level(int(rng.choice([1, 2, 3, 8, 32])), *(int(n) for n in rng.integers(1, 40, 2)))
    cell = 4 * level.stride
    shift = rng.integers(-6, 7, (2, *level.shape), dtype=np.int16)
    left = rng.integers(-cell, cell + 1, (2, *level.shape), dtype=np.int16)
    valid = rng.random(level.shape) < rng.choice([0.0, 0.5, 0.97, 1.0])
    return LevelMotion(level, shift, valid, left if residual else None, (0, 0))


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("limit", [0.5, 0.7, 1.0])
def test_compiled_code_loses_the_cells_that_numpy_does(limit: float, residual: bool) -> None:
    for seed in range(30):
        moved = motion(np.random.default_rng(seed), residual=residual)
        lost = lost_cells(moved, limit)
        np.testing.assert_array_equal(lost, lost_cells_plainly(moved, limit))
        assert not (lost & moved.valid).any()
