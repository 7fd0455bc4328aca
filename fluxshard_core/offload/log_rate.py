"""Keeps strangers from filling a log: so many records a period, then one that counts the rest."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable


class LogRate(logging.Filter):
    """A filter for one logger that passes ``most`` records every ``period_s`` seconds."""

    def __init__(
        self,
        most: int = 100,
        period_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._most = most
        self._period_s = period_s
        self._clock = clock
        self._lock = threading.Lock()
        self._begun_s = clock()
        self._passed = 0
        self._suppressed = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log the record, with the number of those left out before it."""
        with self._lock:
            if self._clock() - self._begun_s >= self._period_s:
                self._begun_s, self._passed = self._clock(), 0
            if self._passed >= self._most:
                self._suppressed += 1
                return False
            self._passed += 1
            if self._suppressed:
                record.msg = f"{record.getMessage()} ({self._suppressed} messages left out)"
                record.args = ()
                self._suppressed = 0
            return True
