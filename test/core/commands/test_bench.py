"""`fluxshard bench executor`: a small real run, and arguments it refuses."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from fluxshard_core.commands.bench import command

REQUIRED = {
    "model",
    "size",
    "dtype",
    "layout",
    "active",
    "dense_ms",
    "sparse_ms",
    "speedup",
    "bit_identical",
    "cache_mb",
    "peak_mb",
    "onnxruntime_ms",
    "openvino_ms",
}


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_bench_writes_one_consistent_row_per_share(tmp_path: Path, dtype: str) -> None:
    threads = torch.get_num_threads()
    target = tmp_path / "rows.json"
    options = "--model yolo11n --random-weights --size 160x192 --active 0.5,1 --repeats 1"
    arguments = ["executor", *options.split(), "--threads", "1", "--dtype", dtype]
    result = CliRunner().invoke(command, [*arguments, "--json", str(target)])
    torch.set_num_threads(threads)
    assert result.exit_code == 0, result.output
    rows = json.loads(target.read_text())
    assert [row["active"] for row in rows] == [0.5, 1.0]
    for row in rows:
        assert row.keys() >= REQUIRED
        assert row["bit_identical"] is True
        assert (row["openvino_ms"] is None) == (importlib.util.find_spec("openvino") is None)
        assert row["speedup"] == pytest.approx(row["dense_ms"] / row["sparse_ms"])
        assert 0 < row["cache_mb"] < row["activations_mb"]
        assert sum(row["breakdown_ms"].values()) == pytest.approx(row["sparse_ms"], rel=0.2)
    assert rows[0]["compute_ratio"] < rows[1]["compute_ratio"] == 1.0
    assert "bit-identical" in result.output


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--size", "100x100", "multiples of 32"),
        ("--active", "0,0.5", "must be in (0, 1]"),
        ("--active", "much", "not a list of numbers"),
        ("--dtype", "fp16", "fp16"),
    ],
)
def test_bench_refuses_arguments_it_cannot_use(option: str, value: str, message: str) -> None:
    result = CliRunner().invoke(command, ["executor", "--model", "yolo11n", option, value])
    assert result.exit_code == 2
    assert message in result.output
