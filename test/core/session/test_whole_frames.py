"""A robot computes frames whole where that is sooner, and measuring costs next to nothing.

Costs are formulas here; the decisions are the real code.
"""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.offload.latency_profile import LatencyProfile
from fluxshard_core.offload.side_cost import LearnedCost
from fluxshard_core.session import EdgeSession, Engine, SessionConfig
from fluxshard_core.session.config import Profiles
from fluxshard_core.session.whole_frames import SOONER_WHOLE, WholeFrames

FRAMES = 600
DENSE_MS = 60.0
FOLLOWING_MS = 9.0
"""Motion and candidates, which a frame that rests does without."""


def _run(tiles_ms: float, frames: int = FRAMES, jump_at: int | None = None) -> tuple[float, float]:
    """Milliseconds in all, tiles costing ``tiles_ms`` + 60 a ratio; and the share of tiles."""
    rng = np.random.default_rng(1)
    chooser = WholeFrames(LearnedCost())
    total = tiled = 0.0
    for number in range(frames):
        if jump_at is not None and number == jump_at:
            tiles_ms = 5.0
        ratio = float(rng.uniform(0.2, 0.4))
        follows = not chooser.rests
        whole = number == 0 or not follows or chooser.choose(ratio)
        noise = float(np.exp(rng.normal(0, 0.05)))
        spent = (DENSE_MS if whole else tiles_ms + 60 * ratio) * noise + follows * FOLLOWING_MS
        if number == 0:
            spent *= 30
        else:
            total += spent
        chooser.cost.took(1.0 if whole else ratio, whole, spent)
        chooser.took(whole, spent)
        tiled += not whole
    return total, tiled / frames


@pytest.mark.parametrize("tiles_ms", [5.0, 20.0, 32.0, 42.0, 60.0, 150.0, 600.0])
def test_it_never_costs_a_tenth_more_than_computing_every_frame_whole(tiles_ms: float) -> None:
    spent, tiled = _run(tiles_ms)
    first_look_ms = 3 * (tiles_ms + 60 * 0.4 + FOLLOWING_MS)
    assert spent - first_look_ms <= 1.10 * DENSE_MS * FRAMES
    tiles_only = (tiles_ms + 60 * 0.3 + FOLLOWING_MS) * FRAMES
    assert spent - first_look_ms <= 1.10 * min(tiles_only, DENSE_MS * FRAMES + FRAMES)
    assert (tiled > 0.9) == (tiles_ms < 30) or 30 <= tiles_ms <= 45


def test_tiles_that_become_cheaper_are_found_out() -> None:
    _, tiled = _run(60.0, frames=1500, jump_at=500)
    assert tiled > 0.5


@pytest.mark.parametrize(
    ("whole_ms", "worth_ms", "expected"),
    [(8.0, 10.0, 1.0), (14.0, 10.0, 0.9), (30.0, 10.0, 0.0), (8.0, 0.0, 0.0)],
)
def test_whole_frames_are_worth_something(
    whole_ms: float, worth_ms: float, expected: float
) -> None:
    """Tiles take 5 ms; nothing is tried where whole frames are worth all they take."""
    chooser = WholeFrames(LearnedCost(), worth_ms)
    ways = []
    for number in range(600):
        whole = number == 0 or chooser.choose(0.3)
        ways.append(whole)
        chooser.cost.took(1.0 if whole else 0.3, whole, whole_ms if whole else 5.0)
        chooser.took(whole, whole_ms if whole else 5.0)
    assert not any(ways[1:4]), "nothing is known of whole frames yet"
    share = float(np.mean(ways[5:]))
    assert share >= expected
    assert share <= (1.0 if expected else 0.1)


def test_a_frame_before_a_trial_is_awake() -> None:
    chooser = WholeFrames(LearnedCost())
    rested = []
    for number in range(400):
        rests = chooser.rests
        whole = number == 0 or rests or chooser.choose(0.3)
        if not whole and number > 5:
            assert rested[-1:] == [False], "what moved between the two was not seen"
        rested.append(rests)
        chooser.cost.took(0.3, whole, 50.0 if whole else 70.0)
        chooser.took(whole, 50.0 if whole else 70.0)
    assert sum(rested) > 300


def test_a_session_with_a_profile_computes_whole_from_the_start_where_that_is_sooner(
    engine: Engine,
) -> None:
    scene = list(GeneratedScene(height=150, width=200, count=1)) * 6
    for sparse_ms, reason in ((1000.0, SOONER_WHOLE), (0.001, "")):
        detector = engine.detector
        profile = LatencyProfile(
            "n", detector.model_hash, (160, 224), "none", 1, (0.5,), (sparse_ms,), 1.0
        )
        config = SessionConfig(profiles=Profiles(profile, profile))
        session = EdgeSession(engine, config)
        results = [session.process(frame) for frame in scene]
        assert {result.dense_reason for result in results[1:]} == {reason}
        assert ("motion" in results[-1].stage_ms) == (reason == "")
    dense = EdgeSession(engine, SessionConfig(reuse=None)).process(scene[-1]).detections
    whole = EdgeSession(engine, SessionConfig(profiles=Profiles(profile, profile)))
    assert np.array_equal(whole.process(scene[-1]).detections.boxes, dense.boxes)
