"""The aggregate row, by hand."""

from __future__ import annotations

from dataclasses import replace

from fluxshard_core.evaluation.rows import AGGREGATE, Row, aggregate, mean

ROW = Row(
    sequence="a",
    method="m",
    frames=9,
    box_retention=0.5,
    mask_retention=None,
    false_alarms_per_100=0.0,
    j=0.25,
    j_dense=0.5,
    compute_ratio=0.25,
    reuse_ratio=0.75,
    tx_bytes_per_frame=100.0,
    tx_ratio=0.125,
    ms_p50=8.0,
    ms_p95=16.0,
    ms_p99=16.0,
    motion=3.0,
)


def test_every_sequence_counts_the_same() -> None:
    longer = replace(ROW, sequence="b", frames=99, box_retention=1.0, compute_ratio=0.75, j=None)
    (total,) = aggregate([ROW, longer])
    assert (total.sequence, total.method, total.frames) == (AGGREGATE, "m", 108)
    assert (total.box_retention, total.compute_ratio) == (0.75, 0.5)
    assert total.j == 0.25, "sequences without annotations do not count"
    assert total.mask_retention is None
    assert (total.tx_bytes_per_frame, total.ms_p95, total.motion) == (100.0, 16.0, 3.0)


def test_methods_are_kept_apart_in_order() -> None:
    other = replace(ROW, method="n", box_retention=0.25)
    assert [(row.method, row.box_retention) for row in aggregate([other, ROW])] == [
        ("n", 0.25),
        ("m", 0.5),
    ]


def test_the_mean_of_nothing_known_is_unknown() -> None:
    assert mean([]) is None
    assert mean([None, None]) is None
    assert mean([None, 0.25, 0.75]) == 0.5
