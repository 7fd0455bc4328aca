"""Search for the cheapest reuse policy inside an accuracy budget; how to run one is passed in."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Final

from fluxshard_core.errors import InputError
from fluxshard_core.reuse.config import ReuseConfig

INPUT_SHARE: Final = 2 / 3
"""Share of the budget that the first knob, the input's threshold, may spend."""


@dataclass(frozen=True)
class Knob:
    """A field of :class:`ReuseConfig` and the values to try, from the most careful on."""

    name: str
    values: tuple[float, ...]


KNOBS: Final = (
    Knob("background_threshold", (0.08, 0.1)),
    Knob("deep_ease", (0.0, 0.03)),
    Knob("fine_ease", (0.0, 0.05)),
    Knob("still_threshold", (0.0, 0.02, 0.03)),
    Knob("reach_threshold", (0.0, 0.04, 0.08)),
)
"""The input's threshold first, then one stage after the other, the cheapest to lose first. It
stops at the default: what enters a scene is a matter of principle, not of footage. What shapes are
kept by is missing: boxes do not show what it costs."""


@dataclass(frozen=True)
class Measured:
    """What a policy gave on one sequence or on several: shares of the dense run's accuracy and
    multiply-accumulates, and false alarms per 100 frames."""

    retention: float
    compute_ratio: float
    false_alarms: float


@dataclass(frozen=True)
class CurvePoint:
    """One policy tried: what it gave, and whether the search went on from it."""

    config: ReuseConfig
    measured: Measured
    chosen: bool


@dataclass(frozen=True)
class Found:
    """The policy found, and every one tried on the way, in order."""

    config: ReuseConfig
    measured: Measured
    curve: tuple[CurvePoint, ...]


Measure = Callable[[ReuseConfig, str], Measured]
"""Runs a policy on a sequence, by name."""


def search(
    sequences: Sequence[str],
    measure: Measure,
    *,
    budget: float,
    knobs: Sequence[Knob] = KNOBS,
    base: ReuseConfig | None = None,
    max_false_alarms: float = 4.0,
    seed: int = 0,
) -> Found:
    """Loosen one knob after the other while mean retention stays within ``budget`` of 1.

    The first knob may spend ``INPUT_SHARE`` of the budget, the others what is left in equal parts,
    what one does not need going on to the next. A step is kept if it also saves compute and keeps
    the false alarms per 100 frames within ``max_false_alarms``, or does not add to them. Then
    ``base`` itself, the defaults where None, is tried, and taken where it costs less than what was
    found and is no less accurate or still within the budget. ``seed`` is the order in which
    sequences are measured, which changes no result of a deterministic run.

    :raises InputError: without sequences or knobs, or for a budget outside [0, 1).
    """
    if not sequences or not knobs:
        raise InputError("a calibration needs at least one sequence and one knob")
    if not 0 <= budget < 1:
        raise InputError(f"budget is {budget}; it must lie in [0, 1)")
    order = sorted(sequences)
    random.Random(seed).shuffle(order)

    def run(config: ReuseConfig) -> Measured:
        return mean([measure(config, name) for name in order])

    base = base or ReuseConfig()
    config = _with(base, {knob.name: knob.values[0] for knob in knobs})
    best = run(config)
    curve = [CurvePoint(config, best, chosen=True)]
    for index, knob in enumerate(knobs):
        spent = 1 - best.retention
        left = budget - spent
        share = INPUT_SHARE if index == 0 else 1 / (len(knobs) - index)
        limit = spent + max(left, 0.0) * share
        for value in knob.values[1:]:
            tried = _with(config, {knob.name: value})
            measured = run(tried)
            kept = (
                1 - measured.retention <= limit
                and measured.compute_ratio < best.compute_ratio
                and measured.false_alarms <= max(max_false_alarms, best.false_alarms)
            )
            curve.append(CurvePoint(tried, measured, kept))
            if not kept:
                break
            config, best = tried, measured
    return _unless_better(Found(config, best, tuple(curve)), base, run, budget, max_false_alarms)


def _unless_better(
    found: Found,
    base: ReuseConfig,
    run: Callable[[ReuseConfig], Measured],
    budget: float,
    max_false_alarms: float,
) -> Found:
    """Return what was found, or ``base`` where that is the better choice."""
    measured, best = run(base), found.measured
    better = (
        measured.compute_ratio < best.compute_ratio
        and measured.retention >= min(1 - budget, best.retention)
        and measured.false_alarms <= max(max_false_alarms, best.false_alarms)
    )
    if not better and base in [point.config for point in found.curve]:
        return found
    others = (point for point in found.curve if point.config != base)
    curve = (*others, CurvePoint(base, measured, better))
    return Found(base, measured, curve) if better else Found(found.config, best, curve)


def mean(points: Sequence[Measured]) -> Measured:
    """Return the mean over sequences, each counting the same."""
    return Measured(
        fmean(point.retention for point in points),
        fmean(point.compute_ratio for point in points),
        fmean(point.false_alarms for point in points),
    )


def _with(config: ReuseConfig, values: dict[str, float]) -> ReuseConfig:
    """Return ``config`` with the knobs set, whole numbers kept whole."""
    typed = {name: type(getattr(config, name))(value) for name, value in values.items()}
    return replace(config, **typed)
