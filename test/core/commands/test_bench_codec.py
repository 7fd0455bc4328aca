"""`fluxshard bench codec`: a small real run, and specifications it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fluxshard_core.commands.bench import command
from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.codec_bench import CodecSpec

CODECS = "raw,jpeg:80,webp:80,h264:22,whole:h264:22"


def test_every_codec_is_measured_and_both_ends_agree(tmp_path: Path) -> None:
    target = tmp_path / "codecs.json"
    options = "codec --model yolo11n --random-weights --size 320x384 --max-frames 5 --input scene"
    result = CliRunner().invoke(
        command, [*options.split(), "--codecs", CODECS, "--json", str(target)]
    )
    assert result.exit_code == 0, (result.output, result.exception)
    report = json.loads(target.read_text())
    rows = {row["codec"]: row for row in report["aggregates"]}
    assert list(rows) == CODECS.split(",")
    assert all(row["agree"] and row["frames"] == 4 for row in rows.values())
    assert rows["raw"]["critical_psnr"] is None
    assert all(row["critical_psnr"] > 25 for name, row in rows.items() if name != "raw")
    assert rows["whole:h264:22"]["sent"] == 1.0 > rows["h264:22"]["sent"]
    assert rows["h264:22"]["bytes_per_frame"] < rows["raw"]["bytes_per_frame"]
    assert "PSNR against the camera" in result.output


@pytest.mark.parametrize("text", ["", "zip", "jpeg:0", "jpeg:fine", "h264:20:3", "whole:"])
def test_specifications_of_no_codec_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        CodecSpec.parse(text)
