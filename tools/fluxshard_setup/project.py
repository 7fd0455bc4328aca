"""FluxShard itself, installed so that edits in the checkout take effect at once."""

from __future__ import annotations

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

    key = digest(after.key, str(root), Path(__file__), *metadata)
    return Step("project", "FluxShard", key, install)


def link_prefix(root: Path, venv: Path) -> None:
    """Lay out ``venv`` as an ament prefix of fluxshard, as a colcon build would."""
    links = {
        venv / "share" / "fluxshard" / "launch": root / "launch",
        venv / "share" / "fluxshard" / "config": root / "config",
        venv / "share" / "fluxshard" / "package.xml": root / "package.xml",
        venv / "share/ament_index/resource_index/packages/fluxshard": root / "resource/fluxshard",
        # mypy does not follow the import hook by which an editable install renames `kernels`.
        venv / "src" / "fluxshard_kernels": root / "kernels",
    }
    links |= {venv / "lib" / "fluxshard" / name: venv / "bin" / name for name in _EXECUTABLES}
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
