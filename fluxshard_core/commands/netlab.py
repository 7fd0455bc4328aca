"""`fluxshard netlab`: methods across a link of a known rate, edge and cloud as real processes."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from fluxshard_core.commands.arguments import ImageSize
from fluxshard_core.evaluation.datasets import open_frames
from fluxshard_core.evaluation.machine import machine, versions
from fluxshard_core.evaluation.netlab.methods import METHODS, Specification
from fluxshard_core.evaluation.netlab.rates import Rate
from fluxshard_core.evaluation.netlab.replay import Replay
from fluxshard_core.evaluation.netlab.run import Cloud, Row, run_lab
from fluxshard_core.models.letterbox import Letterbox

INTERRUPTED = 130
_FILE = click.Path(dir_okay=False, path_type=Path)
_HEADER = (
    "rate         method               frames  mean ms   p50 ms   p95 ms   p99 ms"
    "  kB/frame  cloud  compute"
)


@click.command(
    "netlab", epilog=f"Methods: {', '.join(METHODS)}; most take a codec, as in name:h264"
)
@click.option("--rate", "rates", multiple=True, help="Such as 25mbit; may be repeated.")
@click.option("--trace", "traces", multiple=True, type=_FILE, help="CSV file of seconds,mbps.")
@click.option(
    "--delay", default="0ms", show_default=True, help="Round trip that distance adds, such as 20ms."
)
@click.option("--method", "methods", multiple=True, required=True, help="May be repeated.")
@click.option("--input", "path", default="scene", show_default=True, help="As for `eval`.")
@click.option("--model", default="yolo11n-seg", show_default=True, help="Name or weight file.")
@click.option("--size", type=ImageSize(), help="Network input; default: that of the frames.")
@click.option("--frames", type=click.IntRange(2), default=60, show_default=True)
@click.option(
    "--warm-up", type=click.IntRange(0), default=10, show_default=True, help="Frames not counted."
)
@click.option("--fps", type=click.FloatRange(0.0), default=0.0, help="0: as fast as results come.")
@click.option("--edge-threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--cloud-threads", type=click.IntRange(1, 256), default=2, show_default=True)
@click.option(
    "--edge-share",
    type=click.FloatRange(0.01, 1.0),
    default=1.0,
    show_default=True,
    help="Of a core's time for the edge, once it has started: a robot that is so much slower.",
)
@click.option("--random-weights", is_flag=True, help="Need no weight file.")
@click.option(
    "--decisions",
    default="",
    help="Trained model that says what is in the frames, for a --model with random weights.",
)
@click.option("--json", "json_file", type=_FILE, help="Write the rows to this file.")
def command(
    rates: tuple[str, ...],
    traces: tuple[Path, ...],
    delay: str,
    methods: tuple[str, ...],
    path: str,
    model: str,
    size: tuple[int, int] | None,
    frames: int,
    warm_up: int,
    fps: float,
    edge_threads: int,
    cloud_threads: int,
    edge_share: float,
    random_weights: bool,
    decisions: str,
    json_file: Path | None,
) -> None:
    """Measure frame-in to result-out latency across a shaped link (Linux, root).

    Two network namespaces joined by a cable, a token bucket at both of its ends; the cloud process
    runs in one, the edge in the other, under TLS with certificates made for the run. Both share
    this machine's cores. Everything is removed at the end, also after Ctrl-C.
    """
    if frames <= warm_up:
        raise click.UsageError("--frames must exceed --warm-up")
    links = [*(Rate.constant(text) for text in rates), *(Rate.trace(file) for file in traces)]
    if not links:
        raise click.UsageError("give a --rate or a --trace")
    specifications = [Specification.parse(text) for text in methods]
    seed = 0 if random_weights else None
    replay = Replay("", model, seed, size, path, frames, warm_up, fps, edge_threads)
    replay = replace(replay, decisions=decisions)
    first = next(iter(open_frames(path))).image
    box = Letterbox.fit(first.shape[0], first.shape[1], size)
    cloud = Cloud(model, (box.input_height, box.input_width), random_weights, cloud_threads)
    signal.signal(signal.SIGTERM, _interrupt)
    rows: list[Row] = []
    try:
        click.echo(_HEADER)
        lab = run_lab(
            *(links, specifications, replay, cloud),
            delay_ms=_milliseconds(delay),
            edge_share=edge_share,
        )
        for row in lab:
            rows.append(row)
            click.echo(_line(row))
    except KeyboardInterrupt:
        click.echo("interrupted; keeping what is done", err=True)
    if json_file:
        report = {"settings": asdict(replay), "delay": delay, "cloud_threads": cloud_threads}
        report["edge_share"] = edge_share
        header = {**report, "machine": machine(), "versions": versions()}
        json_file.write_text(
            json.dumps({**header, "rows": [asdict(row) for row in rows]}, indent=1)
        )
    sys.exit(0 if len(rows) == len(links) * len(specifications) else INTERRUPTED)


def _milliseconds(text: str) -> float:
    number = text.removesuffix("ms")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if number == text or not 0.0 <= value <= 10_000.0:
        raise click.BadParameter(f"{text!r} is not a time such as 20ms", param_hint="--delay")
    return value


def _line(row: Row) -> str:
    note = f"  {row.fallbacks} fell back to the edge" if row.fallbacks else ""
    return (
        f"{row.rate:12} {row.method:20} {row.frames:6d} {row.mean_ms:8.1f} {row.p50_ms:8.1f} "
        f"{row.p95_ms:8.1f} {row.p99_ms:8.1f} {row.mean_bytes / 1e3:9.1f} {row.on_cloud:6.2f} "
        f"{row.compute_ratio:8.3f}{note}"
    )


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
