"""Kernels are built where they run, once; where they cannot be, that is said."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from fluxshard_core.sparse.backends import default_backend
from fluxshard_core.sparse.compiled.backend import CompiledBackend
from fluxshard_core.sparse.ops.backend import CpuBackend
from fluxshard_kernels.cpu import build, library


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, and nothing loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(library, "load", library.load.__wrapped__)
    monkeypatch.setattr("fluxshard_core.sparse.compiled.backend.load", library.load)
    return tmp_path


def test_the_library_is_built_once_and_found_again(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build.library_path()
    assert made.is_relative_to(empty_cache)
    monkeypatch.setattr(build, "_compile", lambda *_: pytest.fail("compiled a second time"))
    assert build.library_path() == made
    assert [file.name for file in made.parent.iterdir()] == [made.name], "nothing is left beside it"


def test_other_sources_are_another_library(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_compile", lambda _, path: path.touch())  # names alone matter here
    first = build.library_path()
    changed = tmp_path / "sources"
    changed.mkdir()
    for file in [*build.SOURCES.glob("*.h"), *build.SOURCES.glob("*.cpp")]:
        (changed / file.name).write_bytes(file.read_bytes())
    (changed / "vector.h").open("a").write("// another\n")
    monkeypatch.setattr(build, "SOURCES", changed)
    assert build.library_path() != first


def test_without_a_compiler_the_error_says_what_to_do(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(build.shutil, "which", lambda _: None)
    with pytest.raises(build.BuildError, match="install one or set CXX"):
        build.library_path()


def test_what_the_compiler_says_is_passed_on(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "FLAGS", ("-std=no-such-standard",))
    with pytest.raises(build.BuildError, match="no-such-standard"):
        build.library_path()


def test_a_machine_without_kernels_runs_plain_pytorch_and_says_so(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "/no/such/compiler")
    with caplog.at_level(logging.WARNING):
        backend = default_backend()
    assert isinstance(backend, CpuBackend)
    assert "several times slower" in caplog.text
    assert "/no/such/compiler" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_machine_with_a_compiler_runs_compiled_kernels(dtype: torch.dtype) -> None:
    assert isinstance(default_backend(dtype), CompiledBackend)


def test_a_machine_without_a_home_is_told_to_name_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(build.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("nobody")))
    with pytest.raises(build.BuildError, match="set XDG_CACHE_HOME"):
        build.library_path()
