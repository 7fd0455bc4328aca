"""`fluxshard verify` compares exact mode with dense runs and fails on any difference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fluxshard_core.commands.verify import command
from fluxshard_core.errors import InputError
from fluxshard_core.reuse.rfap import ReceptiveFieldCheck


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small maps run several times faster on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def arguments(path: object, file: Path, trials: int = 3) -> list[str]:
    small = ["--size", "96x128", "--frames", "3", "--trials", str(trials), "--random-weights"]
    return ["--model", "yolov8n", "--input", str(path), *small, "--json", str(file)]


def test_frames_and_trials_of_the_generated_scene_are_identical(tmp_path: Path) -> None:
    file = tmp_path / "verify.json"
    result = CliRunner().invoke(command, arguments("scene", file))
    assert result.exit_code == 0, result.output
    assert "identical" in result.output
    document = json.loads(file.read_text())
    assert (document["frames"], document["trials"]) == (3, 3)
    assert (document["mismatches"], document["max_abs_error"]) == (0, 0.0)
    assert document["size"] == [96, 128]


def test_a_difference_is_counted_and_is_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReceptiveFieldCheck, "breaks", lambda *_: None)
    file = tmp_path / "verify.json"
    result = CliRunner().invoke(command, arguments("scene", file, trials=10))
    assert result.exit_code == 1
    assert "DIFFERENT" in result.output
    document = json.loads(file.read_text())
    assert document["mismatches"] > 0
    assert document["max_abs_error"] > 0.0


def test_frames_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    for index, side in enumerate((64, 96)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros((side, 64, 3), np.uint8))
    result = CliRunner().invoke(
        command, ["--model", "yolov8n", "--input", str(tmp_path), "--random-weights"]
    )
    assert isinstance(result.exception, InputError)
    assert "give --size" in str(result.exception)
