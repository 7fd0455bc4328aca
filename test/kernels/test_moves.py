"""Cells are moved in place as if all of them had been read before any was written."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxshard_kernels.cpu.library import load
from fluxshard_kernels.cpu.records import BUFFER


@given(seed=st.integers(0, 2**31), kind=st.sampled_from(["any", "shift", "permutation"]))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_moves_inside_a_buffer_never_read_what_they_wrote(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 60))
    count = int(rng.integers(0, size + 1))
    destinations = rng.choice(size, count, replace=False)
    sources = {
        "any": rng.integers(0, size, count),
        "shift": np.clip(destinations + int(rng.integers(-9, 10)), 0, size - 1),
        "permutation": rng.permutation(destinations),
    }[kind]
    maps = [
        rng.integers(0, 255, (size, width)).astype(np.uint8)
        for width in rng.integers(1, 70, 3).tolist()
    ]
    expected = [one.copy() for one in maps]
    for one, before in zip(expected, maps, strict=True):
        one[destinations] = before[sources]
    records = np.array([(one.ctypes.data, one.shape[1]) for one in maps], dtype=BUFFER)
    arrays = (np.ascontiguousarray(part, dtype=np.int64) for part in (sources, destinations))
    load().move(records, *arrays, int(rng.integers(1, 3)))
    for one, wanted in zip(maps, expected, strict=True):
        np.testing.assert_array_equal(one, wanted)
