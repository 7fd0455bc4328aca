"""Which state of the program measured something: a digest of its sources, and its commit."""

from __future__ import annotations

import hashlib
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Final

import fluxshard_core
import fluxshard_kernels

SOURCES: Final = {".py", ".cpp", ".h"}
_GIT_S: Final = 10


@lru_cache(maxsize=1)
def digest() -> str:
    """Return 16 hex digits that change with any source of the library or its kernels."""
    return digest_of(*(Path(part.__path__[0]) for part in (fluxshard_core, fluxshard_kernels)))


def digest_of(*folders: Path) -> str:
    """Return 16 hex digits of all sources in ``folders``, their names included."""
    state = hashlib.sha256()
    for root in folders:
        for file in sorted(root.rglob("*")):
            if file.suffix in SOURCES:
                state.update(f"{file.relative_to(root).as_posix()}\0".encode())
                state.update(hashlib.sha256(file.read_bytes()).digest())
    return state.hexdigest()[:16]


def described() -> str:
    """Return version, commit and digest in words; an installed package knows no commit."""
    commit = _commit()
    known = f"commit {commit}, " if commit else ""
    return f"fluxshard {fluxshard_core.__version__}, {known}sources {digest()}"


def _commit() -> str:
    root = Path(fluxshard_core.__path__[0])
    describe = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(describe, capture_output=True, text=True, timeout=_GIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
