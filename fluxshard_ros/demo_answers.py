"""Answers: what came of each image of a demo, put together by stamp, in order, bounded."""

from __future__ import annotations

from collections import Counter
from typing import Any

MOST_PENDING = 50
"""Images that may wait for the rest of their parts: a picture of each may be held in memory."""

Parts = dict[str, Any]


class Answers:
    """Returns images of which every part has come, oldest first, and skips those that cannot be.

    Stamps rise from image to image, and a topic delivers in order: what it has not brought of an
    image by the time it brings a later one has been lost. A topic that falls silent keeps at most
    ``MOST_PENDING`` images waiting.
    """

    def __init__(self, wanted: set[str]) -> None:
        """``wanted``: the parts a complete image has; more may be added before the first came."""
        self.wanted = wanted
        self.lost: Counter[str] = Counter()  # parts that images were skipped for
        self.skipped = 0
        self._pending: dict[int, Parts] = {}
        self._newest_ns: dict[str, int] = {}
        self._settled_ns = -1

    def add(self, part: str, stamp_ns: int, message: Any) -> list[Parts]:
        """Take in one part of the image of ``stamp_ns``; return the images this completes."""
        self._newest_ns[part] = max(stamp_ns, self._newest_ns.get(part, -1))
        if stamp_ns > self._settled_ns:
            self._pending.setdefault(stamp_ns, {})[part] = message
        complete = []
        while self._pending:
            oldest_ns = min(self._pending)
            missing = self.wanted - self._pending[oldest_ns].keys()
            if not missing:
                complete.append(self._pending[oldest_ns])
            elif gone := self._gone(oldest_ns, missing):
                self._skip(gone)
            elif len(self._pending) > MOST_PENDING:
                self._skip(missing)
            else:
                break
            del self._pending[oldest_ns]
            self._settled_ns = oldest_ns
        return complete

    def finish(self) -> None:
        """Skip what still waits: nothing more will come."""
        for parts in self._pending.values():
            self._skip(self.wanted - parts.keys())
        self._pending.clear()

    def _gone(self, stamp_ns: int, missing: set[str]) -> set[str]:
        """Return those of the ``missing`` parts that can no longer come."""
        return {part for part in missing if self._newest_ns.get(part, -1) > stamp_ns}

    def _skip(self, lost: set[str]) -> None:
        self.skipped += 1
        self.lost.update(lost)
