"""`fluxshard demo`: a video as a camera, a real edge node, a real cloud node, results as files."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import rclpy
from rclpy.signals import SignalHandlerOptions

from fluxshard_core.errors import WeightsError
from fluxshard_core.evaluation.datasets import SCENE, open_frames
from fluxshard_core.models.catalog import model_names
from fluxshard_core.models.weights import find_weights
from fluxshard_core.session.config import PROXY_CODECS
from fluxshard_ros import demo_summary
from fluxshard_ros.child_processes import ChildProcesses, terminate_as_interrupt
from fluxshard_ros.dds_settings import apply_dds_settings
from fluxshard_ros.demo_playback import RANDOM_SEED, DemoOptions, Playback, expected_frames
from fluxshard_ros.demo_recorder import DemoRecorder

RANDOM_WEIGHTS = f"random, seed {RANDOM_SEED}"


@click.command("demo")
@click.option("--video", default=SCENE, help="Image directory, video or bag [default: generated]")
@click.option(
    "--model",
    default="yolo11n",
    show_default=True,
    shell_complete=lambda ctx, param, text: [n for n in model_names() if n.startswith(text)],
    help="Model name, or a path to .pt or .safetensors",
)
@click.option(
    "--path", type=click.Choice(["edge", "cloud", "auto"]), default="auto", show_default=True
)
@click.option("--transport", type=click.Choice(["tcp", "dds"]), default="tcp", show_default=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/demo"),
    show_default=True,
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0.0),
    default=0.0,
    help="Camera rate in Hz; frames are dropped when inference is slower. "
    "By default every frame waits for the one before it.",
)
@click.option(
    "--max-frames", type=click.IntRange(min=0), default=0, help="Stop after so many frames"
)
@click.option("--confidence", type=click.FloatRange(0.0, 1.0), default=0.25, show_default=True)
@click.option(
    "--cloud-timeout",
    type=click.FloatRange(0.001, 60.0),
    default=30.0,
    show_default=True,
    help="Seconds before the edge finishes a frame the cloud does not answer",
)
@click.option(
    "--reuse/--no-reuse",
    default=True,
    show_default=True,
    help="Reuse features of past frames, or compute every frame whole",
)
@click.option(
    "--whole-if-sooner/--no-whole-if-sooner",
    default=True,
    show_default=True,
    help="Compute a frame whole on the edge where that takes less time; without, what is found "
    "does not depend on how fast this machine is",
)
@click.option(
    "--codec",
    type=click.Choice(PROXY_CODECS),
    default="h264",
    show_default=True,
    help="How blocks travel to the cloud",
)
@click.option(
    "--random-weights", is_flag=True, help="Run without trained weights; detects nonsense"
)
@click.option("--topic", "bag_topic", default="", help="Image topic of a bag that holds several")
def command(**options: Any) -> None:
    """Play a video through an edge node and a cloud node and record what comes out."""
    summary = run_demo(_resolved(DemoOptions(**options)))
    if not summary["frames_out"]:
        raise click.ClickException("no frame came out; see the logs named above")


def _resolved(options: DemoOptions) -> DemoOptions:
    """Find the weights once, here, so that the nodes neither search nor download twice."""
    if options.random_weights:
        return options
    try:
        return replace(options, model=str(find_weights(options.model)))
    except WeightsError as error:
        # The generated scene must play for a newcomer without network; a real video must not
        # silently be answered with nonsense.
        if options.video != SCENE or options.model not in model_names():
            raise
        click.secho(f"warning: {error}", fg="yellow", err=True)
        click.secho("warning: using random weights: detections are nonsense", fg="yellow", err=True)
        return replace(options, random_weights=True)


def run_demo(options: DemoOptions) -> dict[str, Any]:
    """Run the demo and return its summary; every process it started is gone afterwards."""
    source = open_frames(options.video, topic=options.bag_topic or None)
    options.out.mkdir(parents=True, exist_ok=True)
    # Its own namespace, on this machine only: a demo must not mix with a robot's real topics.
    apply_dds_settings(local_only=True)
    namespace = f"/fluxshard_demo_{secrets.token_hex(4)}"
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    recorder = DemoRecorder(namespace, options.out, source.fps)
    try:
        with terminate_as_interrupt(), ChildProcesses(options.out / "logs") as children:
            playback = Playback(options, children, recorder, namespace)
            playback.start_nodes()
            playback.play(expected_frames(source.count, options.max_frames))
    finally:
        # Also when interrupted: what has come out until then is kept.
        recorder.close()
        recorder.destroy_node()
        summary = demo_summary.summarise(
            recorder, weights=RANDOM_WEIGHTS if options.random_weights else options.model
        )
        demo_summary.write(summary, options.out / "summary.json")
        rclpy.try_shutdown()
    demo_summary.show(summary, options.out)
    return summary
