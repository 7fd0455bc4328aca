"""`fluxshard verify`: exact mode against the dense run, on real frames and on random motion."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fluxshard_core.commands.arguments import ImageSize
from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.datasets import open_frames
from fluxshard_core.evaluation.exactness import (
    ExactnessCheck,
    Tally,
    UInt8,
    moved_image,
    random_motion,
)
from fluxshard_core.models.detector import Detector
from fluxshard_core.models.network import network_input
from fluxshard_core.motion.encoder import EncoderMotion
from fluxshard_core.sparse.backends import default_backend
from fluxshard_core.sparse.capture import capture


@click.command(name="verify")
@click.option("--model", default="yolo11n-seg", show_default=True, help="Name or weight file.")
@click.option(
    "--input",
    "path",
    required=True,
    help="Image directory, video, bag, or `scene` for the generated one.",
)
@click.option("--frames", type=click.IntRange(1), default=50, show_default=True)
@click.option("--trials", type=click.IntRange(0), default=50, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--size", type=ImageSize(), help="Network input; default: that of the frames.")
@click.option("--raw", is_flag=True, help="Verify the raw frames instead of the encoded ones.")
@click.option("--random-weights", is_flag=True, help="Need no weight file.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
def command(
    model: str,
    path: str,
    frames: int,
    trials: int,
    seed: int,
    size: tuple[int, int] | None,
    raw: bool,
    random_weights: bool,
    json_file: Path | None,
) -> None:
    """Compare exact mode with the dense run of the same backend; exit status 1 if they differ.

    First FRAMES frames of the input with the motion x264 finds in them (by default as a receiver
    of the stream decodes them, which repeats skipped blocks exactly; sensor noise changes nearly
    every block of a raw frame). Then TRIALS frames that are the last one moved by random motion,
    with random new content. Tiles are used however many are active.
    """
    detector = Detector.load(model, input_size=size, random_seed=seed if random_weights else None)
    images = islice(_letterboxed(detector, path), frames)
    first = next(images, None)
    if first is None:
        raise InputError(f"{path} holds no frame")
    plan = capture(detector.network, *first.shape[:2])
    check = ExactnessCheck(plan, default_backend())
    real, random = Tally(), Tally()
    memory: list[float] = []
    with _progress() as progress:
        task = progress.add_task("real frames", total=frames)
        source = EncoderMotion(lossy=not raw)
        image = first
        for frame in _chain(first, images):
            moved = source.next(frame)
            image = moved.image
            check.compare(real, network_input(image), moved.field)
            memory.append(_resident_mb())
            progress.advance(task)
        progress.update(task, total=real.compared)
        rng = np.random.default_rng(seed)
        task = progress.add_task("random motion", total=trials)
        for _ in range(trials):
            motion = random_motion(rng, *image.shape[:2])
            image = moved_image(rng, image, motion)
            check.compare(random, network_input(image), motion)
            progress.advance(task)
    result = _result(detector, path, image.shape[:2], real, random)
    result["memory_mb"] = {"at_half": memory[len(memory) // 2], "at_end": memory[-1]}
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _show(result)
    sys.exit(1 if result["mismatches"] else 0)


def _letterboxed(detector: Detector, path: str) -> Iterator[UInt8]:
    """The frames as the network sees them; all must have the first one's size."""
    shape = None
    for frame in open_frames(path):
        image, _ = detector.preprocess(frame.image)
        shape = shape or image.shape
        if image.shape != shape:
            raise InputError(
                f"frame {frame.number} of {path} is {image.shape[:2]} after {shape[:2]}; "
                "give --size to bring all to one"
            )
        yield image


def _resident_mb() -> float:
    """Memory of this process that is in RAM, in 10**6 bytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def _chain(first: UInt8, rest: Iterator[UInt8]) -> Iterator[UInt8]:
    yield first
    yield from rest


def _result(
    detector: Detector, path: str, size: tuple[int, ...], real: Tally, random: Tally
) -> dict[str, Any]:
    return {
        "model": str(detector.name),
        "model_hash": detector.model_hash,
        "input": path,
        "size": list(size),
        "frames": real.compared,
        "trials": random.compared,
        "mismatches": real.mismatches + random.mismatches,
        "max_abs_error": max(real.max_abs_error, random.max_abs_error),
        "compute_ratio_frames": real.compute_ratio,
        "compute_ratio_trials": random.compute_ratio,
    }


def _show(result: dict[str, Any]) -> None:
    verdict = "identical" if not result["mismatches"] else "DIFFERENT"
    Console().print(
        f"{verdict}: {result['frames']} frames and {result['trials']} trials, "
        f"{result['mismatches']} mismatches, largest error {result['max_abs_error']:g}; "
        f"compute ratio {result['compute_ratio_frames']:.2f} on frames, "
        f"{result['compute_ratio_trials']:.2f} on trials; "
        f"{result['memory_mb']['at_end']:.0f} MB resident",
        style="green" if not result["mismatches"] else "bold red",
    )


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )
