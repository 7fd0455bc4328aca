"""SharedCores: the threads of a process, divided among those who compute at the moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fluxshard_core.threads import compute_threads, computing

MAX_LANES: Final = 2
"""Much of a frame is Python, which holds the interpreter: with more frames at a time threads wait
for it more than they compute, and fewer are answered."""

WORTH_A_THREAD: Final = 250_000_000
"""Multiply-accumulates, some 4 ms on a core of 2023: of less, threads wait more than they do."""


class SharedCores:
    """As many threads as PyTorch had on the thread that made it.

    Few active cells scale badly over threads: frames of several robots, each on a thread of its
    own, keep more cores busy than one after the other on all of them. Who computes alone, and
    enough, gets all.
    """

    def __init__(self, worth_a_thread: int = WORTH_A_THREAD) -> None:
        """``worth_a_thread``: multiply-accumulates below which no further thread is used."""
        self.threads = compute_threads()
        self._worth = max(1, worth_a_thread)
        self._lanes = 0
        self._lock = threading.Lock()

    @property
    def lanes(self) -> int:
        """How many should compute at a time, where enough is to be done."""
        return min(self.threads, MAX_LANES)

    @contextmanager
    def lane(self) -> Iterator[None]:
        """Count the calling thread among those who compute, on one core, while the block lasts."""
        with self._lock:
            self._lanes += 1
        try:
            with computing(1):
                yield
        finally:
            with self._lock:
                self._lanes -= 1

    @contextmanager
    def wide(self, multiply_accumulates: float) -> Iterator[None]:
        """Give the calling lane as many threads as its part of the cores has and so much work
        is worth, while the block lasts."""
        part = self.threads // max(1, self._lanes)
        with computing(max(1, min(part, int(multiply_accumulates / self._worth)))):
            yield
