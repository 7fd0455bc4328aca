"""What is built holds the files that the program looks up beside its code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOUND = """
from pathlib import Path
from fluxshard_core.reuse import shipped
from fluxshard_core.reuse.profile import ReuseProfile
for file in shipped.PROFILES.iterdir():
    held = ReuseProfile.load(file)
    assert shipped.shipped_profile(held.model, held.model_hash) == held
    print(file)
"""


def test_built_packages_find_the_shipped_profiles(tmp_path: Path) -> None:
    built = tmp_path / "lib"
    build = ["setup.py", "-q", "build", "--build-base", str(tmp_path), "--build-lib", str(built)]
    subprocess.run([sys.executable, *build], cwd=ROOT, check=True, capture_output=True)
    environment = os.environ | {"PYTHONPATH": str(built)}
    found = subprocess.run(
        [sys.executable, "-c", FOUND],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert all(Path(file).is_relative_to(built) for file in found)
    names = {Path(file).name for file in found}
    assert {name.rpartition("-")[0] for name in names} == {"yolo11n", "yolo11n-seg"}
