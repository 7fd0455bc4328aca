"""Profiles: saved and read back whole, indexed by motion, only for their own weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.calibration import CurvePoint, Found, Measured
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.profile import MotionBin, MotionIntensity, ReuseProfile


def found(threshold: float) -> Found:
    config = ReuseConfig(background_threshold=threshold)
    measured = Measured(0.98, 0.3, 1.5)
    other = CurvePoint(ReuseConfig(shape_interval=3), Measured(0.9, 0.2, 0.0), chosen=False)
    return Found(config, measured, (CurvePoint(config, measured, chosen=True), other))


def profile(*edges: float) -> ReuseProfile:
    bins = tuple(MotionBin(edge, ("a", "b"), found(0.1 + edge / 100)) for edge in edges)
    return ReuseProfile(
        "tiny", "00ff", (96, 160), 0.03, 7, "fluxshard calibrate ...", "commit 0", bins
    )


def test_a_profile_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    profile(0, 3, 9).save(file)
    assert ReuseProfile.load(file) == profile(0, 3, 9)
    assert "version: 2" in file.read_text()


@pytest.mark.parametrize(("motion", "edge"), [(0, 0), (2.9, 0), (3, 3), (8, 3), (400, 9)])
def test_the_motion_chooses_the_policy(motion: float, edge: float) -> None:
    assert profile(0, 3, 9).config_for(motion).background_threshold == 0.1 + edge / 100


def test_other_weights_are_refused_by_naming_both() -> None:
    profile(0).check_model("tiny", "00ff")
    with pytest.raises(InputError, match=r"tiny \(00ff\).*small \(1234\)"):
        profile(0).check_model("small", "1234")


@pytest.mark.parametrize("edges", [(), (1, 3), (0, 3, 3), (0, 9, 3)])
def test_bins_that_leave_a_gap_are_refused(edges: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="rise from 0"):
        profile(*edges)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1", "version 2 but of 1"),
        ("[]", "of None"),
        ("version: 2", "damaged"),
        ("a: [", "cannot read"),
    ],
)
def test_files_that_are_no_profile_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        ReuseProfile.load(file)


def test_an_unknown_knob_makes_a_profile_damaged(tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    profile(0).save(file)
    file.write_text(file.read_text().replace("reach:", "rech:"))
    with pytest.raises(InputError, match="damaged"):
        ReuseProfile.load(file)


def test_the_intensity_is_the_smoothed_median_length() -> None:
    intensity = MotionIntensity()
    motion = MotionField.zero(64, 64)
    assert intensity.observe(MotionField.invalid(64, 64)) == 0
    motion.vectors[...] = 12, 16
    motion.vectors[0, 0] = 4000, 0
    assert intensity.observe(motion) == pytest.approx(5)
    fast = MotionField.zero(64, 64)
    fast.vectors[...] = 60, 0
    values = [intensity.observe(fast) for _ in range(40)]
    assert np.all(np.diff(values) > 0)
    assert 5 < values[0] < 7
    assert values[-1] == pytest.approx(15, abs=0.2)
    assert intensity.observe(MotionField.invalid(64, 64)) == values[-1]
