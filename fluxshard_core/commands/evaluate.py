"""`fluxshard eval`: every method on every sequence, with accuracy, compute, bytes and time."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.registry import METHODS, build, usages
from fluxshard_core.commands.arguments import ImageSize
from fluxshard_core.evaluation.ablation import ABLATIONS
from fluxshard_core.evaluation.machine import machine, versions
from fluxshard_core.evaluation.plots import save_plots
from fluxshard_core.evaluation.report import Report, show
from fluxshard_core.evaluation.runner import FrameDone, evaluate
from fluxshard_core.evaluation.sequences import EvaluatedSequence, open_sequences
from fluxshard_core.models.detector import Detector
from fluxshard_core.reuse.shipped import SHIPPED, profile_choice

DEFAULT_METHODS = (
    "fluxshard,edge_only,full_offload:h264,coach,deltacnn,motion_deltacnn,roi,keyframe_mv:2"
)
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


class MethodList(click.ParamType[list[str]]):
    """Comma-separated method specifications; the names complete with Tab."""

    name = "METHOD,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Return the specifications in order, each once."""
        found = list(dict.fromkeys(part.strip() for part in str(value).split(",")))
        if not all(found):
            self.fail(f"{value!r} has an empty method name", param, ctx)
        return found

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete the name after the last comma."""
        before, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(f"{before}{comma}{name}", help=entry.summary)
            for name, entry in METHODS.items()
            if name.startswith(last)
        ]


@click.command(name="eval", epilog=f"Methods: {usages()}")
@click.option("--model", default="yolo11n-seg", show_default=True, help="Name or weight file.")
@click.option(
    "--input",
    "paths",
    multiple=True,
    required=True,
    help="Image directory, video, bag, or `scene` for the generated one; may be repeated.",
)
@click.argument("more_inputs", nargs=-1)
@click.option("--methods", type=MethodList(), default=DEFAULT_METHODS, show_default=True)
@click.option("--size", type=ImageSize(), help="Network input; default: that of the frames.")
@click.option("--native", is_flag=True, help="The frames' own size (the default).")
@click.option(
    "--budget",
    type=click.FloatRange(0, 1),
    default=0.03,
    show_default=True,
    help="Accuracy that calibrated methods may give up.",
)
@click.option(
    "--reuse-profile",
    "reuse_profile",
    default=SHIPPED,
    show_default=True,
    help="Profile of FluxShard's policy: the one that comes with it, `none`, or a file.",
)
@click.option("--ablate", is_flag=True, help="Also FluxShard without each of its parts.")
@click.option("--max-frames", type=click.IntRange(2), help="Of each sequence; default: all.")
@click.option("--topic", help="Image topic of the bags.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--plots", "plots_directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--threads", type=click.IntRange(1), help="Of PyTorch; default: its own choice.")
@click.option("--random-weights", is_flag=True, help="Need no weight file.")
def command(
    model: str,
    paths: tuple[str, ...],
    more_inputs: tuple[str, ...],
    methods: list[str],
    size: tuple[int, int] | None,
    native: bool,
    budget: float,
    reuse_profile: str,
    ablate: bool,
    max_frames: int | None,
    topic: str | None,
    json_file: Path | None,
    plots_directory: Path | None,
    threads: int | None,
    random_weights: bool,
) -> None:
    """Compare METHODS on the input sequences with the dense run of the same weights.

    The first frame of each sequence is not scored. What is done is saved after every method and
    sequence, so Ctrl-C loses only the one that runs. More inputs may follow the options, so that
    a shell pattern can name them: `--input davis/*/JPEGImages`.
    """
    if native and size is not None:
        raise click.UsageError("--native and --size exclude each other")
    seed = 0 if random_weights else None
    detector = Detector.load(model, input_size=size, random_seed=seed, threads=threads)
    context = MethodContext(
        detector, budget=budget, random_seed=seed, reuse_profile=profile_choice(reuse_profile)
    )
    sequences = open_sequences([*paths, *more_inputs], topic=topic)
    ready = {name: build(name, context) for name in methods}
    if ablate:
        ready |= {f"ablation:{name}": make(context) for name, make in ABLATIONS.items()}
        methods = list(ready)
    report = Report(_header(context, sequences, methods, max_frames))
    try:
        with _progress(sequences, len(methods), max_frames) as frame_done:
            for outcome in evaluate(
                sequences, ready, context, max_frames=max_frames, frame_done=frame_done
            ):
                report.outcomes.append(outcome)
                if json_file:
                    report.save(json_file)
        report.complete = True
    except KeyboardInterrupt:
        click.echo("interrupted; keeping what is done", err=True)
    _publish(report, json_file, plots_directory)
    sys.exit(0 if report.complete else INTERRUPTED)


def _publish(report: Report, json_file: Path | None, plots_directory: Path | None) -> None:
    if json_file:
        report.save(json_file)
    if not report.outcomes:
        return
    show(report)
    if plots_directory:
        for path in save_plots(report, plots_directory):
            click.echo(f"wrote {path}")


def _header(
    context: MethodContext,
    sequences: list[EvaluatedSequence],
    methods: list[str],
    max_frames: int | None,
) -> dict[str, Any]:
    detector = context.detector
    return {
        "command": shlex.join(["fluxshard", *sys.argv[1:]]),
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "model": str(detector.name),
        "model_hash": detector.model_hash,
        "weights": detector.weights,
        "size": list(detector.input_size) if detector.input_size else None,
        "budget": context.budget,
        "methods": methods,
        "max_frames": max_frames,
        "sequences": [
            {"name": one.name, "path": one.path, "annotated_frames": len(one.annotations)}
            for one in sequences
        ],
    }


@contextmanager
def _progress(
    sequences: list[EvaluatedSequence], methods: int, max_frames: int | None
) -> Iterator[FrameDone]:
    """Show one bar over all frames of all runs, where the sources know how many they hold."""
    counts = [one.source.count for one in sequences]
    limit = max_frames or sys.maxsize
    frames = [min(count, limit) for count in counts if count is not None]
    known = len(frames) == len(counts)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        task = progress.add_task("", total=sum(frames) * (methods + 1) if known else None)

        def frame_done(sequence: str, running: str) -> None:
            progress.update(task, advance=1, description=f"{sequence} · {running}")

        yield frame_done
