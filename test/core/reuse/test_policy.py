"""The policy over whole frames: what a still scene, a moving camera, a newcomer and a cut need."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pytest

from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.policy import ReusePolicy
from fluxshard_core.reuse.remap import Level

STRIDES = (1, 2, 4, 8, 16, 32)
HEIGHT, WIDTH = 128, 192
NOBODY = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
ONE = np.array([[48, 48, 80, 80]], np.float32), np.array([0.9], np.float32)
Found = tuple[np.ndarray, np.ndarray]


def scenery() -> np.ndarray:
    rng = np.random.default_rng(2)
    noise = rng.uniform(0, 255, (20, 30, 3)).astype(np.float32)
    return np.clip(cv2.resize(noise, (320, 240)), 0, 255).astype(np.uint8)


def view(dx: int = 0) -> np.ndarray:
    return np.ascontiguousarray(scenery()[32 : 32 + HEIGHT, 64 - dx : 64 - dx + WIDTH])


def pan(dx: int) -> MotionField:
    """The whole frame moves ``dx`` pixels to the right."""
    motion = MotionField.zero(HEIGHT, WIDTH)
    motion.vectors[..., 0] = 4 * dx
    return motion


def cells(blocks: Mapping[int, np.ndarray]) -> dict[Level, np.ndarray]:
    """What an executor recomputes for ``blocks``: every cell that overlaps one."""
    found = {}
    for stride, wanted in blocks.items():
        fine = wanted.repeat(16, axis=0).repeat(16, axis=1)
        height, width = HEIGHT // stride, WIDTH // stride
        shaped = fine.reshape(height, stride, width, stride)
        found[Level(stride, height, width)] = shaped.any(axis=(1, 3))
    return found


def step(
    policy: ReusePolicy, image: np.ndarray, motion: MotionField, found: Found = NOBODY
) -> dict[int, np.ndarray]:
    _, blocks = policy.decide(image, motion)
    policy.settle(image, cells(blocks), *found)
    return blocks


def started(found: Found = NOBODY, config: ReuseConfig | None = None) -> ReusePolicy:
    policy = ReusePolicy(STRIDES, config)
    blocks = step(policy, view(), MotionField.invalid(HEIGHT, WIDTH), found)
    assert all(blocks[stride].all() for stride in STRIDES)
    return policy


@pytest.mark.parametrize("found", [NOBODY, ONE], ids=["empty", "with an object"])
def test_a_still_scene_costs_nothing(found: Found) -> None:
    policy = started(found)
    for _ in range(3):
        blocks = step(policy, view(), pan(0), found)
        assert not any(wanted.any() for wanted in blocks.values())


def test_a_moving_camera_costs_what_enters() -> None:
    policy = started()
    for frame in range(1, 5):
        blocks = step(policy, view(4 * frame), pan(4))
        for wanted in blocks.values():
            assert np.flatnonzero(wanted.any(axis=0)).tolist() == [0]


def test_deep_levels_of_an_object_that_moves_are_recomputed() -> None:
    policy = started(ONE, ReuseConfig(residual_share=0.05))
    blocks = step(policy, view(4), pan(4), ONE)
    assert blocks[32][3:5, 3:5].all()
    assert not blocks[4][3:5, 3:5].any()


def test_a_newcomer_is_critical_where_it_appears_and_only_once() -> None:
    policy = started()
    image = view()
    image[40:60, 100:130] = 255
    blocks = step(policy, image, pan(0))
    assert blocks[2][3, 7]
    assert not blocks[2][:2].any()
    blocks = step(policy, image, pan(0))
    assert not blocks[32].any()


def test_slow_fading_is_seen_once_it_adds_up() -> None:
    """The reference is what the cache came from, not the last frame."""
    policy = started(config=ReuseConfig(background_threshold=0.1))
    critical = []
    for frame in range(1, 8):
        image = np.clip(view().astype(int) // 2 + 60 + 5 * frame, 0, 255).astype(np.uint8)
        if frame == 1:
            policy.reset()
        critical.append(bool(step(policy, image, pan(0))[2].all()))
    assert critical == [True, False, False, False, False, False, True]


def test_a_cut_makes_everything_critical() -> None:
    policy = started()
    blocks = step(policy, 255 - view(), pan(0))
    assert all(wanted.all() for wanted in blocks.values())


def test_blocks_without_a_vector_that_match_all_the_same_are_reused() -> None:
    policy = started()
    motion = pan(16)
    motion.valid[2:6, 4:8] = False
    made, blocks = policy.decide(view(16), motion)
    assert made.valid.all()
    assert np.flatnonzero(blocks[2].any(axis=0)).tolist() == [0]


def test_after_a_reset_everything_is_critical_and_nobody_is_known() -> None:
    policy = started(ONE)
    policy.reset()
    assert all(w.all() for w in step(policy, view(), pan(0)).values())
    assert not step(policy, view(4), pan(4))[32][3:5, 3:5].any()
