"""`fluxshard plan` shows every operator of a model, with or without weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fluxshard_core.commands.plan import command
from fluxshard_core.errors import InputError, WeightsError


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that has no weights and no network."""
    monkeypatch.delenv("FLUXSHARD_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("YOLO_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "160")


def test_the_plan_is_shown_without_weights_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    result = CliRunner().invoke(command, ["yolo11n", "--size", "64x96", "--json", str(file)])
    assert result.exit_code == 0, result.output
    assert "random ones give the same plan" in result.output
    assert "layers.0.conv" in result.output
    assert "attention, every cell reads every other" in result.output
    document = json.loads(file.read_text())
    assert document["size"] == [64, 96]
    assert len(document["dense_islands"]) == 1
    rows = document["operators"]
    total = document["multiply_accumulates"]
    assert sum(row["multiply_accumulates"] for row in rows) == total
    assert sum(document["share_by_level"].values()) == pytest.approx(1.0)
    upsample = next(row for row in rows if row["operator"] == "upsample x2")
    assert (upsample["stride"], upsample["level"]) == ("1/2", 16)
    assert {row["cached"] for row in rows} == {"always", "filtered", "never"}


@pytest.mark.parametrize("size", ["63x64", "0x64", "64by64", "-32"])
def test_a_size_the_network_cannot_take_is_refused(size: str) -> None:
    result = CliRunner().invoke(command, ["yolo11n", f"--size={size}"])
    assert result.exit_code == 2
    assert "--size" in result.output


def test_a_missing_weight_file_is_an_error_and_not_a_random_plan(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [str(tmp_path / "mine.pt")])
    assert isinstance(result.exception, WeightsError)


def test_an_unknown_model_is_an_error() -> None:
    assert isinstance(CliRunner().invoke(command, ["yolo99n"]).exception, InputError)
