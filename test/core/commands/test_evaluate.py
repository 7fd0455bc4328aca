"""`fluxshard eval` from its command line, with random weights on tiny frames."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from click.shell_completion import CompletionItem
from click.testing import CliRunner, Result

from fluxshard_core.baselines.edge_only import EdgeOnly
from fluxshard_core.baselines.method import MethodResult
from fluxshard_core.baselines.registry import METHODS, Entry
from fluxshard_core.commands.evaluate import INTERRUPTED, MethodList, command
from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.ablation import ABLATIONS
from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.frame import Frame


@pytest.fixture
def sequences(tmp_path: Path) -> list[str]:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
        for frame in GeneratedScene(height=64, width=96, count=3):
            cv2.imwrite(str(folder / f"{frame.number}.png"), frame.image[..., ::-1])
    return [str(folder) for folder in folders]


def run(sequences: list[str], *options: str) -> Result:
    arguments = ["--input", *sequences, "--random-weights", "--threads", "1", *options]
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_it_writes_a_table_json_and_plots(sequences: list[str], tmp_path: Path) -> None:
    result = run(
        sequences,
        *("--methods", "edge_only,keyframe_mv:2", "--max-frames", "3"),
        *("--json", str(tmp_path / "e.json"), "--plots", str(tmp_path / "plots")),
    )
    assert result.exit_code == 0
    content = json.loads((tmp_path / "e.json").read_text())
    assert content["header"]["complete"]
    assert [one["name"] for one in content["header"]["sequences"]] == ["first", "second"]
    rows = {(row["sequence"], row["method"]): row for row in content["rows"]}
    assert rows["aggregate", "edge_only"]["compute_ratio"] == 1.0
    assert rows["first", "keyframe_mv:2"]["compute_ratio"] == 0.5
    assert len(list((tmp_path / "plots").glob("*.png"))) == 4


def test_ablations_run_beside_the_methods(sequences: list[str], tmp_path: Path) -> None:
    file = tmp_path / "e.json"
    result = run(sequences[:1], "--methods", "edge_only", "--ablate", "--json", str(file))
    assert result.exit_code == 0
    ran = {row["method"] for row in json.loads(file.read_text())["rows"]}
    assert ran == {"edge_only", *(f"ablation:{name}" for name in ABLATIONS)}


class Impatient(EdgeOnly):
    """Someone presses Ctrl-C while the second sequence runs."""

    resets = 0

    def reset(self) -> None:
        self.resets += 1

    def process(self, frame: Frame) -> MethodResult:
        if self.resets == 2:
            raise KeyboardInterrupt
        return super().process(frame)


def test_an_interruption_keeps_what_is_done(
    sequences: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "impatient", Entry("impatient", "", Impatient))
    result = run(sequences, "--methods", "impatient", "--json", str(tmp_path / "e.json"))
    assert result.exit_code == INTERRUPTED
    content = json.loads((tmp_path / "e.json").read_text())
    assert not content["header"]["complete"]
    assert [row["sequence"] for row in content["rows"]] == ["first", "aggregate"]
    assert "INTERRUPTED" in result.output


def test_a_wrong_method_fails_before_anything_runs(sequences: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean deltacnn"):
        run(sequences, "--methods", "edge_only,deltacn", "--json", str(tmp_path / "e.json"))
    assert not (tmp_path / "e.json").exists()


def test_native_and_a_size_exclude_each_other(sequences: list[str]) -> None:
    assert "exclude each other" in run(sequences, "--native", "--size", "64x96").output


def completions(incomplete: str) -> list[CompletionItem]:
    context = command.make_context("eval", ["--input", "scene"])
    return MethodList().shell_complete(context, command.params[0], incomplete)


def test_tab_completes_the_name_after_the_last_comma() -> None:
    assert {item.value for item in completions("")} == set(METHODS)
    assert [item.value for item in completions("roi,full")] == ["roi,full_offload"]
