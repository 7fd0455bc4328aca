"""A set-up step runs once, again when what it depends on changes, and resumes after a failure."""

from __future__ import annotations

from pathlib import Path

import pytest
from fluxshard_setup.commands import CommandLog
from fluxshard_setup.errors import SetupError
from fluxshard_setup.steps import Step, digest, pending, run_steps


class Recorder:
    """Makes steps that note that they ran, and fail on request."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.broken: set[str] = set()

    def step(self, name: str, key: str = "1") -> Step:
        def action(log: CommandLog) -> None:
            self.ran.append(name)
            if name in self.broken:
                raise SetupError("no network")

        return Step(name, name.title(), key, action)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_second_run_does_nothing(recorder: Recorder, tmp_path: Path) -> None:
    steps = [recorder.step("a"), recorder.step("b")]
    run_steps(steps, tmp_path)
    assert recorder.ran == ["a", "b"]
    assert pending(steps, tmp_path) == []
    run_steps(steps, tmp_path)
    assert recorder.ran == ["a", "b"]


def test_a_changed_key_runs_only_that_step(recorder: Recorder, tmp_path: Path) -> None:
    run_steps([recorder.step("a"), recorder.step("b")], tmp_path)
    recorder.ran.clear()
    run_steps([recorder.step("a"), recorder.step("b", key="2")], tmp_path)
    assert recorder.ran == ["b"]


def test_a_failed_step_is_resumed_and_finished_ones_are_kept(
    recorder: Recorder, tmp_path: Path
) -> None:
    steps = [recorder.step("a"), recorder.step("b"), recorder.step("c")]
    recorder.broken.add("b")
    with pytest.raises(SetupError, match="no network"):
        run_steps(steps, tmp_path)
    recorder.broken.clear()
    run_steps(steps, tmp_path)
    assert recorder.ran == ["a", "b", "b", "c"]


def test_a_step_that_fails_the_second_time_loses_its_stamp(
    recorder: Recorder, tmp_path: Path
) -> None:
    run_steps([recorder.step("a")], tmp_path)
    recorder.broken.add("a")
    with pytest.raises(SetupError):
        run_steps([recorder.step("a", key="2")], tmp_path)
    assert [step.name for step in pending([recorder.step("a")], tmp_path)] == ["a"]


def test_digest_sees_contents_and_names_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "msg"
    folder.mkdir()
    (folder / "A.msg").write_text("float32 x\n")
    first = digest("key", folder)
    assert digest("key", folder) == first
    (folder / "A.msg").write_text("float64 x\n")
    changed = digest("key", folder)
    (folder / "A.msg").rename(folder / "B.msg")
    assert len({first, changed, digest("key", folder), digest("other", folder)}) == 4
