"""A request of the TCP bridge that nobody waits for, and that may be taken back until it leaves."""

from __future__ import annotations

import concurrent.futures
import threading

from fluxshard_core.offload.messages import InferenceResult
from fluxshard_core.offload.transport import LinkDown


class Ticket:
    """Decides between two threads, once: a request leaves, or it is taken back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = self._withdrawn = False

    def leave(self) -> bool:
        """Return whether the request may leave; it cannot be taken back from then on."""
        with self._lock:
            self._left = not self._withdrawn
            return self._left

    def withdraw(self) -> bool:
        """Return whether the request will never leave."""
        with self._lock:
            self._withdrawn = not self._left
            return self._withdrawn


class PendingRequest:
    """A ``Pending`` on the client's event loop."""

    def __init__(
        self, ticket: Ticket, answer: concurrent.futures.Future[InferenceResult], size: int
    ) -> None:
        self.size = size
        self._ticket = ticket
        self._answer = answer

    def done(self) -> bool:
        """Whether there is an answer, or never will be one."""
        return self._answer.done()

    def result(self) -> InferenceResult:
        """Return the answer; see ``Pending.result``."""
        try:
            return self._answer.result(0)
        except concurrent.futures.CancelledError:
            raise LinkDown("the transport was closed while waiting") from None

    def withdraw(self) -> bool:
        """Take the request back unless it has left; return whether that worked."""
        if not self._ticket.withdraw():
            return False
        self._answer.cancel()
        return True
