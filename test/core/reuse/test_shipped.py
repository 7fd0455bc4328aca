"""Profiles that come with FluxShard: found by the hash of the weights, and only by that."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.reuse import shipped
from fluxshard_core.reuse.calibration import Found, Measured
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.profile import MotionBin, ReuseProfile
from fluxshard_core.reuse.shipped import file_name, profile_choice, shipped_profile

SHIPPED_FILES = sorted(shipped.PROFILES.glob("*"))
HASH = "00112233445566778899"


def profile(model_hash: str) -> ReuseProfile:
    found = Found(ReuseConfig(reach=0), Measured(0.98, 0.3, 1.5), ())
    bins = (MotionBin(0, ("a",), found),)
    return ReuseProfile("tiny", model_hash, (96, 160), 0.03, 0, "", "", bins)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shipped, "PROFILES", tmp_path)
    shipped_profile.cache_clear()
    return tmp_path


def test_a_profile_is_found_by_the_hash_of_the_weights(folder: Path) -> None:
    profile(HASH).save(folder / file_name("tiny", HASH))
    assert shipped_profile("tiny", HASH) == profile(HASH)
    assert shipped_profile("tiny", HASH[::-1]) is None


def test_a_hash_that_only_begins_alike_is_not_taken_for_the_same(folder: Path) -> None:
    profile(HASH).save(folder / file_name("tiny", HASH))
    assert shipped_profile("tiny", HASH[:-1] + "0") is None


@pytest.mark.parametrize("file", SHIPPED_FILES, ids=lambda file: file.stem)
def test_what_comes_with_fluxshard_is_found_under_its_own_name(file: Path) -> None:
    held = ReuseProfile.load(file)
    assert file.name == file_name(held.model, held.model_hash)
    assert shipped_profile(held.model, held.model_hash) == held
    assert "calibrate" in held.command
    assert "commit" in held.code
    assert all(one.found.curve for one in held.bins)


def test_a_setting_names_the_shipped_one_none_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    profile(HASH).save(file)
    assert profile_choice("") == profile_choice("shipped") == "shipped"
    assert profile_choice("none") is None
    assert profile_choice(str(file)) == profile(HASH)
    with pytest.raises(InputError, match="cannot read the reuse profile"):
        profile_choice(str(tmp_path / "missing.yaml"))
