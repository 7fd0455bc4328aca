"""ultralytics must leave no trace on the process or the user's files."""

import os
import subprocess
import sys
from pathlib import Path

IMPORT_IS_CHEAP = """
import sys
import fluxshard_core.models, fluxshard_core.models.catalog
assert not {"torch", "ultralytics", "cv2"} & set(sys.modules), sorted(sys.modules)
"""

WHOLE_STORY = """
import os, sys, socket
import cv2, numpy as np, torch

def refuse(*_):
    raise AssertionError("network used")

socket.getaddrinfo = socket.socket.connect = refuse
cv2.setNumThreads(3)
torch.set_num_threads(1)
environment, options = dict(os.environ), np.get_printoptions()
save = torch.save

from fluxshard_core.models.detector import Detector

assert "ultralytics" not in sys.modules
detector = Detector.load("yolo11n-seg", random_seed=7)
found = detector.detect(np.zeros((96, 128, 3), dtype=np.uint8), confidence=0.001)
assert len(found) > 0
assert "ultralytics" in sys.modules
assert "torchvision" not in sys.modules
assert dict(os.environ) == environment
assert np.get_printoptions() == options
assert (torch.get_num_threads(), torch.save, cv2.getNumThreads()) == (1, save, 3)
"""


def run(code: str, cwd: Path, home: Path) -> subprocess.CompletedProcess[str]:
    python_path = os.pathsep.join(path for path in sys.path if path)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("YOLO_")}
    environment |= {"HOME": str(home), "PYTHONPATH": python_path}
    environment.pop("XDG_CONFIG_HOME", None)
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_importing_the_room_loads_no_heavy_library(tmp_path: Path) -> None:
    result = run(IMPORT_IS_CHEAP, tmp_path, tmp_path)
    assert result.returncode == 0, result.stderr


def test_a_detection_prints_nothing_writes_nothing_and_changes_no_global(tmp_path: Path) -> None:
    cwd, home = tmp_path / "cwd", tmp_path / "home"
    cwd.mkdir()
    home.mkdir()
    result = run(WHOLE_STORY, cwd, home)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert list(cwd.iterdir()) == []
    assert list(home.rglob("*")) == []
