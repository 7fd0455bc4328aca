"""Milliseconds by stage of one frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class StageTimer:
    """Collects how long each named stage took; a stage entered twice adds up."""

    def __init__(self) -> None:
        self.stage_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body of the ``with`` block as stage ``name``, also when it raises."""
        start = perf_counter()
        try:
            yield
        finally:
            spent_ms = (perf_counter() - start) * 1e3
            self.stage_ms[name] = self.stage_ms.get(name, 0.0) + spent_ms
