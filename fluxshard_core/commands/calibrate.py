"""`fluxshard calibrate`: the cheapest reuse policy inside an accuracy budget, by scene motion."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.fluxshard import FluxShard
from fluxshard_core.commands.arguments import ImageSize
from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.code_state import described, digest
from fluxshard_core.evaluation.machine import versions
from fluxshard_core.evaluation.metrics import score_frame
from fluxshard_core.evaluation.sequences import EvaluatedSequence, open_sequences
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.detector import Detector
from fluxshard_core.motion.encoder import EncoderMotion
from fluxshard_core.reuse.calibration import Found, Measured, mean, search
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.profile import MotionBin, ReuseProfile
from fluxshard_core.session import SessionConfig

INTERRUPTED: Final = 130  # what a shell reports for a program that Ctrl-C ended
BINS: Final = "0,3,9"


class Edges(click.ParamType[tuple[float, ...]]):
    """Comma-separated lower bounds of the motion bins, in pixels a frame, rising from 0."""

    name = "PX,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Return the bounds."""
        try:
            edges = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as {BINS}", param, ctx)
        if edges[0] != 0 or list(edges) != sorted(set(edges)):
            self.fail(f"{value!r} must rise from 0, as {BINS} does", param, ctx)
        return edges


@dataclass(frozen=True, eq=False)
class Sample:
    """A sequence with what the dense network finds in it; ``motion`` is the median, in pixels."""

    sequence: EvaluatedSequence
    reference: list[Detections]
    motion: float

    @classmethod
    def of(cls, sequence: EvaluatedSequence, context: MethodContext, frames: int) -> Sample:
        """Run the dense network over the first ``frames`` frames."""
        reference, motion, source = [], [], EncoderMotion()
        for frame in islice(sequence.source, frames):
            image, letterbox = context.detector.preprocess(frame.image)
            reference.append(context.detect(image, letterbox))
            motion.append(source.next(image).field.median_length())
        if len(reference) < 2:
            raise InputError(f"{sequence.path} has {len(reference)} frames; two or more are needed")
        return cls(sequence, reference, sorted(motion[1:])[len(motion[1:]) // 2])

    def measure(self, config: ReuseConfig, context: MethodContext) -> Measured:
        """Run a policy over the frames; the first one, dense, is not scored."""
        session = SessionConfig("edge", reuse=config, reuse_profile=None)
        method = FluxShard(context, session=session)
        ious: list[float] = []
        alarms, executed, dense = 0, 0, 0
        frames = islice(self.sequence.source, len(self.reference))
        for number, (frame, found) in enumerate(zip(frames, self.reference, strict=True)):
            result = method.process(frame)
            if number == 0:
                continue
            score = score_frame(result.detections, found)
            ious += score.box_ious
            alarms += score.false_alarms
            executed, dense = executed + result.executed, dense + result.dense
        scored = len(self.reference) - 1
        retention = sum(ious) / len(ious) if ious else 1.0
        return Measured(retention, executed / max(1, dense), 100 * alarms / scored)


class Points:
    """What was measured so far, in a file beside the profile: an interrupted run goes on there."""

    def __init__(self, file: Path, key: Sequence[object]) -> None:
        """``key`` is all that a measurement depends on but for the sequence and the policy."""
        self._file, self._key = file, [*key]
        self._known: dict[str, Measured] = {}
        with suppress(FileNotFoundError):
            for line in file.read_text(encoding="utf-8").splitlines():
                self._read(line)

    def get(self, sequence: str, config: ReuseConfig, measure: Callable[[], Measured]) -> Measured:
        """Return what is known of a policy on a sequence, measuring it the first time."""
        text = json.dumps([*self._key, sequence, asdict(config)], sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()
        if name not in self._known:
            self._known[name] = measure()
            line = json.dumps({"key": name, **asdict(self._known[name])})
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        return self._known[name]

    def _read(self, line: str) -> None:
        # A line cut short by an interruption is measured again.
        with suppress(json.JSONDecodeError, KeyError, TypeError, ValueError):
            values = json.loads(line)
            name = str(values.pop("key"))
            self._known[name] = Measured(**values)


@click.command(name="calibrate")
@click.option("--model", default="yolo11n-seg", show_default=True, help="Name or weight file.")
@click.option("--sequences", "paths", multiple=True, required=True, help="May be repeated.")
@click.argument("more_sequences", nargs=-1)
@click.option("--budget", type=click.FloatRange(0, 1, max_open=True), default=0.03)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("reuse_profile.yaml")
)
@click.option("--size", type=ImageSize(), help="Network input; default: that of the frames.")
@click.option("--bins", type=Edges(), default=BINS, show_default=True, help="Motion bins, px.")
@click.option("--max-frames", type=click.IntRange(2), default=100, show_default=True)
@click.option("--leave-one-out", is_flag=True, help="Report each sequence with the others' policy.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--threads", type=click.IntRange(1), help="Of PyTorch; default: its own choice.")
@click.option("--random-weights", is_flag=True, help="Need no weight file.")
def command(
    model: str,
    paths: tuple[str, ...],
    more_sequences: tuple[str, ...],
    budget: float,
    out: Path,
    size: tuple[int, int] | None,
    bins: tuple[float, ...],
    max_frames: int,
    leave_one_out: bool,
    seed: int,
    json_file: Path | None,
    threads: int | None,
    random_weights: bool,
) -> None:
    """Find how much may stay slightly old, for each range of scene motion, and save it.

    Every policy tried is kept in the profile and, as soon as it is measured, in a file beside it
    (OUT.points.jsonl): the same command goes on where an interrupted one stopped, unless the
    program has changed since. More sequences may follow the options, so that a shell pattern can
    name them.
    """
    detector = Detector.load(
        model, input_size=size, random_seed=0 if random_weights else None, threads=threads
    )
    context = MethodContext(detector, budget=budget)
    opened = open_sequences([*paths, *more_sequences])
    points = Points(
        out.with_name(out.name + ".points.jsonl"),
        [digest(), versions(), detector.model_hash, size, max_frames],
    )
    try:
        with _progress() as progress:
            run = _Calibration(context, opened, points, budget, bins, seed, max_frames, progress)
            profile = run.profile()
            left_out = run.leave_one_out() if leave_one_out else {}
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(INTERRUPTED)
    profile.save(out)
    if json_file:
        json_file.write_text(json.dumps(_summary(profile, left_out), indent=2) + "\n", "utf-8")
    _show(profile, left_out)
    click.echo(f"saved as {out}")


class _Calibration:
    """One calibration: the samples by bin, and the searches over them."""

    def __init__(
        self,
        context: MethodContext,
        opened: Sequence[EvaluatedSequence],
        points: Points,
        budget: float,
        bins: tuple[float, ...],
        seed: int,
        max_frames: int,
        progress: Progress,
    ) -> None:
        self._context, self._points, self._budget = context, points, budget
        self._bins, self._seed, self._progress = bins, seed, progress
        task = progress.add_task("dense runs", total=len(opened))
        self._samples: dict[str, Sample] = {}
        for sequence in opened:
            self._samples[sequence.name] = Sample.of(sequence, context, max_frames)
            progress.advance(task)
        self._task = progress.add_task("policies", total=None)

    def profile(self) -> ReuseProfile:
        """Search every bin."""
        detector = self._context.detector
        image = next(iter(next(iter(self._samples.values())).sequence.source)).image
        letterbox = detector.preprocess(image)[1]
        return ReuseProfile(
            model=str(detector.name),
            model_hash=detector.model_hash,
            size=(letterbox.input_height, letterbox.input_width),
            budget=self._budget,
            seed=self._seed,
            command=shlex.join(["fluxshard", *sys.argv[1:]]),
            code=described(),
            bins=tuple(self._bin(edge, self._samples) for edge in self._bins),
        )

    def leave_one_out(self) -> dict[str, Measured]:
        """Measure every sequence with the policy that the others alone would have given it."""
        found = {}
        for name in self._samples:
            others = {other: one for other, one in self._samples.items() if other != name}
            if others:
                config = self._bin(self._edge_of(name), others).found.config
                found[name] = self._measure(config, name)
        return found

    def _bin(self, edge: float, samples: dict[str, Sample]) -> MotionBin:
        """Search one bin, over all sequences where it has none of its own."""
        names = [name for name in samples if self._edge_of(name) == edge] or list(samples)
        return MotionBin(edge, tuple(sorted(names)), self._search(names))

    def _edge_of(self, name: str) -> float:
        return max(edge for edge in self._bins if edge <= self._samples[name].motion)

    def _search(self, names: Sequence[str]) -> Found:
        return search(names, self._measure, budget=self._budget, seed=self._seed)

    def _measure(self, config: ReuseConfig, name: str) -> Measured:
        self._progress.update(self._task, advance=1, description=f"policies · {name}")
        sample = self._samples[name]
        return self._points.get(name, config, lambda: sample.measure(config, self._context))


def _summary(profile: ReuseProfile, left_out: dict[str, Measured]) -> dict[str, Any]:
    return {
        "model_hash": profile.model_hash,
        "bins": [
            {"above": one.above, "sequences": one.sequences, **asdict(one.found.measured)}
            for one in profile.bins
        ],
        "leave_one_out": {name: asdict(point) for name, point in left_out.items()},
    }


def _show(profile: ReuseProfile, left_out: dict[str, Measured]) -> None:
    table = Table(title=f"{profile.model}, budget {profile.budget:g}")
    for heading in ("", "retention", "compute", "FA/100"):
        table.add_column(heading, justify="right" if heading else "left")
    rows = [
        (f"from {one.above:g} px: {', '.join(one.sequences)}", one.found.measured)
        for one in profile.bins
    ]
    rows += [(f"left out: {name}", point) for name, point in left_out.items()]
    if left_out:
        rows.append(("left out: mean", mean(list(left_out.values()))))
    for name, point in rows:
        values = point.retention, point.compute_ratio, point.false_alarms
        table.add_row(name, f"{values[0]:.3f}", f"{values[1]:.3f}", f"{values[2]:.1f}")
    Console().print(table)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
