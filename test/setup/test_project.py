"""The environment is laid out as ROS expects an installed package to be."""

from __future__ import annotations

from pathlib import Path

import pytest
from fluxshard_setup.project import link_prefix


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name in ("launch/fluxshard.launch.py", "config/edge.yaml", "package.xml", "kernels/x.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_launch_and_config_files_are_where_ros2_launch_looks(
    checkout: Path, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    link_prefix(checkout, venv)
    share = venv / "share" / "fluxshard"
    assert (share / "config" / "edge.yaml").read_text() == "config/edge.yaml"
    assert not (share / "launch").is_symlink()
    assert (share / "launch" / "fluxshard.launch.py").read_text() == "launch/fluxshard.launch.py"
    assert (venv / "src" / "fluxshard_kernels" / "x.py").is_file()


def test_a_removed_file_disappears_and_a_new_one_appears(checkout: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    link_prefix(checkout, venv)
    (checkout / "config" / "edge.yaml").rename(checkout / "config" / "cloud.yaml")
    link_prefix(checkout, venv)
    config = venv / "share" / "fluxshard" / "config"
    assert [path.name for path in config.iterdir()] == ["cloud.yaml"]
