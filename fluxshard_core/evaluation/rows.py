"""The rows of an evaluation's table, and the one that sums a method up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

AGGREGATE = "aggregate"


@dataclass(frozen=True)
class Row:
    """One method on one sequence, or on all (``sequence`` is then ``aggregate``).

    ``box_retention`` and ``mask_retention`` are mean IoUs with the dense run's instances, ``j``
    and ``j_dense`` those with the annotations; None where there is nothing to compare with.
    ``frames`` counts the scored ones. ``tx_ratio`` is to the raw RGB bytes of the network's input.
    ``motion`` is the mean over frames of the median motion, in pixels of that input. Times are
    from frame in to result out with both ends in this process and no link between them.
    """

    sequence: str
    method: str
    frames: int
    box_retention: float | None
    mask_retention: float | None
    false_alarms_per_100: float
    j: float | None
    j_dense: float | None
    compute_ratio: float
    reuse_ratio: float
    tx_bytes_per_frame: float
    tx_ratio: float
    ms_p50: float
    ms_p95: float
    ms_p99: float
    motion: float


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are known, None if none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def aggregate(rows: Sequence[Row]) -> list[Row]:
    """Return one row for each method: every sequence counts the same, however long it is.

    Frames add up; everything else, the percentiles of time included, is the mean over sequences.
    """
    methods = list(dict.fromkeys(row.method for row in rows))
    return [_aggregate([row for row in rows if row.method == method]) for method in methods]


def _aggregate(rows: Sequence[Row]) -> Row:
    def known(name: str) -> float | None:
        return mean([getattr(row, name) for row in rows])

    def always(name: str) -> float:
        return sum(float(getattr(row, name)) for row in rows) / len(rows)

    return Row(
        sequence=AGGREGATE,
        method=rows[0].method,
        frames=sum(row.frames for row in rows),
        box_retention=known("box_retention"),
        mask_retention=known("mask_retention"),
        false_alarms_per_100=always("false_alarms_per_100"),
        j=known("j"),
        j_dense=known("j_dense"),
        compute_ratio=always("compute_ratio"),
        reuse_ratio=always("reuse_ratio"),
        tx_bytes_per_frame=always("tx_bytes_per_frame"),
        tx_ratio=always("tx_ratio"),
        ms_p50=always("ms_p50"),
        ms_p95=always("ms_p95"),
        ms_p99=always("ms_p99"),
        motion=always("motion"),
    )
