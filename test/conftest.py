"""What every test may use: the real weights and video, where this machine has them."""

import os
from pathlib import Path

import pytest

_NEEDS = {"weights": "weights", "video": "data"}


def _home() -> Path | None:
    home = os.environ.get("FLUXSHARD_HOME")
    return Path(home).resolve() if home else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    home = _home()
    for marker, folder in _NEEDS.items():
        if item.get_closest_marker(marker) and not (home and (home / folder).is_dir()):
            pytest.skip(f"needs $FLUXSHARD_HOME/{folder} (FLUXSHARD_HOME is {home or 'not set'})")


@pytest.fixture(scope="session")
def fluxshard_home() -> Path:
    """The folder with `weights` and `data`; tests that use it are marked with what they need."""
    home = _home()
    assert home is not None
    return home
