"""Simulated machines: latency curves from published tables, for machines that are not here."""

from __future__ import annotations

from dataclasses import dataclass

from fluxshard_core.errors import InputError
from fluxshard_core.offload.latency_profile import LatencyProfile

_TABLE_PIXELS = 1024 * 1024


@dataclass(frozen=True)
class Testbed:
    """Milliseconds of a dense frame at 1024x1024 on the robot and in the cloud.

    A sparse frame at compute ratio ``r`` takes ``fixed + (1 - fixed) r`` of it: ``fixed`` follows
    from the table's row of the published system on the edge alone. The cloud's is not in any table;
    the edge's is assumed.
    """

    __test__ = False

    name: str
    edge_ms: float
    cloud_ms: float
    fixed: float
    source: str

    def edge(self, pixels: int) -> LatencyProfile:
        """Return the robot's curve for inputs of so many pixels, time in proportion to them."""
        return self._profile(self.edge_ms, pixels)

    def cloud(self, pixels: int) -> LatencyProfile:
        """Return the cloud's."""
        return self._profile(self.cloud_ms, pixels)

    def _profile(self, table_ms: float, pixels: int) -> LatencyProfile:
        dense_ms = table_ms * pixels / _TABLE_PIXELS
        ratios = (1e-6, 1.0)
        ms = tuple(dense_ms * (self.fixed + (1 - self.fixed) * ratio) for ratio in ratios)
        return LatencyProfile(self.name, "", (1, pixels), self.source, 1, ratios, ms, dense_ms)


def _fixed(dense_ms: float, sparse_ms: float, ratio: float) -> float:
    """Solve ``sparse = dense (f + (1 - f) ratio)`` for ``f``."""
    return (sparse_ms / dense_ms - ratio) / (1 - ratio)


TESTBEDS = {
    bed.name: bed
    for bed in (
        Testbed(
            "xavier-nx-segment",
            537.5,
            35.7,
            _fixed(537.5, 433.9, 0.454),
            "Jetson Xavier NX and RTX 3080, YOLO11m-seg (arXiv 2605.06027)",
        ),
        Testbed(
            "xavier-nx-pose",
            446.8,
            27.6,
            _fixed(446.8, 252.4, 0.411),
            "Jetson Xavier NX and RTX 3080, YOLO11m-pose (arXiv 2605.06027)",
        ),
    )
}


def find_testbed(name: str) -> Testbed:
    """Return a testbed by name; :raises InputError: for an unknown one."""
    if name not in TESTBEDS:
        raise InputError(f"unknown testbed {name!r}; choose from: {', '.join(TESTBEDS)}")
    return TESTBEDS[name]
