"""`fluxshard profile`: a small real run makes a profile that rises and can be read back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from fluxshard_core.commands.profile import command
from fluxshard_core.errors import InputError
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload.latency_profile import LatencyProfile
from fluxshard_core.offload.profiling import measure_profile


def test_a_profile_is_measured_saved_and_read_back(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    target = tmp_path / "profile.yaml"
    options = "--model yolo11n --random-weights --size 160x192 --repeats 1 --threads 1"
    result = CliRunner().invoke(command, [*options.split(), "--out", str(target)])
    torch.set_num_threads(threads)
    assert result.exit_code == 0, result.output
    profile = LatencyProfile.load(target)
    assert (profile.model, profile.size, profile.threads) == ("yolo11n", (160, 192), 1)
    assert len(profile.ratios) >= 3
    assert 0 < profile.ratios[0] < profile.ratios[-1] <= 1.5
    assert 0 < profile.ms[0] <= profile.ms[-1]
    profile.check_model(Detector.load("yolo11n", random_seed=0).model_hash, (160, 192))
    assert "compute ratio" in result.output


def test_shares_smaller_than_the_motion_uncovers_are_refused() -> None:
    detector = Detector.load("yolo11n", random_seed=0)
    with pytest.raises(InputError, match="can be measured"):
        measure_profile(detector, (64, 64), "here", shares=(0.001,))
