"""Compile the kernels for this very processor, once, into the user's cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-std=c++17", "-fPIC", "-shared", "-pthread")
COMPILERS = ("g++", "c++", "clang++")
TIMEOUT_S = 300.0


class BuildError(Exception):
    """The kernels cannot be compiled here; says why."""


def library_path() -> Path:
    """Return the compiled library, building it if this machine has none of these sources yet.

    It lies in ``$XDG_CACHE_HOME/fluxshard`` (``~/.cache/fluxshard``), named after the sources, the
    compiler and the processor. ``$CXX`` chooses the compiler.

    :raises BuildError: without a compiler that can build them.
    """
    compiler = _compiler()
    cache = _cache()
    path = cache / f"kernels-{_fingerprint(compiler)}.so"
    if not path.is_file():
        try:
            cache.mkdir(mode=0o700, parents=True, exist_ok=True)  # what lies there is run
            _compile(compiler, path)
        except OSError as error:
            raise BuildError(f"cannot write {path}: {error}; set XDG_CACHE_HOME") from error
    return path


def _cache() -> Path:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fluxshard"
    except RuntimeError as error:
        raise BuildError(
            f"no home folder to keep kernels in: {error}; set XDG_CACHE_HOME"
        ) from error


def _compiler() -> list[str]:
    if chosen := os.environ.get("CXX"):
        return shlex.split(chosen)
    for name in COMPILERS:
        if found := shutil.which(name):
            return [found]
    raise BuildError(f"no C++ compiler found ({', '.join(COMPILERS)}); install one or set CXX")


def _compile(compiler: list[str], path: Path) -> None:
    """Build beside ``path`` and put it there in one step: another process may do the same."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        source = str(SOURCES / "library.cpp")
        _output([*compiler, *FLAGS, source, "-o", str(made)])
        made.replace(path)


def _fingerprint(compiler: list[str]) -> str:
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    digest.update(_output([*compiler, "--version"]).encode())
    digest.update(_processor().encode())
    for source in sorted(SOURCES.glob("*.h")) + sorted(SOURCES.glob("*.cpp")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:20]


def _processor() -> str:
    """What the machine can do: a home folder may be shared by several."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = ("flags", "Features", "model name", "CPU part")
    told = sorted({line for line in lines if line.startswith(names)})
    return "\n".join([platform.machine(), *told])


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{command[0]} failed: {error}") from error
    if done.returncode:
        raise BuildError(f"{shlex.join(command)} failed:\n{done.stderr.strip()[-2000:]}")
    return done.stdout
