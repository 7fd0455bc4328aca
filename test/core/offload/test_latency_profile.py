"""A profile survives its file, interpolates between what was measured, and is for one model."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from fluxshard_core.offload.latency_profile import LatencyProfile, ProfileError, monotone

PROFILE = LatencyProfile(
    "yolo11n", "0f" * 16, (480, 864), "a robot", 2, (0.1, 0.4, 1.0), (20.0, 50.0, 130.0), 120.0
)


def test_a_profile_survives_its_file(tmp_path: Path) -> None:
    PROFILE.save(tmp_path / "profile.yaml")
    assert LatencyProfile.load(tmp_path / "profile.yaml") == PROFILE


@pytest.mark.parametrize(
    ("ratio", "ms"), [(0.0, 20.0), (0.1, 20.0), (0.25, 35.0), (0.7, 90.0), (1.5, 130.0)]
)
def test_latency_is_linear_between_measured_ratios_and_flat_beyond(ratio: float, ms: float) -> None:
    assert PROFILE.frame_ms(ratio, dense=False) == pytest.approx(ms)


def test_a_frame_computed_whole_has_its_own_latency() -> None:
    assert PROFILE.frame_ms(1.0, dense=True) == 120.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"version": 2}, "version 2"),
        ({"ratios": (0.1, 0.4)}, "2 ratios for 3"),
        ({"ratios": (), "ms": ()}, "0 ratios"),
        ({"ratios": (0.4, 0.1, 1.0)}, "must rise"),
        ({"ms": (20.0, 10.0, 130.0)}, "must rise"),
        ({"ms": (0.0, 10.0, 130.0)}, "positive"),
        ({"dense_ms": math.nan}, "positive"),
    ],
    ids=str,
)
def test_points_that_make_no_curve_are_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ProfileError, match=named):
        replace(PROFILE, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "model: yolo11n", "a: [", "!!python/object/apply:os.getpid []"]
)
def test_files_that_are_no_profiles_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=r"profile\.yaml"):
        LatencyProfile.load(path)
    with pytest.raises(ProfileError, match="absent"):
        LatencyProfile.load(tmp_path / "absent.yaml")


def test_a_profile_of_another_model_or_size_is_refused() -> None:
    PROFILE.check_model("0f" * 16, (480, 864))
    with pytest.raises(ProfileError, match="fluxshard profile"):
        PROFILE.check_model("1f" * 16, (480, 864))
    with pytest.raises(ProfileError, match="640x640"):
        PROFILE.check_model("0f" * 16, (640, 640))


def test_disturbed_measurements_become_a_rising_curve() -> None:
    assert monotone([0.5, 0.1, 0.9, 0.1], [40.0, 12.0, 35.0, 10.0]) == (
        (0.1, 0.5, 0.9),
        (10.0, 40.0, 40.0),
    )
    with pytest.raises(ProfileError, match="no latencies"):
        monotone([], [])
