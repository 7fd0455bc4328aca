"""Reports on disk, on the terminal and as pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest

from fluxshard_core.baselines.registry import METHODS
from fluxshard_core.evaluation.machine import machine, versions
from fluxshard_core.evaluation.plots import MethodStyles, save_plots, shared_name
from fluxshard_core.evaluation.report import Report, show
from fluxshard_core.evaluation.rows import Row
from fluxshard_core.evaluation.runner import Outcome, Series

ASKED_FOR = [
    "sequence",
    "method",
    "frames",
    "box_retention",
    "mask_retention",
    "false_alarms_per_100",
    "j",
    "j_dense",
    "compute_ratio",
    "reuse_ratio",
    "tx_bytes_per_frame",
    "tx_ratio",
    "ms_p50",
    "ms_p95",
]


def outcome(sequence: str, method: str, retention: float | None, compute: float) -> Outcome:
    row = Row(
        sequence, method, 2, retention, None, 0.0, None, None, compute, 1 - compute, 0.0, 0.0,
        5.0, 6.0, 6.0, 1.5,
    )  # fmt: skip
    series = Series(sequence, method, [1, 2], [retention, None], [compute] * 2, [0.5] * 2,
                    [0, 0], [5.0, 6.0])  # fmt: skip
    return Outcome(row, series)


@pytest.fixture
def report() -> Report:
    header: dict[str, Any] = {
        "command": "fluxshard eval --input a b",
        "machine": machine(),
        "versions": versions(),
        "model": "yolo11n-seg",
        "model_hash": "0123456789abcdef" * 4,
        "weights": "random, seed 0",
        "size": [64, 96],
        "sequences": [{"name": name, "path": f"/data/{name}"} for name in ("a", "b")],
    }
    outcomes = [
        outcome(sequence, method, retention, compute)
        for sequence in ("a", "b")
        for method, retention, compute in (
            ("dense", 1.0, 1.0),
            ("sparse:1", 0.9, 0.25),
            ("sparse:2", None, 0.5),
        )
    ]
    sending = replace(outcomes[1].row, tx_bytes_per_frame=500.0, tx_ratio=0.02)
    outcomes[1] = replace(outcomes[1], row=sending)
    return Report(header, outcomes)


def test_the_json_holds_rows_aggregates_and_series(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path / "report.json")
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["header"]["complete"] is False
    assert all(set(ASKED_FOR) <= row.keys() for row in content["rows"])
    named = [(row["sequence"], row["method"]) for row in content["rows"]]
    assert len(named) == 9
    assert named[6:] == [
        ("aggregate", "dense"),
        ("aggregate", "sparse:1"),
        ("aggregate", "sparse:2"),
    ]
    assert content["rows"][8]["box_retention"] is None
    assert content["series"][0]["compute_ratio"] == [1.0, 1.0]


def test_saving_replaces_the_old_report_and_leaves_nothing_else(
    report: Report, tmp_path: Path
) -> None:
    report.save(tmp_path / "report.json")
    report.complete = True
    report.save(tmp_path / "report.json")
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert json.loads((tmp_path / "report.json").read_text())["header"]["complete"] is True


def test_the_table_is_never_cut_off_and_says_where_it_comes_from(
    report: Report, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    show(report)
    text = capsys.readouterr().out
    assert "…" not in text
    for part in ("box ret.", "p99 ms", "sparse:2", "aggregate", "0.900", "INTERRUPTED"):
        assert part in text
    joined = text.replace("\n", "")
    for origin in ("fluxshard eval --input a b", "0123456789abcdef" * 4, "torch ", "/data/b"):
        assert origin in joined


def test_four_pictures_are_drawn(report: Report, tmp_path: Path) -> None:
    paths = save_plots(report, tmp_path / "new" / "plots")
    assert len(paths) == 4
    for path in paths:
        image = cv2.imread(str(path))
        assert image is not None
        assert image.std() > 5, "something is drawn"


def test_the_points_of_a_curve_are_named_by_what_is_their_own() -> None:
    curve = [f"fluxshard:h264:{qp}" for qp in (12, 16, 20, 24)]
    assert shared_name(curve) == "fluxshard:h264:"
    assert shared_name([*curve, "fluxshard"]) == "fluxshard:"
    assert shared_name(curve[:2]) == ""


def test_no_two_methods_are_drawn_alike() -> None:
    styles = MethodStyles([outcome("a", method, 0.9, 0.5).row for method in METHODS])
    assert len({styles.colour(method) for method in METHODS}) == len(METHODS)
    assert len({styles.marker(method) for method in METHODS}) == len(METHODS)
