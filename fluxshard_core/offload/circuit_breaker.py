"""Stops asking a cloud that is there but does not answer in time, and finds out when it does."""

from __future__ import annotations

import threading
from enum import Enum

from fluxshard_core.offload.backoff import Backoff


class Circuit(Enum):
    """``CLOSED`` lets requests pass, ``OPEN`` none, ``HALF_OPEN`` one to try."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """Opens after ``threshold`` requests in a row had no answer in time, for a growing pause.

    It judges answers only: a connection that is lost is the link's business, which also pauses,
    and a request without a connection fails at once and costs nothing. Time is passed in. Any
    thread may call.
    """

    def __init__(self, threshold: int, backoff: Backoff) -> None:
        self._threshold = threshold
        self._backoff = backoff
        self._lock = threading.Lock()
        self._late_in_a_row = 0
        self._open_until_s: float | None = None
        self._probing = False

    def admit(self, now_s: float) -> float:
        """Return 0.0 to let a request pass, or the seconds until one may be tried again.

        Who is let pass reports with ``answered``, ``timed_out`` or ``abandoned``.
        """
        with self._lock:
            if self._open_until_s is None:
                return 0.0
            wait_s = self._open_until_s - now_s
            if wait_s > 0.0:
                return wait_s
            if self._probing:
                return self._backoff.first_s
            self._probing = True
            return 0.0

    def answered(self) -> None:
        """An answer came in time: close."""
        with self._lock:
            self._late_in_a_row = 0
            self._open_until_s = None
            self._probing = False
            self._backoff.reset()

    def timed_out(self, now_s: float) -> None:
        """No answer came in time: open when there were enough of these, or this was the trial."""
        with self._lock:
            self._late_in_a_row += 1
            self._probing = False
            if self._late_in_a_row >= self._threshold:
                self._open_until_s = now_s + self._backoff.next_delay()

    def abandoned(self) -> None:
        """The request ended for a reason that says nothing about the cloud's speed."""
        with self._lock:
            self._probing = False

    def state(self, now_s: float) -> Circuit:
        """Return the state as the next request will find it."""
        with self._lock:
            if self._open_until_s is None:
                return Circuit.CLOSED
            return Circuit.OPEN if now_s < self._open_until_s else Circuit.HALF_OPEN
