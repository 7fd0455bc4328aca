"""What pip puts into the virtual environment, apart from ROS 2."""

from __future__ import annotations

from pathlib import Path

from fluxshard_setup.commands import CommandLog
from fluxshard_setup.environment import pip_install
from fluxshard_setup.steps import Step, digest

CPU_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
_IMPORTS_WORK = "from ultralytics.nn.tasks import DetectionModel; import av, cv2, msgspec"


def package_steps(root: Path, venv: Path, torch_index: str, after: Step) -> list[Step]:
    """Return the steps that install the requirements of ``root`` into ``venv``.

    ``torch_index`` is an extra package index for PyTorch alone, or empty.
    """
    lists = root / "requirements"
    runtime, no_deps, dev = (lists / f"{name}.txt" for name in ("runtime", "no-deps", "dev"))

    def install_runtime(log: CommandLog) -> None:
        _install_torch(log, venv, runtime, torch_index)
        log.run(pip_install(venv, "-r", runtime))
        log.run(pip_install(venv, "--no-deps", "-r", no_deps))
        python = venv / "bin" / "python"
        log.run([python, "-c", _IMPORTS_WORK], env={"YOLO_CONFIG_DIR": str(venv / "etc")})

    def install_dev(log: CommandLog) -> None:
        log.run(pip_install(venv, "-r", dev, "-c", runtime))

    runtime_key = digest(after.key, runtime, no_deps)
    return [
        Step("runtime", "PyTorch, ultralytics, video, numerics", runtime_key, install_runtime),
        Step("dev", "Test and lint tools", digest(after.key, runtime, dev), install_dev),
    ]


def _install_torch(log: CommandLog, venv: Path, runtime: Path, index: str) -> None:
    if list(venv.glob("lib/python3.*/site-packages/torch/version.py")):
        return
    if index:
        lines = runtime.read_text().splitlines()
        pin = next(line for line in lines if line.startswith("torch=="))
        log.run(pip_install(venv, "--no-deps", "--extra-index-url", index, pin))
    elif not Path("/proc/driver/nvidia/version").exists():
        log.say(
            "no NVIDIA GPU here. PyTorch may bring about 1.5 GB of CUDA libraries (4 GB on disk); "
            f"to do without, stop and run: make setup TORCH_INDEX={CPU_TORCH_INDEX}"
        )
