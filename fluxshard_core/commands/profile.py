"""`fluxshard profile`: what frames cost this machine, for the dispatcher of a robot."""

from __future__ import annotations

from pathlib import Path

import click
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fluxshard_core.commands.arguments import ImageSize
from fluxshard_core.evaluation.machine import machine
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload.latency_profile import LatencyProfile
from fluxshard_core.offload.profiling import measure_profile


@click.command(name="profile")
@click.option("--model", required=True, help="A name such as yolo11m, or a weight file.")
@click.option("--size", type=ImageSize(), default="480x864", show_default=True, help="Input size.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("profile.yaml"),
    show_default=True,
    help="Where to save it.",
)
@click.option("--random-weights", is_flag=True, help="Seeded weights; no file is read.")
@click.option("--repeats", type=click.IntRange(1, 1000), default=7, show_default=True)
@click.option("--threads", type=click.IntRange(1, 256), help="PyTorch threads; default all cores.")
def command(
    model: str,
    size: tuple[int, int],
    out: Path,
    random_weights: bool,
    repeats: int,
    threads: int | None,
) -> None:
    """Measure and save this machine's latency by compute ratio.

    Run it once on the robot and once on the cloud machine, with nothing else running.
    """
    if threads:
        torch.set_num_threads(threads)
    detector = Detector.load(model, random_seed=0 if random_weights else None)
    with Progress(transient=True) as progress:
        task = progress.add_task("measuring", total=None)
        profile = measure_profile(
            detector,
            size,
            str(machine()["processor"]),
            repeats=repeats,
            done=lambda count, total: progress.update(task, completed=count, total=total),
        )
    profile.save(out)
    Console().print(_table(profile), f"saved as {out}")


def _table(profile: LatencyProfile) -> Table:
    height, width = profile.size
    table = Table(
        title=f"{profile.model} {height}x{width}, {profile.threads} threads, {profile.machine}"
    )
    table.add_column("compute ratio", justify="right")
    table.add_column("ms", justify="right")
    for ratio, spent in zip(profile.ratios, profile.ms, strict=True):
        table.add_row(f"{ratio:.3f}", f"{spent:.1f}")
    table.add_row("dense", f"{profile.dense_ms:.1f}")
    return table
