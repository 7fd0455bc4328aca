"""The compiled search for the sources of moved cells gives what the plain one gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxshard_core.reuse.remap import nearest_sources
from fluxshard_kernels.cpu.library import load


@given(seed=st.integers(0, 2**31), reach=st.sampled_from([3, 40, 4000]))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_both_find_the_same_sources(seed: int, reach: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = rng.integers(1, 12, (3, 2))
    starts = np.cumsum([0, *shapes.prod(axis=1)])
    strides = rng.choice([1, 2, 8, 32], 3)
    levels = np.column_stack([strides * 4, shapes, starts[:3]]).astype(np.int32)
    counts = np.array([int(rng.integers(0, size + 1)) for size in shapes.prod(axis=1)])
    cells = [
        rng.choice(size, count, replace=False)
        for size, count in zip(shapes.prod(axis=1), counts, strict=True)
    ]
    flat = np.concatenate(cells).astype(np.int32)
    vectors = rng.integers(-reach, reach + 1, (2, len(flat))).astype(np.int32)
    half = np.repeat(strides * 2, shapes.prod(axis=1))
    carried = (rng.integers(-128, 129, (2, starts[3])) % (2 * half + 1) - half).astype(np.int16)
    every = np.repeat(levels.T, counts, axis=1)
    expected = nearest_sources(vectors, flat, every, carried)
    found = load().nearest(vectors, flat, levels, counts.astype(np.int64), carried)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
