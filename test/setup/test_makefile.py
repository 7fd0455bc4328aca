"""The make targets call what they promise, with the arguments given."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def commands_of(*arguments: str) -> list[str]:
    """Return what ``make`` would run, line by line."""
    command = ["make", "--dry-run", "--no-print-directory", "PYTHON=python3", *arguments]
    # Inside `make test`, the outer make's flags and variables would be handed on.
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    outside = {k: v for k, v in outside.items() if k not in {"VIDEO", "MODEL", "OUT", "ARGS"}}
    answer = subprocess.run(
        command, cwd=ROOT, env=outside, capture_output=True, text=True, check=True
    )
    return answer.stdout.splitlines()


def test_demo_without_a_video_lets_the_command_choose_the_scene() -> None:
    demo = commands_of("demo")[-1]
    assert demo.split()[:2] == [".venv/bin/fluxshard", "demo"]
    assert "--video" not in demo
    assert '--out "out/demo"' in demo


def test_demo_passes_its_variables_on() -> None:
    demo = commands_of("demo", "VIDEO=my video.mp4", "MODEL=yolo11m", "ARGS=--path edge")[-1]
    assert '--video "my video.mp4" --model "yolo11m"' in demo
    assert demo.endswith("--path edge")


def test_the_closing_line_of_make_test_is_pytest_s() -> None:
    assert commands_of("test")[-1].strip() == ".venv/bin/python -m pytest"


@pytest.mark.parametrize("target", ["demo", "test", "lint", "types", "format"])
def test_every_target_sets_up_first(target: str) -> None:
    assert "tools/set_up.py" in commands_of(target)[0]


def test_the_default_target_explains_the_others() -> None:
    shown = "\n".join(commands_of())
    for target in ("demo", "test", "lint", "types", "format", "setup", "clean", "distclean"):
        assert f"make {target}" in shown
