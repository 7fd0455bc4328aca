"""Engine: a detector ready to run in tiles, shared by all endpoints of a process."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from fluxshard_core.models.detector import Detector
from fluxshard_core.sparse.backends import default_backend
from fluxshard_core.sparse.binding import Binding
from fluxshard_core.sparse.capture import capture
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.threads import computing

MAX_SIZES = 8
"""Input sizes kept ready: each has weights of its own, in the order that suits its shapes."""


class Engine:
    """A detector, its plans by input size, and the backend that knows its convolutions.

    Executors run on any thread, each on one at a time. Those of one size share their weights; of
    more than ``MAX_SIZES`` sizes the one asked for longest ago is prepared again when needed.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        # Block mode is not exact, so nothing is gained by checking every form of a convolution.
        self.backend = default_backend(exact=False)
        self._bindings: OrderedDict[tuple[int, int], Binding] = OrderedDict()
        self._preparing = Lock()

    def plan(self, height: int, width: int) -> Plan:
        """Return the network's plan for one input size."""
        return self.binding(height, width).plan

    def binding(self, height: int, width: int) -> Binding:
        """Return the network ready for one input size, prepared once."""
        size = height, width
        with self._preparing:
            found = self._bindings.pop(size, None)
            if found is None:
                with computing(1):  # constants are folded: the same to the bit on every machine
                    found = Binding(capture(self.detector.network, height, width), self.backend)
            self._bindings[size] = found
            if len(self._bindings) > MAX_SIZES:
                self._bindings.popitem(last=False)
            return found

    def executor(self, height: int, width: int, options: ExecutorOptions | None = None) -> Executor:
        """Return an executor with caches of its own."""
        binding = self.binding(height, width)
        if options is not None and dict(options.tile_sizes) != binding.tile_sizes:
            return Executor(binding.plan, self.backend, options)
        return Executor(binding.plan, self.backend, options, binding)
