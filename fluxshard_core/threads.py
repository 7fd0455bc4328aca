"""How many threads compute: large operators are shared, PyTorch's small ones run alone.

Every operator that PyTorch runs on several threads ends when the last of them has arrived. On a
machine with other work that may be a slice of the scheduler later, milliseconds for an operator
that takes microseconds. The compiled kernels wait for nobody who has no piece in hand.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fluxshard_kernels.cpu.library import load_if_possible


class _Chosen(threading.local):
    threads: int | None = None


_chosen = _Chosen()


def compute_threads() -> int:
    """Return on how many threads large operators run: PyTorch's number, unless chosen."""
    return _chosen.threads or torch.get_num_threads()


@contextmanager
def computing(threads: int) -> Iterator[None]:
    """Let the calling thread's large operators run on so many threads while the block lasts.

    With compiled kernels PyTorch's own then run on one, without on as many.
    """
    before = _chosen.threads, torch.get_num_threads()
    _chosen.threads = threads
    torch.set_num_threads(1 if threads == 1 or load_if_possible() else threads)
    try:
        yield
    finally:
        _chosen.threads = before[0]
        torch.set_num_threads(before[1])
