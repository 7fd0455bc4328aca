"""Measurements are told apart by the program that made them."""

from __future__ import annotations

from pathlib import Path

from fluxshard_core.evaluation.code_state import described, digest, digest_of


def test_the_digest_changes_with_any_source_and_with_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "room" / "rule.py"
    source.parent.mkdir()
    source.write_text("LIMIT = 1")
    before = digest_of(tmp_path)
    (tmp_path / "notes.md").write_text("not a source")
    assert digest_of(tmp_path) == before
    source.write_text("LIMIT = 2")
    changed = digest_of(tmp_path)
    source.rename(source.with_name("other.py"))
    assert len({before, changed, digest_of(tmp_path)}) == 3


def test_the_description_names_version_and_sources() -> None:
    assert described().startswith("fluxshard ")
    assert described().endswith(f"sources {digest()}")
    assert len(digest()) == 16
