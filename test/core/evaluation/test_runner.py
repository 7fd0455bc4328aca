"""The run over sequences and methods: what is scored, against what, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.edge_only import EdgeOnly
from fluxshard_core.baselines.method import MethodResult
from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.runner import REFERENCE, evaluate
from fluxshard_core.evaluation.sequences import open_sequences
from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections


class Blind:
    """Finds nothing; its first frame costs a hundred times the others."""

    def __init__(self) -> None:
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def process(self, frame: Frame) -> MethodResult:
        first = frame.number == 0
        return MethodResult(
            Detections(masks=()),
            executed=100 if first else 1,
            dense=4,
            reuse_ratio=0.0 if first else 0.5,
            tx_bytes=9000 if first else 1000,
        )


def test_the_dense_run_keeps_everything(context: MethodContext, davis: Path) -> None:
    (outcome,) = evaluate(open_sequences([davis]), {"edge_only": EdgeOnly(context)}, context)
    row = outcome.row
    assert (row.sequence, row.method, row.frames) == ("walk", "edge_only", 3)
    assert (row.box_retention, row.mask_retention, row.false_alarms_per_100) == (1.0, 1.0, 0.0)
    assert row.j is not None
    assert row.j == row.j_dense > 0
    assert (row.compute_ratio, row.reuse_ratio, row.tx_ratio) == (1.0, 0.0, 0.0)
    assert 0 < row.ms_p50 <= row.ms_p95 <= row.ms_p99


def test_first_frames_and_their_cost_are_not_scored(context: MethodContext, davis: Path) -> None:
    method = Blind()
    (outcome,) = evaluate(open_sequences([davis]), {"blind": method}, context)
    row, series = outcome.row, outcome.series
    assert method.resets == 1
    assert (row.box_retention, row.mask_retention, row.j) == (0.0, 0.0, 0.0)
    assert (row.compute_ratio, row.reuse_ratio) == (0.25, 0.5)
    assert row.tx_bytes_per_frame == 1000
    assert row.tx_ratio == 1000 / (64 * 96 * 3)
    assert series.compute_ratio == [0.25] * 3
    assert len(series.motion) == len(series.ms) == len(series.tx_bytes) == 3


def test_sequences_and_methods_are_crossed_and_progress_is_told(
    context: MethodContext, davis: Path
) -> None:
    seen: list[tuple[str, str]] = []
    methods = {"one": Blind(), "two": Blind()}
    outcomes = list(
        evaluate(
            open_sequences([davis, davis]),
            methods,
            context,
            max_frames=2,
            frame_done=lambda sequence, running: seen.append((sequence, running)),
        )
    )
    assert [(o.row.sequence, o.row.method, o.row.frames) for o in outcomes] == [
        ("walk", "one", 1),
        ("walk", "two", 1),
        (str(davis), "one", 1),
        (str(davis), "two", 1),
    ]
    assert seen[:6] == [("walk", name) for name in (REFERENCE, "one", "two") for _ in range(2)]
    assert methods["one"].resets == 2


def test_a_single_frame_cannot_be_scored(context: MethodContext, davis: Path) -> None:
    with pytest.raises(InputError, match="1 frames; scoring needs two or more"):
        list(evaluate(open_sequences([davis]), {"blind": Blind()}, context, max_frames=1))
