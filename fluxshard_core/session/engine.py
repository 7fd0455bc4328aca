"""Engine: a detector ready to run in tiles, shared by all endpoints of a process."""

from __future__ import annotations

from threading import Lock

from fluxshard_core.models.detector import Detector
from fluxshard_core.sparse.capture import capture
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.ops.backend import CpuBackend
from fluxshard_core.sparse.plan import Plan


class Engine:
    """A detector, its plans by input size, and the backend that knows its convolutions.

    Whatever it makes runs on one thread at a time.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        # Block mode is not exact, so nothing is gained by checking every form of a convolution.
        self.backend = CpuBackend(exact=False)
        self._plans: dict[tuple[int, int], Plan] = {}
        self._capturing = Lock()

    def plan(self, height: int, width: int) -> Plan:
        """Return the network's plan for one input size, captured once."""
        size = height, width
        with self._capturing:
            if size not in self._plans:
                self._plans[size] = capture(self.detector.network, height, width)
            return self._plans[size]

    def executor(self, height: int, width: int, options: ExecutorOptions | None = None) -> Executor:
        """Return an executor with caches of its own."""
        return Executor(self.plan(height, width), self.backend, options)
