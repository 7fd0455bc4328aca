"""ROS 2 in the virtual environment: the wheels, their repair, and the interface packages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from fluxshard_setup.commands import CommandLog, clean_environment
from fluxshard_setup.environment import pip_install
from fluxshard_setup.errors import SetupError
from fluxshard_setup.steps import Step, digest

# Where Python and numpy were on the machine that made the wheels; cmake refuses absent folders.
_BUILDER_INCLUDE = re.compile(r"/opt/python/cp\d+-cp\d+/include/python3\.\d+")
_BUILDER_NUMPY = re.compile(r'/opt/python/cp\d+-cp\d+/lib/[^;"]*/numpy/(?:_core|core)/include')
_INCLUDES = """
import json, numpy, sysconfig
print(json.dumps([sysconfig.get_path("include"), numpy.get_include()]))
"""


def interface_steps(root: Path, venv: Path, after: Step) -> list[Step]:
    """Return the steps that install ROS 2 into ``venv`` and build the interface packages there.

    ``after`` is the step that installs numpy, against which the messages are compiled.
    """
    requirements = root / "requirements" / "ros.txt"
    vision_msgs, fluxshard_msgs = root / "tools" / "vision_msgs", root / "fluxshard_msgs"

    def install_ros(log: CommandLog) -> None:
        runtime = requirements.with_name("runtime.txt")
        log.run(pip_install(venv, "-r", requirements, "-c", runtime))
        repair_wheels(venv)

    def build_vision_msgs(log: CommandLog) -> None:
        if _is_ours(venv, "vision_msgs") or not _is_importable(venv, "vision_msgs.msg"):
            build_interfaces(vision_msgs, venv, log)
        check_type_hashes(vision_msgs / "type_hashes.json", venv / "share" / "vision_msgs" / "msg")

    def build_fluxshard_msgs(log: CommandLog) -> None:
        build_interfaces(fluxshard_msgs, venv, log)

    ros = Step("ros", "ROS 2 Jazzy", digest(after.key, requirements, Path(__file__)), install_ros)
    return [
        ros,
        Step("vision_msgs", "vision_msgs", digest(ros.key, vision_msgs), build_vision_msgs),
        Step(
            "fluxshard_msgs",
            "fluxshard_msgs",
            digest(ros.key, fluxshard_msgs),
            build_fluxshard_msgs,
        ),
    ]


def repair_wheels(venv: Path) -> None:
    """Point the wheels' cmake files at this machine's Python and numpy headers."""
    command = [str(venv / "bin" / "python"), "-c", _INCLUDES]
    answer = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, check=True
    )
    python_include, numpy_include = json.loads(answer.stdout)
    for path in venv.glob("share/*/cmake/*__rosidl_generator_pyExport.cmake"):
        text = path.read_text()
        repaired = repair_includes(text, python_include, numpy_include)
        if "/opt/python/" in repaired:
            raise SetupError(
                f"{path} names a folder of the machine that built the wheel in a way this set-up "
                "does not know; the ROS wheels in requirements/ros.txt have changed"
            )
        if repaired != text:
            path.write_text(repaired)


def repair_includes(text: str, python_include: str, numpy_include: str) -> str:
    """Replace the header folders of the machine that built a wheel in its cmake file ``text``."""
    return _BUILDER_NUMPY.sub(numpy_include, _BUILDER_INCLUDE.sub(python_include, text))


def build_interfaces(package: Path, venv: Path, log: CommandLog) -> None:
    """Build the ament_cmake package in the folder ``package`` and install it into ``venv``.

    Files that an earlier build installed and this one does not are removed.
    """
    build = _build_folder(venv, package.name)
    before = _installed_files(build)
    shutil.rmtree(build, ignore_errors=True)
    env = {
        "AMENT_PREFIX_PATH": str(venv),
        "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
    }
    settings: dict[str, str | Path] = {
        "BUILD_TESTING": "OFF",
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_INSTALL_PREFIX": venv,
        "CMAKE_PREFIX_PATH": venv,
        "Python3_EXECUTABLE": venv / "bin" / "python",
    }
    defines = [f"-D{name}={value}" for name, value in settings.items()]
    log.run(["cmake", "-S", package, "-B", build, *defines], env)
    log.run(["cmake", "--build", build, "--parallel", str(os.cpu_count() or 1)], env)
    for stale in before:
        Path(stale).unlink(missing_ok=True)
    log.run(["cmake", "--install", build], env)


def check_type_hashes(table: Path, messages: Path) -> None:
    """Raise SetupError unless the installed ``messages`` carry the hashes listed in ``table``."""
    for name, released in json.loads(table.read_text()).items():
        description = json.loads((messages / f"{name}.json").read_text())
        found = {item["type_name"]: item["hash_string"] for item in description["type_hashes"]}
        built = found[f"{messages.parent.name}/msg/{name}"]
        if built != released:
            raise SetupError(
                f"{messages.parent.name}/{name} has the type hash {built}, the released message "
                f"{released}: other ROS nodes would not understand it"
            )


def _build_folder(venv: Path, package: str) -> Path:
    return venv / "build" / package


def _installed_files(build: Path) -> list[str]:
    manifest = build / "install_manifest.txt"
    return manifest.read_text().splitlines() if manifest.is_file() else []


def _is_ours(venv: Path, package: str) -> bool:
    return bool(_installed_files(_build_folder(venv, package)))


def _is_importable(venv: Path, module: str) -> bool:
    command = [str(venv / "bin" / "python"), "-c", f"import {module}"]
    return subprocess.run(command, env=clean_environment(), capture_output=True).returncode == 0
