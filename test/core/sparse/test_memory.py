"""Memory in huge pages: tensors side by side that know nothing of each other."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import pytest
import torch

from fluxshard_core.sparse.memory import Arena, room, uninitialised

MEGABYTE = 1 << 20
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.fixture
def poisoned_memory() -> None:
    """The real thing: here it is what is tested."""


def process(what: str) -> int:
    """Kilobytes of ``what`` that this process has."""
    found = re.search(rf"^{what}: +(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.M)
    assert found
    return int(found[1])


@pytest.mark.parametrize("megabytes", [0.01, 5])
def test_tensors_of_an_arena_lie_side_by_side_and_apart(megabytes: float) -> None:
    shapes = [(3, 5), (int(megabytes * MEGABYTE) // 4, 1), (1, 1), (7, 16)]
    dtypes = [torch.float32, torch.float32, torch.bfloat16, torch.bfloat16]
    sizes = [torch.Size(s).numel() * d.itemsize for s, d in zip(shapes, dtypes, strict=True)]
    arena = Arena(sum(map(room, sizes)))
    tensors = [arena.take(*pair) for pair in zip(shapes, dtypes, strict=True)]
    for index, tensor in enumerate(tensors):
        tensor.fill_(index)
    for index, (tensor, shape, dtype) in enumerate(zip(tensors, shapes, dtypes, strict=True)):
        assert (tuple(tensor.shape), tensor.dtype) == (shape, dtype)
        assert tensor.data_ptr() % 64 == 0
        # What is addressed from the beginning of the storage, as by as_strided, is the tensor.
        assert tensor.storage_offset() == 0
        assert bool((tensor == index).all())
    with pytest.raises(MemoryError, match=r"no 4 bytes left for a tensor \(1,\)"):
        arena.take((1,), torch.float32)


def test_memory_outlives_its_arena_and_no_tensor() -> None:
    arena = Arena(64 * MEGABYTE)
    one, other = (arena.take((32 * MEGABYTE,), torch.uint8).fill_(7) for _ in range(2))
    del arena, one
    gc.collect()
    assert bool((other == 7).all())
    held = process("Rss")
    del other
    gc.collect()
    assert process("Rss") < held - 60 * 1024


@pytest.mark.skipif(
    not HUGE_PAGES.is_file() or "[never]" in HUGE_PAGES.read_text(), reason="no huge pages here"
)
def test_large_memory_lies_in_huge_pages() -> None:
    before = process("AnonHugePages")
    memory = uninitialised(64 * MEGABYTE)
    memory.fill(1)
    # As many as the system has at hand: a machine whose memory is in pieces may have few.
    assert memory.ctypes.data % (2 * MEGABYTE) == 0
    assert process("AnonHugePages") > before
