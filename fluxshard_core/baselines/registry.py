"""Methods by name: a specification such as `keyframe_mv:2` to a ready method."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from fluxshard_core.baselines.bounded import Bounded
from fluxshard_core.baselines.coach import Coach
from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.deltacnn import DeltaCnn
from fluxshard_core.baselines.edge_only import EdgeOnly
from fluxshard_core.baselines.fluxshard import FluxShard
from fluxshard_core.baselines.full_offload import FullOffload
from fluxshard_core.baselines.keyframe_mv import KeyframeMotion
from fluxshard_core.baselines.method import Method
from fluxshard_core.baselines.motion_deltacnn import MotionDeltaCnn
from fluxshard_core.baselines.roi import RegionsOfInterest
from fluxshard_core.errors import InputError


@dataclass(frozen=True)
class Entry:
    """How to build one method; ``arguments`` convert the parts after the name, in order."""

    usage: str
    summary: str
    make: Callable[..., Method]
    arguments: tuple[Callable[[str], Any], ...] = ()


METHODS: dict[str, Entry] = {
    "fluxshard": Entry(
        "fluxshard[:CODEC[:QUALITY[:BACKGROUND[:FINE]]]]",
        "critical blocks per level, all else moved; whole frames in the cloud from lossy codecs",
        FluxShard,
        (str, float, float, float),
    ),
    "fluxshard_critical": Entry(
        "fluxshard_critical[:CODEC[:QUALITY[:BACKGROUND[:FINE]]]]",
        "critical blocks per level, all else moved, whatever the codec",
        partial(FluxShard, compute="critical"),
        (str, float, float, float),
    ),
    "fluxshard_whole": Entry(
        "fluxshard_whole[:CODEC[:QUALITY[:BACKGROUND[:FINE]]]]",
        "critical blocks sent, everything computed in the cloud, whatever the codec",
        partial(FluxShard, compute="whole"),
        (str, float, float, float),
    ),
    "bounded": Entry(
        "bounded[:INPUT[:FEATURES]]",
        "FluxShard as published: motion, thresholds that spread layer by layer",
        Bounded,
        (float, float),
    ),
    "edge_only": Entry("edge_only", "every frame dense on the robot", EdgeOnly),
    "full_offload": Entry(
        "full_offload:raw|jpeg|h264|h264_420[:QUALITY]",
        "every frame sent, dense in the cloud",
        FullOffload,
        (str, int),
    ),
    "coach": Entry(
        "coach[:SSIM]", "repeat the last result while the frame looks the same", Coach, (float,)
    ),
    "deltacnn": Entry(
        "deltacnn[:INPUT[:FEATURES]]",
        "pixels that changed, at fixed coordinates",
        DeltaCnn,
        (float, float),
    ),
    "motion_deltacnn": Entry(
        "motion_deltacnn[:INPUT[:FEATURES]]",
        "deltas after one homography a frame",
        MotionDeltaCnn,
        (float, float),
    ),
    "roi": Entry(
        "roi[:MODEL]", "crops that a small detector on the robot finds", RegionsOfInterest, (str,)
    ),
    "keyframe_mv": Entry(
        "keyframe_mv[:K]",
        "dense every K-th frame, results moved by the median vector between",
        KeyframeMotion,
        (int,),
    ),
}


def build(specification: str, context: MethodContext) -> Method:
    """Return the method of ``NAME[:ARGUMENT...]``, ready for its first frame.

    :raises InputError: for an unknown name, or arguments that do not fit it.
    """
    name, *texts = specification.split(":")
    entry = METHODS.get(name)
    if entry is None:
        close = difflib.get_close_matches(name, METHODS, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise InputError(f"unknown method {name!r}: {hint}Known: {usages()}")
    if len(texts) > len(entry.arguments):
        raise InputError(f"method {specification!r} has too many arguments; write {entry.usage}")
    try:
        arguments = [convert(text) for convert, text in zip(entry.arguments, texts, strict=False)]
    except ValueError as error:
        raise InputError(
            f"method {specification!r} cannot be read ({error}); write {entry.usage}"
        ) from error
    return entry.make(context, *arguments)


def usages() -> str:
    """How to write each method, in one line."""
    return ", ".join(entry.usage for entry in METHODS.values())
