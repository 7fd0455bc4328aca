"""Which block is critical at which level, one reason at a time."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxshard_core.errors import InputError
from fluxshard_core.reuse.classifier import classify, grown
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.salience import SalientBlocks

SHAPE = (10, 12)
STRIDES = (2, 4, 8, 16, 32)
CONFIG = ReuseConfig(
    background_threshold=0.1,
    fine_threshold=0.04,
    deep_threshold=0.01,
    fine_stride=8,
    residual_share=0.02,
    reach=0,
    max_age=9,
    cut_share=0.5,
)


class Scene:
    """Inputs for which nothing is critical; tests change one thing."""

    def __init__(self) -> None:
        self.cost = np.zeros(SHAPE, np.float32)
        self.salience = SalientBlocks(
            np.zeros(SHAPE, np.float32), np.full(SHAPE, np.inf, np.float32)
        )
        self.lost = np.zeros(SHAPE, dtype=bool)
        self.age = np.zeros(SHAPE, np.int32)
        self.residual = {stride: np.zeros(SHAPE, np.float32) for stride in STRIDES}

    def object_at(self, rows: slice, cols: slice, size: float = 100.0) -> None:
        self.salience.confidence[rows, cols] = 0.9
        self.salience.size[rows, cols] = size

    def critical(self, config: ReuseConfig = CONFIG) -> dict[int, list[list[int]]]:
        levels = classify(self.cost, self.salience, self.lost, self.age, self.residual, config)
        assert list(levels) == list(STRIDES)
        return {stride: np.argwhere(blocks).tolist() for stride, blocks in levels.items()}


def test_nothing_changed_nothing_is_critical() -> None:
    scene = Scene()
    scene.object_at(slice(2, 6), slice(2, 6))
    assert not any(scene.critical().values())


@pytest.mark.parametrize("reason", ["lost", "new content", "old"])
def test_outside_objects_a_block_is_critical_at_every_level_or_none(reason: str) -> None:
    scene = Scene()
    scene.cost[...] = 0.1
    scene.age[...] = 8
    assert not any(scene.critical().values())
    if reason == "lost":
        scene.lost[3, 4] = True
    elif reason == "new content":
        scene.cost[3, 4] = 0.11
    else:
        scene.age[3, 4] = 9
    assert scene.critical() == {stride: [[3, 4]] for stride in STRIDES}


@pytest.mark.parametrize(
    ("cost", "levels"), [(0.009, ()), (0.02, (16, 32)), (0.05, STRIDES)], ids=str
)
def test_on_an_object_deep_levels_see_smaller_changes(cost: float, levels: tuple[int, ...]) -> None:
    scene = Scene()
    scene.object_at(slice(2, 6), slice(2, 6))
    scene.cost[3, 4] = cost
    assert {stride for stride, blocks in scene.critical().items() if blocks} == set(levels)


def test_a_residual_matters_by_the_size_of_the_object() -> None:
    scene = Scene()
    scene.residual[16][...] = 3.0
    scene.object_at(slice(0, 1), slice(0, 1), size=149)
    scene.object_at(slice(5, 6), slice(5, 6), size=151)
    assert scene.critical() == {2: [], 4: [], 8: [], 16: [[0, 0]], 32: [[0, 0]]}


def test_what_is_recomputed_with_a_block_stays_on_the_object() -> None:
    scene = Scene()
    scene.object_at(slice(2, 4), slice(2, 8))
    scene.cost[2, 4] = 0.09
    config = ReuseConfig(
        **{f.name: getattr(CONFIG, f.name) for f in fields(CONFIG)} | {"reach": 16}
    )
    assert scene.critical(config)[2] == [[r, c] for r in (2, 3) for c in (3, 4, 5)]


def test_without_any_tolerance_all_that_lies_off_its_place_on_an_object_is_critical() -> None:
    scene = Scene()
    scene.object_at(slice(2, 3), slice(2, 3))
    scene.residual[2][...] = 0.25
    assert scene.critical(ReuseConfig(residual_share=0.0, reach=0))[2] == [[2, 2]]


def test_half_a_frame_of_new_content_is_a_cut() -> None:
    scene = Scene()
    scene.lost[:4] = True
    assert len(scene.critical()[2]) == 48
    scene.cost[4] = 0.5
    assert len(scene.critical()[2]) == 120


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_deeper_level_never_has_fewer_blocks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = Scene()
    scene.cost[...] = rng.uniform(0, 0.12, SHAPE)
    scene.object_at(slice(1, 8), slice(3, 9), size=float(rng.uniform(20, 300)))
    for residual in scene.residual.values():
        residual[...] = rng.uniform(0, 8, SHAPE)
    found = scene.critical()
    for finer, deeper in pairwise(STRIDES):
        assert {tuple(block) for block in found[finer]} <= {tuple(b) for b in found[deeper]}


@pytest.mark.parametrize(("reach", "side"), [(0, 1), (16, 3), (32, 5)])
def test_growing_adds_a_square_and_stops_at_the_frame(reach: int, side: int) -> None:
    blocks = np.zeros((7, 7), dtype=bool)
    blocks[3, 3] = blocks[0, 0] = True
    expected = np.zeros((7, 7), dtype=bool)
    half = side // 2
    expected[3 - half : 4 + half, 3 - half : 4 + half] = True
    expected[: 1 + half, : 1 + half] = True
    np.testing.assert_array_equal(grown(blocks, reach), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fine_threshold": -0.1}, "fine_threshold"),
        ({"background_threshold": float("nan")}, "background_threshold"),
        ({"reach": 20}, "multiple of 16"),
        ({"max_age": 0}, "max_age"),
        ({"trust_decay": 1.5}, "trust_decay"),
        ({"weak_interval": 0}, "weak_interval"),
        ({"min_margin": 50.0, "max_margin": 40.0}, "max_margin"),
    ],
)
def test_knobs_that_mean_nothing_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ReuseConfig(**change)
