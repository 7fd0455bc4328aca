"""`fluxshard calibrate`: a small real run makes a profile, and goes on from what is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from fluxshard_core.commands.calibrate import Points, command
from fluxshard_core.errors import InputError
from fluxshard_core.models.detector import Detector
from fluxshard_core.reuse.calibration import Measured
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.profile import ReuseProfile


def test_a_calibration_is_saved_resumed_and_says_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    out, summary = tmp_path / "profile.yaml", tmp_path / "summary.json"
    options = "--model yolo11n --random-weights --sequences scene --size 96x128 --max-frames 3"
    arguments = [*options.split(), "--threads", "1", "--bins", "0", "--out", str(out)]
    first = CliRunner().invoke(command, [*arguments, "--json", str(summary)])
    assert first.exit_code == 0, first.output
    profile = ReuseProfile.load(out)
    points = tmp_path / "profile.yaml.points.jsonl"
    measured = points.read_text()
    assert len(measured.splitlines()) == len(profile.bins[0].found.curve)
    second = CliRunner().invoke(command, arguments)
    assert second.exit_code == 0, second.output
    assert points.read_text() == measured
    assert ReuseProfile.load(out).bins == profile.bins
    monkeypatch.setattr("fluxshard_core.commands.calibrate.digest", lambda: "of another program")
    third = CliRunner().invoke(command, arguments)
    torch.set_num_threads(threads)
    assert third.exit_code == 0, third.output
    assert len(points.read_text().splitlines()) == 2 * len(measured.splitlines())
    profile.check_model("yolo11n", Detector.load("yolo11n", random_seed=0).model_hash)
    assert json.loads(summary.read_text())["bins"][0]["above"] == 0
    assert "retention" in first.output


def test_a_line_cut_short_is_measured_again_and_another_model_shares_nothing(
    tmp_path: Path,
) -> None:
    file, config = tmp_path / "points.jsonl", ReuseConfig()
    kept = Measured(0.9, 0.3, 0.0)
    Points(file, ["hash", 3]).get("a", config, lambda: kept)
    with file.open("a") as stream:
        stream.write('{"key": "12", "reten')

    def refuse() -> Measured:
        raise AssertionError("measured again")

    assert Points(file, ["hash", 3]).get("a", config, refuse) == kept
    other = Measured(0.5, 0.1, 1.0)
    assert Points(file, ["other", 3]).get("a", config, lambda: other) == other
    assert Points(file, ["hash", 3]).get("b", config, lambda: other) == other


@pytest.mark.parametrize("bins", ["1,3", "0,9,3", "0,x"])
def test_bins_that_do_not_rise_from_zero_are_refused(bins: str) -> None:
    result = CliRunner().invoke(command, ["--sequences", "scene", "--bins", bins])
    assert result.exit_code == 2
    assert "--bins" in result.output


def test_a_missing_sequence_is_named() -> None:
    arguments = ["--model", "yolo11n", "--random-weights", "--sequences", "/nowhere"]
    with pytest.raises(InputError, match="nowhere"):
        CliRunner().invoke(command, arguments, catch_exceptions=False)
