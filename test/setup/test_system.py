"""What the system lacks is named, all of it at once, with the packages that bring it."""

from __future__ import annotations

import json
import platform
import sys
import sysconfig
from pathlib import Path

import pytest
from fluxshard_setup.errors import SetupError
from fluxshard_setup.system import check_no_other_ros, check_system

BASE_PYTHON = Path(
    sysconfig.get_config_var("BINDIR"), f"python{sys.version_info[0]}.{sys.version_info[1]}"
)

pytestmark = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"),
    reason="the set-up is for Linux on x86-64",
)


def python_that_says(folder: Path, version: list[int], venv: bool, headers: bool) -> Path:
    """Write a program that answers the set-up's question about a Python as given."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\necho '{json.dumps([version, venv, headers])}'\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def without_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("without_tools")
def test_all_missing_tools_are_named_at_once() -> None:
    with pytest.raises(SetupError) as failure:
        check_system(BASE_PYTHON)
    assert "apt install cmake g++ gcc make" in str(failure.value)


def test_an_old_cmake_is_told_from_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cmake", "g++", "gcc", "make"):
        (tmp_path / name).write_text("#!/bin/sh\necho cmake version 3.10.2\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"cmake 3\.16 or newer \(this is 3\.10\)"):
        check_system(BASE_PYTHON)


def test_debian_s_split_python_is_named_by_its_packages(tmp_path: Path) -> None:
    python = python_that_says(tmp_path, [3, 12], venv=False, headers=False)
    with pytest.raises(SetupError, match=r"apt install python3\.12-dev python3\.12-venv"):
        check_system(python)


@pytest.mark.parametrize("version", [[3, 9], [3, 14]])
def test_an_unsupported_python_is_refused(tmp_path: Path, version: list[int]) -> None:
    python = python_that_says(tmp_path, version, venv=True, headers=True)
    with pytest.raises(SetupError, match=rf"Python 3\.10 to 3\.13 \(this is 3\.{version[1]}\)"):
        check_system(python)


def test_a_sourced_ros_is_refused_with_the_way_to_go(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"/opt/ros/jazzy.*colcon"):
        check_no_other_ros(tmp_path, {"AMENT_PREFIX_PATH": "/opt/ros/jazzy"})


def test_a_prefix_of_ours_is_accepted(tmp_path: Path) -> None:
    ours = f"{tmp_path}/install/fluxshard:{tmp_path}/.venv"
    check_no_other_ros(tmp_path, {"AMENT_PREFIX_PATH": ours})
    check_no_other_ros(tmp_path, {})
