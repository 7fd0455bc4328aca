"""Stops asking a cloud that is there but does not serve, and finds out when it does again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from time import monotonic

from fluxshard_core.offload.backoff import Backoff
from fluxshard_core.offload.messages import InferenceResult
from fluxshard_core.offload.transport import LinkTimeout, NotSent, RemoteRefused


class Circuit(Enum):
    """``CLOSED`` lets requests pass, ``OPEN`` none, ``HALF_OPEN`` one to try."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """Opens after ``threshold`` requests in a row were late or refused, for a growing pause.

    It judges answers only: a connection that is lost is the link's business, which also pauses,
    and a request without a connection fails at once and costs nothing. Any thread may call.
    """

    def __init__(self, threshold: int, backoff: Backoff) -> None:
        self._threshold = threshold
        self._backoff = backoff
        self._lock = threading.Lock()
        self._failed_in_a_row = 0
        self._open_until_s: float | None = None
        self._probing = False

    def ask(self, request: Callable[[], InferenceResult]) -> InferenceResult:
        """Return what ``request`` does, if it is let pass, and judge it.

        :raises NotSent: while requests are held back.
        """
        pause_s = self.admit(monotonic())
        if pause_s > 0.0:
            raise NotSent(f"the cloud does not serve; it is tried again in {pause_s:.1f} s")
        try:
            result = request()
        except (LinkTimeout, RemoteRefused):
            self.failed(monotonic())
            raise
        except BaseException:
            self.abandoned()
            raise
        if result.error:
            self.failed(monotonic())
        else:
            self.answered()
        return result

    def admit(self, now_s: float) -> float:
        """Return 0.0 to let a request pass, or the seconds until one may be tried again.

        Who is let pass reports with ``answered``, ``failed`` or ``abandoned``.
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
            self._failed_in_a_row = 0
            self._open_until_s = None
            self._probing = False
            self._backoff.reset()

    def failed(self, now_s: float) -> None:
        """No answer came in time, or none that helps: open when there were enough of these."""
        with self._lock:
            self._failed_in_a_row += 1
            self._probing = False
            if self._failed_in_a_row >= self._threshold:
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
