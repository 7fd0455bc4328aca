"""The virtual environment itself: which Python it is made from, and whether it can be kept."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

from fluxshard_setup.commands import CommandLog
from fluxshard_setup.steps import Step, digest

PIP = "pip>=24,<27"
STATE_FOLDER = ".setup"  # inside the virtual environment: stamps, logs, lock


def base_python(venv: Path) -> Path:
    """Return the interpreter ``venv`` was made from, or the one running now if there is none."""
    settings = venv / "pyvenv.cfg"
    if settings.is_file():
        pairs = (line.partition("=") for line in settings.read_text().splitlines())
        values = {name.strip(): value.strip() for name, _, value in pairs}
        home, version = values.get("home", ""), values.get("version", "").split(".")
    else:
        home, version = sysconfig.get_config_var("BINDIR"), [str(n) for n in sys.version_info]
    return Path(home, "python" + ".".join(version[:2]))


def discard_if_unusable(venv: Path) -> bool:
    """Empty ``venv`` if it was moved here or its Python is gone; return whether it was emptied."""
    if not (venv / "pyvenv.cfg").is_file() or (base_python(venv).exists() and not _moved(venv)):
        return False
    shutil.rmtree(venv)
    return True


def pip_install(venv: Path, *arguments: str | Path) -> list[str]:
    """Return the command that installs ``arguments`` into ``venv``."""
    return [str(part) for part in (venv / "bin" / "python", "-m", "pip", "install", *arguments)]


def environment_step(venv: Path) -> Step:
    """Return the step that makes ``venv`` and gives it a pip of known version."""
    base = base_python(venv)

    def create(log: CommandLog) -> None:
        log.run([base, "-m", "venv", venv])
        log.run(pip_install(venv, "--upgrade", PIP))

    return Step("environment", "Virtual environment", digest(str(venv), str(base), PIP), create)


def _moved(venv: Path) -> bool:
    pip = venv / "bin" / "pip"
    return pip.is_file() and str(venv / "bin" / "python") not in pip.read_text().partition("\n")[0]
