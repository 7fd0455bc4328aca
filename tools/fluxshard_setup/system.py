"""What the system must bring, each missing piece named with the package that has it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fluxshard_setup.errors import SetupError

PYTHON_VERSIONS = ((3, 10), (3, 13))
MIN_CMAKE = (3, 16)
MIN_GLIBC = (2, 28)

_PROBE = """
import importlib.util, json, os, sys, sysconfig
header = os.path.join(sysconfig.get_path("include"), "Python.h")
venv = all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))
print(json.dumps([list(sys.version_info[:2]), venv, os.path.isfile(header)]))
"""


def check_system(python: Path) -> None:
    """Raise SetupError naming every missing piece and the Debian/Ubuntu package that brings it.

    ``python`` is the interpreter, outside any virtual environment, that everything is built for.
    """
    missing = [*_platform_problems(), *_python_problems(python), *_compiler_problems()]
    if not missing:
        return
    lines = ["this system lacks what FluxShard needs:"]
    lines += [f"  - {problem}" for problem, _ in missing]
    packages = sorted({package for _, package in missing if package})
    if packages:
        lines += ["On Debian or Ubuntu, as an administrator: apt install " + " ".join(packages)]
    raise SetupError("\n".join(lines))


def check_no_other_ros(root: Path, environ: dict[str, str]) -> None:
    """Raise SetupError when a ROS installation outside ``root`` is sourced in this shell.

    Its PYTHONPATH would come before the virtual environment's own rclpy.
    """
    prefixes = [Path(entry) for entry in environ.get("AMENT_PREFIX_PATH", "").split(":") if entry]
    foreign = [prefix for prefix in prefixes if not prefix.is_relative_to(root)]
    if foreign:
        raise SetupError(
            f"ROS 2 is sourced in this shell ({foreign[0]}). On a robot, build with colcon: see "
            "'On a robot' in the README. For the stand-alone environment that this set-up makes, "
            "use a shell in which no ROS setup file was sourced."
        )


def _platform_problems() -> list[tuple[str, str]]:
    found = f"{platform.system()} {platform.machine()}"
    if found != "Linux x86_64":
        text = f"Linux on x86-64 (this is {found}); elsewhere, build with colcon inside ROS 2 Jazzy"
        return [(text, "")]
    library, version = platform.libc_ver()
    if library != "glibc" or _numbers(version) < MIN_GLIBC:
        text = (
            f"glibc {_dotted(MIN_GLIBC)} or newer (this is {library or 'another libc'} {version})"
        )
        return [(text, "")]
    return []


def _python_problems(python: Path) -> list[tuple[str, str]]:
    command = [str(python), "-I", "-c", _PROBE]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        return [(f"a Python that runs ({python} does not: {answer.stderr.strip()})", "python3")]
    version, has_venv, has_headers = json.loads(answer.stdout)
    oldest, newest = PYTHON_VERSIONS
    name = f"python{_dotted(version)}"
    if not oldest <= tuple(version) <= newest:
        wanted = f"Python {_dotted(oldest)} to {_dotted(newest)}"
        return [(f"{wanted} (this is {_dotted(version)}): `make setup PYTHON=python3.11`", "")]
    problems = []
    if not has_venv:
        problems.append((f"the venv module of {name}", f"{name}-venv"))
    if not has_headers:
        problems.append((f"the C headers of {name} (Python.h)", f"{name}-dev"))
    return problems


def _compiler_problems() -> list[tuple[str, str]]:
    problems = []
    if not (os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")):
        problems.append(("a C++ compiler (g++)", "g++"))
    if not (os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")):
        problems.append(("a C compiler (gcc)", "gcc"))
    if not shutil.which("make"):
        problems.append(("make", "make"))
    cmake = _cmake_version()
    if cmake < MIN_CMAKE:
        old = f" (this is {_dotted(cmake)})" if cmake else ""
        problems.append((f"cmake {_dotted(MIN_CMAKE)} or newer{old}", "cmake"))
    return problems


def _cmake_version() -> tuple[int, ...]:
    if not shutil.which("cmake"):
        return ()
    answer = subprocess.run(["cmake", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\d+\.\d+)", answer.stdout)
    return _numbers(found.group(1)) if found else ()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _dotted(version: Sequence[int]) -> str:
    return ".".join(str(part) for part in version)
