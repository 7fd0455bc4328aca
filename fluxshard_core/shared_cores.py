"""SharedCores: the threads of a process, divided among those who compute at the moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

_MAX_LANES: Final = 4
"""Half of a frame is Python, which holds the interpreter: more frames at a time gain nothing."""


class SharedCores:
    """As many threads as PyTorch had on the thread that made it.

    Who computes alone gets all of them. Few active cells scale badly over threads: of several who
    compute at a time each gets its part, and they keep more cores busy than one after the other.
    """

    def __init__(self) -> None:
        self.threads = torch.get_num_threads()
        self._takers = 0
        self._lock = threading.Lock()

    @property
    def lanes(self) -> int:
        """How many should compute at a time, where enough is to be done."""
        return min(self.threads, _MAX_LANES)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Give the calling thread its part of the cores while the block lasts."""
        before = torch.get_num_threads()
        with self._lock:
            self._takers += 1
            part = max(1, self.threads // self._takers)
        torch.set_num_threads(part)
        try:
            yield
        finally:
            with self._lock:
                self._takers -= 1
            torch.set_num_threads(before)
