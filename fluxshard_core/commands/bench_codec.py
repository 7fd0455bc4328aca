"""`fluxshard bench codec`: bytes, quality and time of each shard codec on real frames."""

from __future__ import annotations

import json
import math
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from fluxshard_core.commands.arguments import ImageSize
from fluxshard_core.evaluation.codec_bench import (
    CodecRow,
    CodecSpec,
    aggregate_rows,
    measure_codec,
    policy_samples,
)
from fluxshard_core.evaluation.machine import machine, versions
from fluxshard_core.evaluation.sequences import open_sequences
from fluxshard_core.models.detector import Detector
from fluxshard_core.session.engine import Engine

_DEFAULT = "raw,jpeg,webp,h264,whole:h264"


class _Specs(click.ParamType[list[CodecSpec]]):
    name = "CODEC,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[CodecSpec]:
        """Read a comma-separated list."""
        return [CodecSpec.parse(part.strip()) for part in str(value).split(",")]


@click.command()
@click.option("--model", default="yolo11n-seg", show_default=True, help="Name or weight file.")
@click.option(
    "--input",
    "paths",
    multiple=True,
    required=True,
    help="Image directory, video, bag, or `scene` for the generated one; may be repeated.",
)
@click.argument("more_inputs", nargs=-1)
@click.option(
    "--codecs",
    type=_Specs(),
    default=_DEFAULT,
    show_default=True,
    help="[whole:]CODEC[:QUALITY],...; `whole` sends every block of every frame.",
)
@click.option("--size", type=ImageSize(), help="Network input; default: that of the frames.")
@click.option("--max-frames", type=click.IntRange(2), help="Of each sequence; default: all.")
@click.option("--random-weights", is_flag=True, help="Seeded weights; no file is read.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path))
def codec(
    model: str,
    paths: tuple[str, ...],
    more_inputs: tuple[str, ...],
    codecs: list[CodecSpec],
    size: tuple[int, int] | None,
    max_frames: int | None,
    random_weights: bool,
    json_path: Path | None,
) -> None:
    """Send what the reuse policy asks for with every codec, and look at what arrives.

    Frames that were stored as JPEG, unscaled, flatter `jpeg`: they come back through the same
    quantiser almost untouched. Give such sequences another `--size`.
    """
    seed = 0 if random_weights else None
    engine = Engine(Detector.load(model, input_size=size, random_seed=seed))
    rows: list[CodecRow] = []
    for sequence in open_sequences([*paths, *more_inputs]):
        samples = policy_samples(sequence, engine, max_frames)
        rows += [measure_codec(sequence.name, samples, spec) for spec in codecs]
        click.echo(f"{sequence.name}: {len(samples)} frames", err=True)
    total = aggregate_rows(rows)
    Console().print(_table(total))
    if json_path:
        json_path.write_text(json.dumps(_report(engine.detector, rows, total), indent=2) + "\n")


def _report(detector: Detector, rows: list[CodecRow], total: list[CodecRow]) -> dict[str, Any]:
    return {
        "command": shlex.join(["fluxshard", *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions(),
        "model": str(detector.name),
        "model_hash": detector.model_hash,
        "rows": [_plain(row) for row in rows],
        "aggregates": [_plain(row) for row in total],
    }


def _plain(row: CodecRow) -> dict[str, Any]:
    """The row as JSON can hold it: an infinite PSNR is null."""
    return {
        name: None if isinstance(value, float) and math.isinf(value) else value
        for name, value in asdict(row).items()
    }


def _table(rows: list[CodecRow]) -> Table:
    table = Table(title="mean over the sequences; PSNR against the camera's image")
    table.add_column("codec")
    for heading in ("bytes/frame", "sent", "critical dB", "frame dB", "encode ms", "decode ms"):
        table.add_column(heading, justify="right")
    table.add_column("ends agree")
    for row in rows:
        table.add_row(
            row.codec,
            f"{row.bytes_per_frame:.0f}",
            f"{row.sent:.0%}",
            f"{row.critical_psnr:.1f}",
            f"{row.frame_psnr:.1f}",
            f"{row.encode_ms:.1f}",
            f"{row.decode_ms:.1f}",
            "yes" if row.agree else "NO",
        )
    return table
