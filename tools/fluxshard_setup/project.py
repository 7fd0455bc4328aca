"""FluxShard itself, installed so that edits in the checkout take effect at once."""

from __future__ import annotations

import shutil
from pathlib import Path

from fluxshard_setup.commands import CommandLog
from fluxshard_setup.environment import pip_install
from fluxshard_setup.steps import Step, digest

_EXECUTABLES = ("edge_node", "cloud_node", "camera_player")
_IMPORTS_WORK = "import fluxshard_core, fluxshard_kernels, fluxshard_msgs.msg, vision_msgs.msg"


def project_step(root: Path, venv: Path, after: Step) -> Step:
    """Return the step that installs the checkout ``root`` into ``venv`` in editable form."""
    metadata = [root / name for name in ("setup.py", "setup.cfg", "pyproject.toml", "package.xml")]

    def install(log: CommandLog) -> None:
        log.run(pip_install(venv, "--no-deps", "--no-build-isolation", "--editable", root))
        link_prefix(root, venv)
        log.run([venv / "bin" / "python", "-c", _IMPORTS_WORK])

    shared = [str(path) for path in _shared_files(root)]
    key = digest(after.key, str(root), Path(__file__), *metadata, *shared)
    return Step("project", "FluxShard", key, install)


def link_prefix(root: Path, venv: Path) -> None:
    """Lay out ``venv`` as an ament prefix, as ``colcon build --symlink-install`` would.

    The links are to single files because `ros2 launch` does not look into linked folders.
    """
    share = venv / "share" / "fluxshard"
    links = {share / path.relative_to(root): path for path in _shared_files(root)}
    links |= {venv / "lib" / "fluxshard" / name: venv / "bin" / name for name in _EXECUTABLES}
    index = venv / "share" / "ament_index" / "resource_index" / "packages"
    links[index / "fluxshard"] = root / "resource" / "fluxshard"
    # mypy does not follow the import hook by which an editable install renames `kernels`.
    links[venv / "src" / "fluxshard_kernels"] = root / "kernels"
    shutil.rmtree(share, ignore_errors=True)
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def _shared_files(root: Path) -> list[Path]:
    patterns = ("package.xml", "launch/*.launch.py", "config/*.yaml")
    return sorted(path for pattern in patterns for path in root.glob(pattern))
