"""A virtual environment is kept while it works and made anew when it cannot."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest
from fluxshard_setup.environment import base_python, discard_if_unusable


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """Return a folder that looks like a virtual environment of the Python running the tests."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "pip").write_text(f"#!{folder}/bin/python3\n")
    version = ".".join(str(number) for number in sys.version_info[:3])
    home = sysconfig.get_config_var("BINDIR")
    (folder / "pyvenv.cfg").write_text(f"home = {home}\nversion = {version}\n")
    return folder


def test_the_python_an_environment_was_made_from_is_found(venv: Path) -> None:
    assert base_python(venv).is_file()
    assert base_python(venv) == base_python(venv.with_name("not-made-yet"))


def test_a_working_environment_is_kept(venv: Path) -> None:
    assert not discard_if_unusable(venv)
    assert (venv / "bin" / "pip").is_file()


def test_a_moved_environment_is_discarded(venv: Path) -> None:
    moved = venv.rename(venv.with_name("elsewhere"))
    assert discard_if_unusable(moved)
    assert not moved.exists()


def test_an_environment_whose_python_is_gone_is_discarded(venv: Path) -> None:
    (venv / "pyvenv.cfg").write_text("home = /no/such/place\nversion = 3.11.2\n")
    assert discard_if_unusable(venv)


def test_a_folder_that_is_no_environment_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert not discard_if_unusable(tmp_path)
    assert (tmp_path / "notes.txt").is_file()
