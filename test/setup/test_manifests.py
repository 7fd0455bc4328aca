"""The package manifests agree with each other and with what the code imports."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

import fluxshard_core

ROOT = Path(__file__).parents[2]
OURS = {"fluxshard_core", "fluxshard_kernels", "fluxshard_ros"}
# Import name to distribution, where they differ.
DISTRIBUTIONS = {"PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml"}
# Kernels of GPU builds of PyTorch, and ROS packages that do without a manifest entry.
WITHOUT_ENTRY = {"triton"}


def imported_names(folder: Path) -> Iterator[str]:
    """Yield the top-level name of every absolute import below ``folder``."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module.partition(".")[0]


def third_party(*folders: str) -> set[str]:
    names = {name for folder in folders for name in imported_names(ROOT / folder)}
    return names - OURS - set(sys.stdlib_module_names) - WITHOUT_ENTRY


def requirements(*names: str) -> dict[str, str]:
    """Return the lines of the requirement files, without comments, by distribution."""
    lines = [
        line for name in names for line in (ROOT / "requirements" / name).read_text().split("\n")
    ]
    wanted = [line.partition("#")[0].strip() for line in lines]
    return {re.split(r"[<>=!~ ]", line)[0].lower(): line for line in wanted if line}


def manifest(package: Path) -> ET.Element:
    return ET.parse(package / "package.xml").getroot()


def ros_dependencies(package: Path) -> set[str]:
    tags = {"depend", "exec_depend"}
    return {str(item.text) for item in manifest(package) if item.tag in tags}


def test_all_versions_are_one() -> None:
    versions = {
        str(manifest(package).findtext("version")) for package in (ROOT, ROOT / "fluxshard_msgs")
    }
    versions |= set(re.findall(r'version="([^"]+)"', (ROOT / "setup.py").read_text()))
    assert versions == {fluxshard_core.__version__}


def test_what_the_library_imports_is_in_the_requirements() -> None:
    installed = requirements("runtime.txt", "no-deps.txt")
    missing = {
        name
        for name in third_party("fluxshard_core", "kernels")
        if DISTRIBUTIONS.get(name, name) not in installed
    }
    assert missing == set()


def test_what_the_nodes_import_is_in_the_package_manifest() -> None:
    library = {*requirements("runtime.txt", "no-deps.txt"), *DISTRIBUTIONS}
    assert third_party("fluxshard_ros", "launch") - library <= ros_dependencies(ROOT)


def test_a_robot_gets_the_versions_of_the_stand_alone_environment() -> None:
    assert requirements("robot.txt").items() <= requirements("runtime.txt").items()


@pytest.mark.parametrize("layout", ["clone", "workspace"])
def test_colcon_finds_both_packages_in(layout: str, tmp_path: Path) -> None:
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    colcon = shutil.which("colcon", path=places)
    if colcon is None:
        pytest.skip("colcon is not installed")
    arguments: list[str] = []
    where = ROOT
    if layout == "workspace":
        (tmp_path / "src").mkdir()
        (tmp_path / "src" / "fluxshard").symlink_to(ROOT)
        where, arguments = tmp_path, ["--base-paths", "src", "src/fluxshard/fluxshard_msgs"]
    answer = subprocess.run(
        [colcon, "--log-base", str(tmp_path / "log"), "list", "--names-only", *arguments],
        cwd=where,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == ["fluxshard", "fluxshard_msgs"]
