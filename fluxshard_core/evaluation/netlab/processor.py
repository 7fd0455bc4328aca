"""A slower processor: a control group that gets only part of one core's time."""

from __future__ import annotations

import os
from pathlib import Path

from fluxshard_core.closing import Closing
from fluxshard_core.evaluation.netlab.link import NetlabError

_ROOT = Path("/sys/fs/cgroup")
_SHORTEST_QUOTA_US = 1000
"""The kernel's least; the period follows from it, so that a frame is spread evenly."""


class ProcessorShare(Closing):
    """Runs commands on ``share`` of a core's time once ``limit`` was called, until the block ends.

    Everything a command does becomes slower, its motion search and its encoding too, as on a
    smaller machine; only memory and caches stay those of the larger one. Needs root, and control
    groups of version 2 or 1 with the ``cpu`` controller.

    :raises NetlabError: where the group cannot be made.
    """

    def __init__(self, share: float) -> None:
        """``share`` in (0, 1]."""
        unified = (_ROOT / "cgroup.controllers").exists()
        self._group = _ROOT / ("" if unified else "cpu") / f"fsnl-{os.getpid()}"
        period = max(_SHORTEST_QUOTA_US, round(_SHORTEST_QUOTA_US / share))
        quota = round(period * share)
        self._settings = (
            {"cpu.max": f"{quota} {period}"}
            if unified
            else {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(quota)}
        )

    def __enter__(self) -> ProcessorShare:
        try:
            self._group.mkdir()
            missing = [name for name in self._settings if not (self._group / name).exists()]
        except OSError as error:
            raise NetlabError(f"cannot make the control group {self._group}: {error}") from error
        if missing:
            self._group.rmdir()
            raise NetlabError(
                f"control group {self._group} has no {missing[0]}: mount the cpu controller, or "
                "run with a whole core for the edge"
            )
        return self

    def close(self) -> None:
        """Remove the group; what ran in it has ended."""
        self._group.rmdir()

    def inside(self, *command: str) -> list[str]:
        """Return ``command`` as it is run in the group."""
        enter = 'echo $$ > "$0" && exec "$@"'
        return ["sh", "-c", enter, str(self._group / "cgroup.procs"), *command]

    def limit(self) -> None:
        """Slow down from now on what runs in the group."""
        for name, value in self._settings.items():
            (self._group / name).write_text(value)
