"""The walls of the house: imports between rooms point one way, ROS and ultralytics stay out."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "fluxshard_core"

# From the foundation up: a room may import the rooms before it, and itself.
FLOORS = (
    ("errors",),
    ("closing", "frame", "newest", "timing", "pixel_formats"),
    ("threads",),
    ("shared_cores",),
    ("motion",),
    ("reuse",),
    ("sparse",),
    ("models",),
    ("overlay",),
    ("offload",),
    ("session",),
    ("cloud_service",),
    ("cloud_process",),
    ("cloud_processes",),
    ("baselines",),
    ("evaluation",),
    ("commands", "cli", "__init__"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ROS = {"rclpy", "fluxshard_ros", "fluxshard_msgs", "sensor_msgs", "std_msgs", "vision_msgs"}


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield node.module or ""


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "fluxshard_core" and len(parts) > 1 else None


CORE_FILES = sorted(CORE.rglob("*.py"))
KERNEL_FILES = sorted((ROOT / "kernels").rglob("*.py"))


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", CORE_FILES, ids=name)
def test_a_room_imports_only_rooms_below_it(file: Path) -> None:
    own = file.relative_to(CORE).parts[0].removesuffix(".py")
    for module in imports_of(file):
        room = room_of(module)
        if room is not None and room != own:
            assert FLOOR_OF[room] < FLOOR_OF[own], f"{name(file)} imports {module}"


@pytest.mark.parametrize("file", CORE_FILES + KERNEL_FILES, ids=name)
def test_the_library_knows_nothing_of_ros_and_ultralytics_stays_in_models(file: Path) -> None:
    packages = {module.split(".")[0] for module in imports_of(file)}
    assert not packages & ROS
    if file in KERNEL_FILES:
        assert "fluxshard_core" not in packages
    if CORE / "models" not in file.parents:
        assert "ultralytics" not in packages


def test_every_room_has_its_floor() -> None:
    rooms = {file.relative_to(CORE).parts[0].removesuffix(".py") for file in CORE_FILES}
    assert rooms == set(FLOOR_OF)
