"""`fluxshard bench`: how fast the parts are on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click
import torch
from rich.console import Console
from rich.table import Table

from fluxshard_core.commands.arguments import ImageSize
from fluxshard_core.commands.bench_codec import codec
from fluxshard_core.models.detector import Detector
from fluxshard_core.sparse.benchmark import BenchRow, ExecutorBenchmark
from fluxshard_core.sparse.capture import capture

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class _Shares(click.ParamType[tuple[float, ...]]):
    name = "list"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse ``0.05,0.1,1``; every share in (0, 1]."""
        try:
            shares = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers", param, ctx)
        if not all(0.0 < share <= 1.0 for share in shares):
            self.fail(f"{value}: every share must be in (0, 1]", param, ctx)
        return shares


@click.group(name="bench")
def command() -> None:
    """Measure this machine."""


command.add_command(codec)


@command.command()
@click.option("--model", required=True, help="A name such as yolo11m, or a weight file.")
@click.option("--size", type=ImageSize(), default="480x864", show_default=True, help="Input size.")
@click.option(
    "--active",
    type=_Shares(),
    default="0.05,0.1,0.25,0.5,1",
    show_default=True,
    help="Shares of 16-pixel blocks to recompute.",
)
@click.option(
    "--layout",
    type=click.Choice(["clustered", "scattered"]),
    default="clustered",
    show_default=True,
    help="Where the active blocks lie.",
)
@click.option("--dtype", type=click.Choice(list(_DTYPES)), default="fp32", show_default=True)
@click.option("--random-weights", is_flag=True, help="Seeded weights; no file is read.")
@click.option("--repeats", type=click.IntRange(1, 1000), default=7, show_default=True)
@click.option("--threads", type=click.IntRange(1, 256), help="PyTorch threads; default all cores.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path))
def executor(
    model: str,
    size: tuple[int, int],
    active: tuple[float, ...],
    layout: Literal["clustered", "scattered"],
    dtype: str,
    random_weights: bool,
    repeats: int,
    threads: int | None,
    json_path: Path | None,
) -> None:
    """Time the sparse executor against dense PyTorch, medians of interleaved runs."""
    if threads:
        torch.set_num_threads(threads)
    detector = Detector.load(model, random_seed=0 if random_weights else None)
    plan = capture(detector.network, *size)
    benchmark = ExecutorBenchmark(str(detector.name), detector.network, plan, _DTYPES[dtype])
    rows = benchmark.run(active, layout, repeats)
    Console().print(_results(rows), _breakdown(rows))
    if json_path:
        json_path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def _results(rows: list[BenchRow]) -> Table:
    first = rows[0]
    title = (
        f"{first.model} {first.size} {first.dtype} {first.layout}, {first.threads} threads\n"
        f"dense: NCHW {first.dense_nchw_ms:.0f} ms, NHWC {first.dense_nhwc_ms:.0f} ms, "
        f"executor {first.executor_dense_ms:.0f} ms{_rivals(first)}\n"
        f"cache {first.cache_mb:.0f} MB; all activations {first.activations_mb:.0f} MB"
    )
    table = Table(title=title)
    for heading in ("active", "ms", "speedup", "compute", "bit-identical", "peak MB"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            f"{row.active:.0%}",
            f"{row.sparse_ms:.1f}",
            f"{row.speedup:.2f}x",
            f"{row.compute_ratio:.3f}",
            "yes" if row.bit_identical else "NO",
            f"{row.peak_mb:.0f}",
        )
    return table


def _rivals(row: BenchRow) -> str:
    times = {"ONNX Runtime": row.onnxruntime_ms, "OpenVINO": row.openvino_ms}
    return "".join(f", {name} {time:.0f} ms" for name, time in times.items() if time is not None)


def _breakdown(rows: list[BenchRow]) -> Table:
    table = Table(title="milliseconds a frame")
    table.add_column("part")
    for row in rows:
        table.add_column(f"{row.active:.0%}", justify="right")
    for part in rows[0].breakdown_ms:
        table.add_row(part, *(f"{row.breakdown_ms[part]:.1f}" for row in rows))
    return table
